//! The dialling side of an exchange: frames out as one request, frames in from its answer.
//!
//! Both halves share the connection, and whichever is polled drives it. There is no task and no channel.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use http::StatusCode;
use meow_core::Result;
use meow_core::transport::{Endpoint, Frame, Link, Peer, RecvFrames, SendFrames, check_frame};
use tokio::time::Instant;

use crate::error::HttpError;
use crate::framing::{Decoder, Encoder, Limits};
use crate::pool::{Lease, Pool};
use crate::response::{Head, Reader};

pub(crate) async fn open(pool: &Arc<Pool>, endpoint: &Endpoint) -> Result<Link> {
    let route = pool.route(endpoint)?;
    let mut lease = match pool.kept_lease(&route) {
        Some(lease) => lease,
        // On the heap: dialing is rare and large, and would make every connect a large future.
        None => Box::pin(pool.lease(&route, endpoint)).await?,
    };
    let config = pool.config();
    let peer = Peer::at(lease.conn.to);
    let encoder = route.target.begin(lease.conn.buffer(), config.limits);
    let shared = Shared {
        state: State::Writing { lease, encoder },
        limits: config.limits,
        patience: config.answer_timeout,
        rx_waker: None,
        tx_waker: None,
    };
    let shared = Arc::new(Mutex::new(shared));
    Ok(Link::new(Tx(Arc::clone(&shared)), Rx(shared), crate::profile(config.limits), peer))
}

enum State {
    /// Frames are collected. The connection is ours, but nothing was sent.
    Writing { lease: Lease, encoder: Encoder },
    /// The request is on its way, the server thinks about it, or the answer comes in.
    Asked { lease: Lease, answer: Answer },
    /// All was read; the connection went back to the pool.
    Done,
    /// Broken, or given up by one of the halves.
    Broken,
}

/// An answer that comes in.
struct Answer {
    reader: Reader,
    /// Whether the head was there, and was one of ours.
    begun: bool,
    decoder: Decoder,
}

impl Answer {
    fn new(limits: Limits) -> Self {
        Self { reader: Reader::default(), begun: false, decoder: Decoder::new(limits) }
    }

    /// The next frame of what has arrived, if there is a whole one, and whether the answer ends here.
    fn next_frame(&mut self, arrived: &mut BytesMut) -> Result<(Option<Frame>, bool), HttpError> {
        if !self.begun {
            let Some(head) = self.reader.head(arrived)? else { return Ok((None, false)) };
            judge(head)?;
            self.begun = true;
        }
        loop {
            let frame = self.decoder.next_frame().map_err(HttpError::Framing)?;
            if self.reader.ended() && (frame.is_none() || self.decoder.at_boundary()) {
                self.decoder.end().map_err(HttpError::Framing)?;
                return Ok((frame, true));
            }
            if frame.is_some() {
                return Ok((frame, false));
            }
            match self.reader.piece(arrived)? {
                Some(piece) => self.decoder.push(piece).map_err(HttpError::Framing)?,
                None if self.reader.ended() => {}
                None => return Ok((None, false)),
            }
        }
    }
}

/// Whether this is the head of a Meow answer.
fn judge(head: Head) -> Result<(), HttpError> {
    if head.status != StatusCode::OK {
        return Err(HttpError::Status { status: head.status, retry_after: head.retry_after });
    }
    if head.encoded {
        return Err(HttpError::NotMeow("it has a content encoding"));
    }
    if !head.octets {
        return Err(HttpError::NotMeow("its content type differs"));
    }
    Ok(())
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
            State::Asked { .. } | State::Done => Err(HttpError::Finished),
            State::Broken => Err(HttpError::Closed),
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) -> Result<(), HttpError> {
        let (mut lease, encoder) = match std::mem::replace(&mut self.state, State::Broken) {
            State::Writing { lease, encoder } => (lease, encoder),
            State::Broken => return Err(HttpError::Closed),
            sent => {
                self.state = sent;
                return Ok(());
            }
        };
        // What was said before the question is not the answer to it.
        if !lease.conn.is_good() {
            self.wake_rx();
            return Err(HttpError::Closed);
        }
        let (request, start) = lease.route().target.finish(encoder);
        lease.conn.deadline.as_mut().reset(Instant::now() + self.patience);
        // If the connection has failed, reading will say so.
        lease.conn.send(request, start, cx);
        self.state = State::Asked { lease, answer: Answer::new(self.limits) };
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
        let (lease, answer) = match &mut self.state {
            State::Asked { lease, answer } => (lease, answer),
            State::Done => return Poll::Ready(Ok(None)),
            State::Broken => return Poll::Ready(Err(HttpError::Closed)),
            State::Writing { .. } => {
                self.rx_waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        };
        lease.conn.write(cx);
        let (frame, ended) = loop {
            let (frame, ended) = answer.next_frame(&mut lease.conn.arrived)?;
            if frame.is_some() || ended {
                break (frame, ended);
            }
            match lease.conn.poll_read(cx).map_err(HttpError::Broken)? {
                Poll::Ready(true) => {}
                Poll::Ready(false) => answer.reader.closed()?,
                Poll::Pending => {
                    let late = lease.conn.deadline.as_mut().poll(cx);
                    return late.map(|()| Err(HttpError::AnswerTimeout));
                }
            }
        };
        // The connection goes back with the last frame: few callers ask again after it.
        if ended {
            self.give_back();
        }
        Poll::Ready(Ok(frame))
    }

    fn give_back(&mut self) {
        if let State::Asked { lease, answer } = std::mem::replace(&mut self.state, State::Done)
            && answer.reader.keeps()
        {
            lease.give_back();
        }
        self.end(State::Done);
    }
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
                // Nothing can come before the question: the server has left, or is about to.
                State::Writing { lease, .. } => lease.conn.poll_read(cx).is_ready(),
                State::Asked { .. } => false,
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
