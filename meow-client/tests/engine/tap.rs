//! A transport that keeps what clients send over it.

use std::sync::{Arc, Mutex};

use meow_core::Result;
use meow_core::transport::{
    Endpoint, Frame, Link, LinkProfile, LinkReceiver, LinkSender, Listener, RecvFrames, SendFrames, Transport,
};
use meow_transport::{Memory, Transports};

/// `memory:`, with a memory.
#[derive(Clone)]
pub(crate) struct Tap {
    medium: Transports,
    pub(crate) sent: Arc<Mutex<Vec<Vec<u8>>>>,
    exchanges: Arc<Mutex<Vec<Counted>>>,
}

/// Bytes of the frames of one link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) up: usize,
    pub(crate) down: usize,
}

type Counted = Arc<Mutex<Exchange>>;

impl Tap {
    pub(crate) fn new() -> Self {
        let medium = Transports::new().with(Memory::new());
        Self { medium, sent: Arc::default(), exchanges: Arc::default() }
    }

    /// What was sent since the last call, oldest first.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    /// What each link has carried that was opened since the last call.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        let links = std::mem::take(&mut *self.exchanges.lock().unwrap());
        links.iter().map(|link| *link.lock().unwrap()).collect()
    }
}

impl Transport for Tap {
    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        self.medium.estimate(endpoint)
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let link = self.medium.connect(endpoint).await?;
        let counted = Counted::default();
        self.exchanges.lock().unwrap().push(Arc::clone(&counted));
        let tx = Kept { tx: link.tx, sent: Arc::clone(&self.sent), counted: Arc::clone(&counted) };
        Ok(Link::new(tx, Rx { rx: link.rx, counted }, link.profile, link.peer))
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        self.medium.listen(endpoint).await
    }
}

struct Kept {
    tx: LinkSender,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    counted: Counted,
}

impl SendFrames for Kept {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        self.sent.lock().unwrap().push(frame.to_vec());
        self.counted.lock().unwrap().up += frame.len();
        self.tx.send(frame).await
    }

    async fn finish(&mut self) -> Result<()> {
        self.tx.finish().await
    }
}

struct Rx {
    rx: LinkReceiver,
    counted: Counted,
}

impl RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        let frame = self.rx.recv().await?;
        self.counted.lock().unwrap().down += frame.as_ref().map_or(0, |frame| frame.len());
        Ok(frame)
    }
}
