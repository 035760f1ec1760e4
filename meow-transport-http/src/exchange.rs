//! The dialling side of an exchange: frames out as one request, frames in from its answer.
//!
//! Both halves share the connection, and whichever is polled drives it. There is no task and no channel.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use meow_core::Result;
use meow_core::transport::{
    Credentials, Endpoint, Frame, Host, Link, Peer, RecvFrames, SendFrames, check_frame,
};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::OCTETS;
use crate::error::HttpError;
use crate::framing::{Decoder, Encoder, Limits};
use crate::pool::{Lease, Pool, Route};

pub(crate) async fn open(pool: &Arc<Pool>, endpoint: &Endpoint) -> Result<Link> {
    let route = pool.route(endpoint)?;
    let lease = match pool.kept_lease(&route) {
        Some(lease) => lease,
        // On the heap: dialing is rare and large, and would make every connect a large future.
        None => Box::pin(pool.lease(&route, endpoint)).await?,
    };
    let config = pool.config();
    let state = State::Writing { lease, route, encoder: Encoder::new(config.limits) };
    let shared = Shared {
        state,
        limits: config.limits,
        patience: config.answer_timeout,
        rx_waker: None,
        tx_waker: None,
    };
    let shared = Arc::new(Mutex::new(shared));
    let peer = match endpoint.host() {
        Some(Host::Ip(address)) => Peer::at(*address),
        _ => Peer::default(),
    };
    Ok(Link::new(Tx(Arc::clone(&shared)), Rx(shared), crate::profile(config.limits), peer))
}

/// What every request to one endpoint says beside its frames.
pub(crate) struct Target {
    uri: Uri,
    headers: HeaderMap,
}

impl Target {
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, HttpError> {
        let uri = endpoint.path().parse().map_err(|_| HttpError::Endpoint("the path cannot be sent"))?;
        let host = HeaderValue::from_maybe_shared(Bytes::from(endpoint.authority()))
            .map_err(|_| HttpError::Endpoint("the host cannot be sent"))?;
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(HOST, host);
        headers.insert(CONTENT_TYPE, OCTETS);
        if let Some(credentials) = endpoint.credentials() {
            headers.insert(AUTHORIZATION, basic(credentials)?);
        }
        Ok(Self { uri, headers })
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let empty = body.is_empty();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if empty {
            // The length is always stated; hyper leaves this one out.
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        request
    }
}

fn basic(credentials: &Credentials) -> Result<HeaderValue, HttpError> {
    let password = credentials.password().unwrap_or_default();
    let pair = Zeroizing::new(format!("{}:{password}", credentials.user()));
    let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
    let mut value = HeaderValue::from_str(&text).map_err(|_| HttpError::Credentials)?;
    value.set_sensitive(true);
    Ok(value)
}

type Answering = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

enum State {
    /// Frames are collected. The connection is ours, but nothing was sent.
    Writing { lease: Lease, route: Arc<Route>, encoder: Encoder },
    /// The request is on its way, or the server thinks about it.
    Waiting { lease: Lease, answer: Answering },
    /// The answer comes in.
    Reading { lease: Lease, body: Incoming, decoder: Decoder, ended: bool },
    /// All was read; the connection went back to the pool.
    Done,
    /// Broken, or given up by one of the halves.
    Broken,
}

struct Shared {
    state: State,
    limits: Limits,
    patience: Duration,
    /// Woken when the request is sent or given up.
    rx_waker: Option<Waker>,
    /// Woken when the exchange is over.
    tx_waker: Option<Waker>,
}

impl Shared {
    fn wake_rx(&mut self) {
        if let Some(waker) = self.rx_waker.take() {
            waker.wake();
        }
    }

    /// Leaves the state that an exchange ends in.
    fn end(&mut self, state: State) {
        self.state = state;
        if let Some(waker) = self.tx_waker.take() {
            waker.wake();
        }
    }

