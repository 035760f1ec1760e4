//! A transport that keeps what clients send over it.

use std::sync::{Arc, Mutex};

use meow_core::Result;
use meow_core::transport::{Endpoint, Frame, Link, LinkProfile, LinkSender, Listener, SendFrames, Transport};
use meow_transport::{Memory, Transports};

/// `memory:`, with a memory.
#[derive(Clone)]
pub(crate) struct Tap {
    medium: Transports,
    pub(crate) sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    pub(crate) fn new() -> Self {
        Self { medium: Transports::new().with(Memory::new()), sent: Arc::default() }
    }

    /// What was sent since the last call, oldest first.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.sent.lock().unwrap())
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
        let tx = Kept { tx: link.tx, sent: Arc::clone(&self.sent) };
        Ok(Link::new(tx, Rx(link.rx), link.profile, link.peer))
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        self.medium.listen(endpoint).await
    }
}

struct Kept {
    tx: LinkSender,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl SendFrames for Kept {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        self.sent.lock().unwrap().push(frame.to_vec());
        self.tx.send(frame).await
    }

    async fn finish(&mut self) -> Result<()> {
        self.tx.finish().await
    }
}

struct Rx(meow_core::transport::LinkReceiver);

impl meow_core::transport::RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        self.0.recv().await
    }
}
