//! One bidirectional stream as a link.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use meow_core::Result;
use meow_core::transport::{Frame, Link, LinkProfile, Pattern, Peer, RecvFrames, SendFrames, check_frame};
use quinn::{RecvStream, SendStream, VarInt, WriteError};
use tokio::task::JoinHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::budget::{Kept, Room};
use crate::error::UdpError;
use crate::framing::Reader;
use crate::open::Open;

/// Code of a stream that is broken off: the link was dropped, or the far side broke the framing.
pub(crate) const BROKEN_OFF: VarInt = VarInt::from_u32(1);
/// Code of a stream, or of a connection, for which there is no room now.
pub(crate) const BUSY: VarInt = VarInt::from_u32(2);
/// Code of a connection that ends because nobody uses it any more, or the listener closes.
pub(crate) const DONE: VarInt = VarInt::from_u32(0);

/// What a stream can do.
pub(crate) fn profile(max_frame: usize) -> LinkProfile {
    LinkProfile::new(Pattern::Session, max_frame)
}

/// Both halves of a stream. `open` counts the link until all that it sent has arrived or is given up; `kept` bounds what is
/// kept of frames that are not complete.
pub(crate) fn link(
    (tx, rx): (SendStream, RecvStream),
    max_frame: usize,
    peer: Peer,
    open: &Arc<Open>,
    kept: Option<Arc<Kept>>,
) -> Link {
    let out = Out { stream: tx, finished: false };
    let tx = Tx {
        writer: Writer::Idle(out),
        max_frame,
        open: Arc::clone(open),
        asked: false,
        _counted: open.token(),
    };
    let rx = Rx {
        stream: rx,
        frames: Reader::new(max_frame),
        room: Room::new(kept),
        state: Inbound::Open,
        _counted: open.token(),
    };
    Link::new(tx, rx, profile(max_frame), peer)
}

/// The sending side of a stream. Dropped before it was finished, it is broken off: by itself the library would take
/// that for a clean end.
pub(crate) struct Out {
    stream: SendStream,
    finished: bool,
}

impl Out {
    /// Whether all of a finished stream has arrived, or nobody wants it any more.
    pub(crate) fn is_over(&mut self) -> bool {
        // What has arrived has no priority any more.
        self.is_stopped() || self.stream.priority().is_err()
    }

    /// Whether nobody wants the rest of a finished stream.
    pub(crate) fn is_stopped(&mut self) -> bool {
        // Finished again, it is an error but where it was stopped (quinn 0.11; `what_has_arrived_or_is_stopped_does_not_gather`
        // would show another meaning). Asking `stopped` would leave something to be woken with the connection.
        self.stream.finish().is_ok()
    }

    /// Waits for that.
    pub(crate) async fn arrived(&self) {
        // Arrived, refused or lost with its connection: in each case there is nothing left to wait for.
        let _ = self.stream.stopped().await;
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if !self.finished {
            // A stream that is gone already needs no breaking off.
            let _ = self.stream.reset(BROKEN_OFF);
        }
    }
}

enum Writer {
    Idle(Out),
    /// The rest of a frame waits for the far side to read. A task of its own writes it: whoever sent it may now wait
    /// for an answer, and nobody else would go on.
    Busy {
        writing: JoinHandle<Result<Out, WriteError>>,
        stopped: BoxFuture<'static, ()>,
    },
    Lost,
}

struct Tx {
    writer: Writer,
    max_frame: usize,
    open: Arc<Open>,
    /// Somebody waited in [`closed`](SendFrames::closed), and nothing came.
    asked: bool,
    _counted: TaskTrackerToken,
}

impl Tx {
    /// The stream, once no frame waits. Dropped, it changes nothing.
    async fn idle(&mut self) -> Result<&mut Out, UdpError> {
        if let Writer::Busy { writing, .. } = &mut self.writer {
            let written = writing.await;
            self.writer = Writer::Lost;
            // A task ends without a result only with its runtime.
            self.writer = Writer::Idle(written.map_err(|_| UdpError::Closed)??);
        }
        match &mut self.writer {
            Writer::Idle(out) => Ok(out),
            Writer::Busy { .. } | Writer::Lost => Err(UdpError::Closed),
        }
    }
}

impl SendFrames for Tx {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        check_frame(&frame, self.max_frame)?;
        let length = u32::try_from(frame.len()).map_err(|_| UdpError::Setting)?;
        let out = self.idle().await?;
        if out.finished {
            return Err(UdpError::Finished.into());
        }
        // From here on nothing waits: a frame is taken whole or not at all.
        let mut rest = [Bytes::copy_from_slice(&length.to_be_bytes()), frame];
        while rest.iter().any(|chunk| !chunk.is_empty()) {
            match out.stream.write_chunks(&mut rest).now_or_never() {
                Some(written) => drop(written.map_err(UdpError::from)?),
                None => {
                    self.write_in_background(rest);
                    break;
                }
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        let out = self.idle().await?;
        if !out.finished {
            out.stream.finish().map_err(|_| UdpError::Closed)?;
            out.finished = true;
        }
        Ok(())
    }

    async fn closed(&mut self) {
        // Stopped by the far side, lost, or all of it arrived after `finish`.
        self.asked = !matches!(self.writer, Writer::Lost);
        match &mut self.writer {
            Writer::Idle(out) => drop(out.stream.stopped().await),
            Writer::Busy { stopped, .. } => stopped.await,
            Writer::Lost => {}
        }
        self.asked = false;
    }
}

impl Tx {
    fn write_in_background(&mut self, mut rest: [Bytes; 2]) {
        let Writer::Idle(mut out) = std::mem::replace(&mut self.writer, Writer::Lost) else { return };
        let stopped = out.stream.stopped().map(drop).boxed();
        let writing = self.open.spawn(async move {
            out.stream.write_all_chunks(&mut rest).await?;
            Ok(out)
        });
        self.writer = Writer::Busy { writing, stopped };
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.writer, Writer::Lost) {
            Writer::Idle(out) if out.finished => self.open.until_arrived(out),
            writer => {
                if let Writer::Busy { writing, .. } = writer {
                    writing.abort();
                }
                if self.asked {
                    self.open.left_behind();
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Inbound {
    Open,
    Ended,
    /// Broken off, or the far side broke the framing: what follows is no end.
    Failed,
}

struct Rx {
    stream: RecvStream,
    frames: Reader,
    room: Room,
    state: Inbound,
    _counted: TaskTrackerToken,
}

impl Rx {
    async fn next(&mut self) -> Result<Option<Frame>, UdpError> {
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(Some(frame));
            }
            if !self.room.set(self.frames.kept()) {
                // The stream may be gone already.
                let _ = self.stream.stop(BUSY);
                return Err(UdpError::NoRoom);
            }
            match self.stream.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => self.frames.push(&chunk.bytes),
                Ok(None) if self.frames.is_empty() => return Ok(None),
                Ok(None) | Err(_) => return Err(UdpError::Closed),
            }
        }
    }
}

impl RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        match self.state {
            Inbound::Open => {}
            Inbound::Ended => return Ok(None),
            Inbound::Failed => return Err(UdpError::Closed.into()),
        }
        // Dropped, it has lost nothing: what was read lies with the frames.
        match self.next().await {
            Ok(Some(frame)) => Ok(Some(frame)),
            Ok(None) => {
                self.state = Inbound::Ended;
                Ok(None)
            }
            Err(e) => {
                self.state = Inbound::Failed;
                Err(e.into())
            }
        }
    }
}
