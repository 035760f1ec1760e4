//! One request in, one link out, one answer back.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap,
    RETRY_AFTER, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use meow_core::Result;
use meow_core::transport::{Frame, Link, LinkProfile, Peer, RecvFrames, SendFrames, check_frame};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use crate::OCTETS;
use crate::config::Account;
use crate::error::HttpError;
use crate::forwarded::{self, Network};
use crate::framing::{Decoder, Encoder, FramingError, HEADER, Limits};
use crate::watch::{Activity, Answer, Share};

/// What all connections of one listener share.
pub(crate) struct Server {
    pub(crate) path: String,
    pub(crate) limits: Limits,
    pub(crate) profile: LinkProfile,
    pub(crate) accounts: Vec<Account>,
    pub(crate) proxies: Vec<Network>,
    pub(crate) body_timeout: Duration,
    pub(crate) arrivals: mpsc::Sender<Link>,
}

/// A request that is answered without a link.
struct Refusal(StatusCode, &'static str);

impl Server {
    /// Whether so many may be behind this address that its connections are not counted: this machine, and a trusted proxy.
    pub(crate) fn speaks_for_many(&self, socket: IpAddr) -> bool {
        socket.to_canonical().is_loopback() || self.proxies.iter().any(|proxy| proxy.contains(socket))
    }

    /// Serves one request. The future is dropped by hyper when the client goes away, which the link then notices.
    ///
    /// The head is judged at once and dropped, so that the future stays small: it is moved at every request.
    pub(crate) fn exchange<'a>(
        &'a self,
        request: Request<Incoming>,
        socket: IpAddr,
        activity: &'a Arc<Activity>,
    ) -> impl Future<Output = Result<Response<Answer>, Infallible>> + Send + 'a {
        let busy = activity.begin();
        let version = request.version();
        let begun = self.check(&request).map(|()| {
            let address = forwarded::client(socket, request.headers(), &self.proxies);
            (request.into_body(), address)
        });
        async move {
            let answered = match begun {
                Ok((body, address)) => self.converse(body, address, activity).await,
                Err(refusal) => Err(refusal),
            };
            let response = match answered {
                Ok((bytes, share)) => {
                    let mut response = Response::new(Answer::new(bytes, Some(share), activity));
                    response.headers_mut().insert(CONTENT_TYPE, OCTETS);
                    response
                }
                Err(refusal) => refusal.response(version, activity),
            };
            drop(busy);
            Ok(response)
        }
    }

    async fn converse(
        &self,
        body: Incoming,
        address: IpAddr,
        activity: &Arc<Activity>,
    ) -> Result<(Bytes, Share), Refusal> {
        let rx = self.receive_in_time(body, activity).await?;
        let (reply, answer) = oneshot::channel();
        let tx = Tx { reply: Some(reply), encoder: Encoder::new(self.limits), share: activity.share() };
        let link = Link::new(tx, rx, self.profile.clone(), Peer::at(address));
        self.arrivals.try_send(link).map_err(|_| BUSY)?;
        let stopping = || if self.arrivals.is_closed() { BUSY } else { FAILED };
        answer.await.map_err(|_| stopping())
    }

    /// Everything that can be judged before the body, in order of cost.
    fn check(&self, request: &Request<Incoming>) -> Result<(), Refusal> {
        let headers = request.headers();
        if !self.accounts.is_empty() && !self.knows(headers) {
            return Err(Refusal(StatusCode::UNAUTHORIZED, "this relay wants a user and password"));
        }
        if request.uri().path() != self.path || request.uri().query().is_some() {
            return Err(Refusal(StatusCode::NOT_FOUND, "nothing is served here"));
        }
        if request.method() != Method::POST {
            return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "only POST is served here"));
        }
        match request.version() {
            // One way to state the length: what a proxy in front and we could read differently is refused.
            Version::HTTP_11
                if headers.contains_key(TRANSFER_ENCODING) || !headers.contains_key(CONTENT_LENGTH) =>
            {
                return Err(Refusal(StatusCode::LENGTH_REQUIRED, "state the Content-Length"));
            }
            Version::HTTP_11 if headers.get_all(HOST).iter().count() != 1 => {
                return Err(Refusal(StatusCode::BAD_REQUEST, "name one Host"));
            }
            Version::HTTP_11 | Version::HTTP_2 => {}
            _ => return Err(Refusal(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "use HTTP/1.1 or HTTP/2")),
        }
        if headers.get(CONTENT_TYPE) != Some(&OCTETS) || headers.contains_key(CONTENT_ENCODING) {
            let text = "send application/octet-stream without content encoding";
            return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        if usize::try_from(request.body().size_hint().lower())
            .map_or(true, |length| length > self.limits.max_body)
        {
            return Err(TOO_LARGE);
        }
        Ok(())
    }

    /// Whether the request names one of the accounts. Every account is compared in full, and in constant time
    /// for secrets of equal length.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return false };
        let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        let Ok(pair) = BASE64_STANDARD.decode(token).map(Zeroizing::new) else { return false };
        let Some(colon) = pair.iter().position(|b| *b == b':') else { return false };
        let (user, password) = pair.split_at(colon);
        let password = password.strip_prefix(b":").unwrap_or_default();
        let matches = self.accounts.iter().fold(Choice::from(0), |known, account| {
            known | (account.user.as_bytes().ct_eq(user) & account.password.as_bytes().ct_eq(password))
        });
        matches.into()
    }

    async fn receive_in_time(&self, body: Incoming, activity: &Arc<Activity>) -> Result<Rx, Refusal> {
        let mut receiving = pin!(self.receive(body, activity.share()));
        // Most bodies came along with their header; those need no timer.
        if let Poll::Ready(received) = poll_fn(|cx| Poll::Ready(receiving.as_mut().poll(cx))).await {
            return received;
        }
        let in_time = tokio::time::timeout(self.body_timeout, receiving).await;
        in_time.unwrap_or(Err(Refusal(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")))
    }

    /// The whole body as frames. A link exists only once they are there: slow senders cost a connection, never a
    /// handler.
    async fn receive(&self, mut body: Incoming, mut share: Share) -> Result<Rx, Refusal> {
        let mut decoder = Decoder::new(self.limits);
        let (mut first, mut others) = (None, Vec::new());
        while !body.is_end_stream() {
            let Some(part) = body.frame().await else { break };
            let part = part.map_err(|_| Refusal(StatusCode::BAD_REQUEST, "the body broke off"))?;
            // Trailers say nothing here.
            let Ok(chunk) = part.into_data() else { continue };
            if !share.grow(chunk.len()) {
                return Err(BUSY);
            }
            // A small chunk would pin the connection's whole read buffer, for as long as a long poll is held.
            let small = chunk.len() <= COPIED;
            decoder.push(if small { Bytes::copy_from_slice(&chunk) } else { chunk })?;
            while let Some(frame) = decoder.next_frame()? {
                match first {
                    None => first = Some(frame),
                    Some(_) => others.push(frame),
                }
            }
        }
        decoder.end()?;
        Ok(Rx { first, others: others.into_iter(), _share: share })
    }
}

/// Chunks of up to this many bytes are copied out of the read buffer, which can then be used again.
const COPIED: usize = 4096;

const TOO_LARGE: Refusal = Refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
const BUSY: Refusal = Refusal(StatusCode::SERVICE_UNAVAILABLE, "busy; try again later");
const FAILED: Refusal = Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the exchange was dropped");

impl From<FramingError> for Refusal {
    fn from(e: FramingError) -> Self {
        match e {
            FramingError::Empty => Self(StatusCode::BAD_REQUEST, "a frame is empty"),
            FramingError::Truncated => Self(StatusCode::BAD_REQUEST, "the body ends inside a frame"),
            FramingError::FrameTooLong(_) | FramingError::TooManyFrames | FramingError::BodyTooLong => {
                TOO_LARGE
            }
        }
    }
}

impl Refusal {
    fn response(self, version: Version, activity: &Arc<Activity>) -> Response<Answer> {
        let Self(status, text) = self;
        let mut response = Response::new(Answer::new(Bytes::from_static(text.as_bytes()), None, activity));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"meow\", charset=\"UTF-8\""),
                );
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        // After a refusal the rest of the body may still be under way, and is nothing we want to read.
        if version < Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

struct Tx {
    /// None once finished.
    reply: Option<oneshot::Sender<(Bytes, Share)>>,
    encoder: Encoder,
    share: Share,
}

impl SendFrames for Tx {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        check_frame(&frame, self.encoder.limits().max_frame)?;
        match &self.reply {
            None => return Err(HttpError::Finished.into()),
            Some(reply) if reply.is_closed() => return Err(HttpError::Closed.into()),
            Some(_) => {}
        }
        if !self.share.grow(HEADER + frame.len()) {
            return Err(HttpError::Budget.into());
        }
        Ok(self.encoder.push(&frame).map_err(HttpError::Full)?)
    }

    async fn finish(&mut self) -> Result<()> {
        let Some(reply) = self.reply.take() else { return Ok(()) };
        reply.send((self.encoder.take(), self.share.take())).map_err(|_| HttpError::Closed.into())
    }

    async fn closed(&mut self) {
        if let Some(reply) = &mut self.reply {
            reply.closed().await;
        }
    }
}

struct Rx {
    /// Most requests have one frame; it needs no list.
    first: Option<Frame>,
    others: std::vec::IntoIter<Frame>,
    /// The frames count as held for as long as this half lives.
    _share: Share,
}

impl RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        Ok(self.first.take().or_else(|| self.others.next()))
    }
}
