//! The halves of a link.

use std::sync::Arc;
use std::time::Duration;

use meow_core::Result;
use meow_core::transport::{Frame, Link, LinkProfile, Pattern, Peer, RecvFrames, SendFrames, check_frame};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::MAX_FRAME;
use crate::channel::{Channel, Sending};
use crate::error::MqttError;

/// What comes on a link.
pub(crate) enum Inbound {
    Frame(Frame),
    Finished,
    Broken,
}

/// What a link through a broker can do.
pub(crate) fn profile() -> LinkProfile {
    let mut profile = LinkProfile::new(Pattern::Session, MAX_FRAME);
    profile.rtt = Duration::from_millis(100);
    // Only the broker sees it.
    profile.exposes_address = false;
    profile
}

pub(crate) fn link(
    channel: Arc<Channel>,
    id: u32,
    frames: mpsc::UnboundedReceiver<Inbound>,
    (wake, gone): (Arc<Notify>, CancellationToken),
    peer: Peer,
    open: &Arc<TaskTracker>,
) -> Link {
    let tx = Tx {
        channel: Arc::clone(&channel),
        id,
        finished: false,
        wake,
        gone: gone.clone(),
        _counted: open.token(),
    };
    let rx = Rx { channel, id, frames, end: None, _counted: open.token() };
    Link::new(tx, rx, profile(), peer)
}

struct Tx {
    channel: Arc<Channel>,
    id: u32,
    finished: bool,
    wake: Arc<Notify>,
    gone: CancellationToken,
    _counted: TaskTrackerToken,
}

impl SendFrames for Tx {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        check_frame(&frame, MAX_FRAME)?;
        if self.finished {
            return Err(MqttError::Finished.into());
        }
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            // What happens between the look and the wait is not missed.
            woken.as_mut().enable();
            match self.channel.send(self.id, &frame)? {
                Sending::Done => return Ok(()),
                Sending::Wait => woken.await,
            }
        }
    }

    async fn finish(&mut self) -> Result<()> {
        if !self.finished {
            if !self.channel.finish(self.id) {
                return Err(MqttError::Closed.into());
            }
            self.finished = true;
        }
        Ok(())
    }

    async fn closed(&mut self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if !self.finished {
            self.channel.break_off(self.id);
        }
    }
}

struct Rx {
    channel: Arc<Channel>,
    id: u32,
    frames: mpsc::UnboundedReceiver<Inbound>,
    /// Whether the end was a clean one.
    end: Option<bool>,
    _counted: TaskTrackerToken,
}

impl RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        match self.end {
            None => {}
            Some(true) => return Ok(None),
            Some(false) => return Err(MqttError::Closed.into()),
        }
        match self.frames.recv().await {
            Some(Inbound::Frame(frame)) => {
                self.channel.consumed(self.id, frame.len());
                Ok(Some(frame))
            }
            Some(Inbound::Finished) => {
                self.end = Some(true);
                Ok(None)
            }
            Some(Inbound::Broken) | None => {
                self.end = Some(false);
                Err(MqttError::Closed.into())
            }
        }
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        self.channel.stop(self.id);
        self.frames.close();
        while let Ok(item) = self.frames.try_recv() {
            if let Inbound::Frame(frame) = item {
                self.channel.consumed(self.id, frame.len());
            }
        }
    }
}