    fn send(&mut self, frame: &Frame) -> Result<(), HttpError> {
        match &mut self.state {
            State::Writing { encoder, .. } => encoder.push(frame).map_err(HttpError::Full),
            State::Waiting { .. } | State::Reading { .. } | State::Done => Err(HttpError::Finished),
            State::Broken => Err(HttpError::Closed),
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) -> Result<(), HttpError> {
        let (mut lease, route, mut encoder) = match std::mem::replace(&mut self.state, State::Broken) {
            State::Writing { lease, route, encoder } => (lease, route, encoder),
            State::Broken => return Err(HttpError::Closed),
            sent => {
                self.state = sent;
                return Ok(());
            }
        };
        let answer = Box::pin(lease.conn.sender.send_request(route.target.request(encoder.take())));
        lease.conn.deadline.as_mut().reset(Instant::now() + self.patience);
        // Gets the request, or its first part, onto the wire now. If the connection has failed, the answer says so.
        lease.conn.drive(cx);
        self.state = State::Waiting { lease, answer };
        self.wake_rx();
        Ok(())
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, HttpError>> {
        let polled = self.poll_frame(cx);
        if let Poll::Ready(Err(_)) = polled {
            self.end(State::Broken);
        }
        polled
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, HttpError>> {
        loop {
            match &mut self.state {
                State::Done => return Poll::Ready(Ok(None)),
                State::Broken => return Poll::Ready(Err(HttpError::Closed)),
                State::Writing { .. } => {
                    self.rx_waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                State::Waiting { lease, answer } => {
                    lease.conn.drive(cx);
                    let Poll::Ready(answered) = answer.as_mut().poll(&mut passive()) else {
                        return patience(lease, cx);
                    };
                    let body = accept(answered.map_err(HttpError::Broken)?)?;
                    let State::Waiting { lease, .. } = std::mem::replace(&mut self.state, State::Broken)
                    else {
                        return Poll::Ready(Err(HttpError::Closed));
                    };
                    self.state =
                        State::Reading { lease, body, decoder: Decoder::new(self.limits), ended: false };
                }
                State::Reading { lease, body, decoder, ended } => {
                    let frame = decoder.next_frame().map_err(HttpError::Framing)?;
                    *ended |= body.is_end_stream();
                    if *ended && (frame.is_none() || decoder.at_boundary()) {
                        decoder.end().map_err(HttpError::Framing)?;
                        // The connection goes back with the last frame: few callers ask again after it.
                        if let State::Reading { lease, .. } = std::mem::replace(&mut self.state, State::Done)
                        {
                            lease.give_back();
                        }
                        self.end(State::Done);
                        return Poll::Ready(Ok(frame));
                    }
                    if frame.is_some() {
                        return Poll::Ready(Ok(frame));
                    }
                    lease.conn.drive(cx);
                    match Pin::new(&mut *body).poll_frame(&mut passive()) {
                        Poll::Ready(Some(part)) => {
                            // Trailers say nothing here.
                            if let Ok(chunk) = part.map_err(HttpError::Broken)?.into_data() {
                                decoder.push(chunk).map_err(HttpError::Framing)?;
                            }
                        }
                        Poll::Ready(None) => *ended = true,
                        Poll::Pending => return patience(lease, cx),
                    }
                }
            }
        }
    }
}

/// For what makes progress only inside [`Conn::drive`](crate::dial::Conn::drive), right before: there is nothing to be
/// woken by, and a task that wakes itself is polled in vain.
fn passive() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Nothing can be done now: either it comes later, or the time is over.
fn patience(lease: &mut Lease, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, HttpError>> {
    lease.conn.deadline.as_mut().poll(cx).map(|()| Err(HttpError::AnswerTimeout))
}

/// Judges the head of an answer.
fn accept(response: Response<Incoming>) -> Result<Incoming, HttpError> {
    let (status, headers) = (response.status(), response.headers());
    if status != StatusCode::OK {
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        return Err(HttpError::Status { status, retry_after });
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(HttpError::NotMeow("it has a content encoding"));
    }
    if headers.get(CONTENT_TYPE) != Some(&OCTETS) {
        return Err(HttpError::NotMeow("its content type differs"));
    }
    Ok(response.into_body())
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Every method leaves a whole state behind.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Tx(Arc<Mutex<Shared>>);

impl SendFrames for Tx {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        let mut shared = lock(&self.0);
        check_frame(&frame, shared.limits.max_frame)?;
        Ok(shared.send(&frame)?)
    }

    async fn finish(&mut self) -> Result<()> {
        poll_fn(|cx| Poll::Ready(lock(&self.0).finish(cx))).await?;
        Ok(())
    }

    async fn closed(&mut self) {
        poll_fn(|cx| {
            let mut shared = lock(&self.0);
            let over = match &mut shared.state {
                State::Writing { lease, .. } => !lease.conn.drive(cx),
                State::Waiting { .. } | State::Reading { .. } => false,
                State::Done | State::Broken => true,
            };
            if over {
                return Poll::Ready(());
            }
            shared.tx_waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        if matches!(shared.state, State::Writing { .. }) {
            shared.state = State::Broken;
            shared.wake_rx();
        }
    }
}

struct Rx(Arc<Mutex<Shared>>);

impl RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        Ok(poll_fn(|cx| lock(&self.0).poll_recv(cx)).await?)
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        if !matches!(shared.state, State::Done) {
            // Nobody will read the answer; a connection in the middle of one is of no further use.
            shared.end(State::Broken);
        }
    }
}
