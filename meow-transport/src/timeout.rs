//! A limit on how long connecting and waiting for a frame may take.

use std::time::Duration;

use meow_core::transport::{
    Accept, Endpoint, Frame, Link, LinkProfile, LinkReceiver, LinkSender, Listener, RecvFrames, SendFrames,
    Transport,
};
use meow_core::{Error, ErrorKind, Result, Retry};
use tokio::time::timeout;

/// Bounds the time that connecting takes, and the time that `recv` waits for the next frame.
///
/// The time of a `recv` starts anew with each call. A `recv` that ran out leaves the link usable.
#[derive(Clone, Debug)]
pub struct WithTimeout<T> {
    inner: T,
    connect: Duration,
    idle: Duration,
}

impl<T: Transport> WithTimeout<T> {
    /// Wraps a transport. `connect` bounds dialing, `idle` each wait for a frame, on dialled and accepted links.
    pub fn new(inner: T, connect: Duration, idle: Duration) -> Self {
        Self { inner, connect, idle }
    }
}

fn timed_out(what: &str, after: Duration) -> Error {
    let text = format!("{what} within {} s; check the network, or allow more time", after.as_secs_f32());
    Error::new(ErrorKind::Unreachable, text).with_retry(Retry::Now)
}

fn guard(link: Link, idle: Duration) -> Link {
    Link::new(Tx(link.tx), Rx { inner: link.rx, idle }, link.profile, link.peer)
}

impl<T: Transport> Transport for WithTimeout<T> {
    fn schemes(&self) -> &'static [&'static str] {
        self.inner.schemes()
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        self.inner.estimate(endpoint)
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let link = timeout(self.connect, self.inner.connect(endpoint))
            .await
            .map_err(|_| timed_out("no connection came about", self.connect))??;
        Ok(guard(link, self.idle))
    }

    /// It has limits of its own, and takes longer than connecting.
    async fn connect_through(&self, endpoint: &Endpoint) -> Result<Link> {
        Ok(guard(self.inner.connect_through(endpoint).await?, self.idle))
    }

    async fn connect_sparingly(&self, endpoint: &Endpoint) -> Result<Link> {
        let link = timeout(self.connect, self.inner.connect_sparingly(endpoint))
            .await
            .map_err(|_| timed_out("no connection came about", self.connect))??;
        Ok(guard(link, self.idle))
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        let listener = self.inner.listen(endpoint).await?;
        let local = listener.local().clone();
        Ok(Listener::new(Acceptor { inner: listener, idle: self.idle }, local))
    }
}

struct Acceptor {
    inner: Listener,
    idle: Duration,
}

impl Accept for Acceptor {
    async fn accept(&mut self) -> Result<Option<Link>> {
        Ok(self.inner.accept().await?.map(|link| guard(link, self.idle)))
    }
    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}

struct Tx(LinkSender);

impl SendFrames for Tx {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        self.0.send(frame).await
    }
    async fn finish(&mut self) -> Result<()> {
        self.0.finish().await
    }
    async fn closed(&mut self) {
        self.0.closed().await;
    }
}

struct Rx {
    inner: LinkReceiver,
    idle: Duration,
}

impl RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        timeout(self.idle, self.inner.recv()).await.map_err(|_| timed_out("no frame came", self.idle))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[tokio::test(start_paused = true)]
    async fn a_silent_link_times_out_and_stays_usable() {
        let memory = WithTimeout::new(Memory::new(), Duration::from_secs(1), Duration::from_secs(5));
        let endpoint: Endpoint = "memory://room".parse().unwrap();
        let mut listener = memory.listen(&endpoint).await.unwrap();
        let mut near = memory.connect(&endpoint).await.unwrap();
        let mut far = listener.accept().await.unwrap().unwrap();
        let e = near.rx.recv().await.unwrap_err();
        assert_eq!((e.kind(), e.retry()), (ErrorKind::Unreachable, Retry::Now));
        far.tx.send("late".into()).await.unwrap();
        assert_eq!(near.rx.recv().await.unwrap().unwrap(), "late");
    }

    #[tokio::test(start_paused = true)]
    async fn connecting_to_a_full_listener_times_out() {
        let memory = WithTimeout::new(Memory::new(), Duration::from_secs(1), Duration::from_secs(5));
        let endpoint: Endpoint = "memory://room".parse().unwrap();
        let _listener = memory.listen(&endpoint).await.unwrap();
        let mut open = Vec::new();
        let e = loop {
            match memory.connect(&endpoint).await {
                Ok(link) => open.push(link),
                Err(e) => break e,
            }
        };
        assert!(e.to_string().contains("within 1 s"), "{e}");
        assert!(!open.is_empty());
    }
}
