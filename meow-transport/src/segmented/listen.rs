//! Accepting: on a bus every link is another station's; elsewhere every link below brings one.

use std::sync::Arc;
use std::time::Duration;

use meow_core::Result;
use meow_core::transport::{Accept, Link, Listener};
use tokio::sync::mpsc;

use super::QUEUED_LINKS;
use super::station::Station;

/// How long closing waits for open links.
const DRAIN: Duration = Duration::from_secs(10);

/// The listener of a bus.
pub(super) struct BusAcceptor {
    /// None once closed.
    station: Option<Arc<Station>>,
    queue: mpsc::Receiver<Link>,
}

impl BusAcceptor {
    pub(super) fn new(station: Arc<Station>, queue: mpsc::Receiver<Link>) -> Self {
        Self { station: Some(station), queue }
    }

    fn turn_away(&mut self) {
        self.queue.close();
        while self.queue.try_recv().is_ok() {}
    }
}

impl Accept for BusAcceptor {
    async fn accept(&mut self) -> Result<Option<Link>> {
        Ok(self.queue.recv().await)
    }

    async fn close(&mut self) -> Result<()> {
        let station = self.station.take();
        // First, so that nobody who listens next is deafened in this one's place.
        station.iter().for_each(|station| station.deafen());
        self.turn_away();
        if let Some(station) = station {
            station.open.close();
            let ended = async {
                station.open.wait().await;
                station.flushed().await;
            };
            if tokio::time::timeout(DRAIN, ended).await.is_err() {
                // The bus may live on for what this side dialled.
                station.cut();
            }
            station.open.reopen();
        }
        Ok(())
    }
}

impl Drop for BusAcceptor {
    fn drop(&mut self) {
        self.station.take().iter().for_each(|station| station.deafen());
        self.turn_away();
    }
}

/// The listener of a transport whose links are between two.
pub(super) struct LinkAcceptor {
    below: Listener,
    arrivals: mpsc::Sender<Link>,
    queue: mpsc::Receiver<Link>,
}

impl LinkAcceptor {
    pub(super) fn new(below: Listener) -> Self {
        let (arrivals, queue) = mpsc::channel(QUEUED_LINKS);
        Self { below, arrivals, queue }
    }
}

impl Accept for LinkAcceptor {
    async fn accept(&mut self) -> Result<Option<Link>> {
        loop {
            tokio::select! {
                biased;
                link = self.queue.recv() => return Ok(link),
                below = self.below.accept() => match below? {
                    Some(link) if super::needs(&link.profile) => {
                        Station::start(link, Some(self.arrivals.clone()), None)?;
                    }
                    link => return Ok(link),
                },
            }
        }
    }

    async fn close(&mut self) -> Result<()> {
        self.queue.close();
        while self.queue.try_recv().is_ok() {}
        // The links below stay open for as long as those above them.
        self.below.close().await
    }
}
