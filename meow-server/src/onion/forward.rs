//! Sending a packet to the next server: dialled by its URLs, proven before data, retried within the packet's life.

use std::sync::Arc;
use std::time::Duration;

use meow_core::onion::mark_relayed;
use meow_core::request::{ClearAnswer, ClearCode, DESCRIBE};
use meow_core::transport::{Frame, Link};
use meow_core::{Error, ErrorKind, Result};
use meow_transport::Transports;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{HopLimits, Target, Way};
use crate::Clock;

/// Time for one exchange with the next server.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time for the word "taken" about a packet that was sent: a silent server must not keep others from it for long.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of an answer in the clear, at most: a descriptor.
const SHORT: usize = 2048;
/// Pause after the first failed attempt; it doubles with each.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(20);

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The next server has it.
    Taken,
    /// Too many wait for that server.
    Crowded,
    /// Not taken within its life, or refused for good.
    Failed,
}

/// Sends packets on.
pub(crate) struct Forwarder {
    transports: Transports,
    life: Duration,
    proof: Duration,
    clock: Arc<dyn Clock>,
}

enum Attempt {
    Taken,
    Refused,
}

impl Forwarder {
    pub(crate) fn new(transports: Transports, limits: &HopLimits, clock: Arc<dyn Clock>) -> Self {
        Self { transports, life: limits.life, proof: limits.proof, clock }
    }

    /// Sends a packet to a server. The same packet may reach it twice where a link breaks; the server then knows it by
    /// its tag.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the packet was taken.
    pub(crate) async fn send(&self, target: &Target, mut packet: Vec<u8>) -> Sent {
        mark_relayed(&mut packet);
        let Some(_place) = target.place() else { return Sent::Crowded };
        let (packet, end) = (Frame::from(packet), Instant::now() + self.life);
        let mut pause = PAUSE;
        let tried = timeout_at(end, async {
            loop {
                match self.attempt(target, &packet).await {
                    Ok(Attempt::Taken) => return Sent::Taken,
                    Ok(Attempt::Refused) => return Sent::Failed,
                    Err(e) => tracing::debug!(kind = e.kind().name(), "a packet was not sent on yet"),
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
        });
        tried.await.unwrap_or(Sent::Failed)
    }

    /// All URLs in order, once.
    async fn attempt(&self, target: &Target, packet: &Frame) -> Result<Attempt> {
        let Some(_link) = target.link().await else { return Ok(Attempt::Refused) };
        let mut last = Error::new(ErrorKind::Unreachable, "the server has no URL");
        for way in &target.ways {
            // An estimate was made when the relay started.
            let slow = self
                .transports
                .estimate(&way.url)
                .map_or(Duration::ZERO, |profile| on_the_way(packet.len(), profile.bit_rate));
            match timeout(PATIENCE + slow, self.exchange(target, way, packet)).await {
                Ok(Ok(attempt)) => return Ok(attempt),
                Ok(Err(e)) => last = e,
                Err(_) => last = Error::new(ErrorKind::Unreachable, "no answer in time"),
            }
        }
        Err(last)
    }

    /// Asks a server for its descriptor, by whichever of its URLs answers, and notes it.
    ///
    /// # Errors
    /// That of the last URL.
    pub(crate) async fn describe(&self, target: &Target) -> Result<()> {
        let mut last = Error::new(ErrorKind::Unreachable, "the server has no URL");
        for url in target.urls() {
            let asked = async {
                let link = self.transports.connect(url).await?;
                described(link, target).await
            };
            match timeout(PATIENCE, asked).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(e)) => last = e,
                Err(_) => last = Error::new(ErrorKind::Unreachable, "no answer in time"),
            }
        }
        Err(last)
    }

    async fn exchange(&self, target: &Target, way: &Way, packet: &Frame) -> Result<Attempt> {
        let link = self.proven(target, way).await?;
        let answer = ask(link, packet.clone()).await?;
        match ClearAnswer::from_packet(&answer)? {
            ClearAnswer::Taken => Ok(Attempt::Taken),
            ClearAnswer::Refused(ClearCode::Busy) => {
                Err(Error::new(ErrorKind::Limit, "the next server is busy"))
            }
            // Nothing that is tried again would help: the packet's sender used an old key, or that server is no hop.
            _ => Ok(Attempt::Refused),
        }
    }

    /// A link to the server that proved to be the one of the catalog. Where the link does not prove it, the server's
    /// signed descriptor does, asked for by the same URL before any packet is shown.
    async fn proven(&self, target: &Target, way: &Way) -> Result<Link> {
        let link = self.transports.connect(&way.url).await?;
        match link.peer.server {
            Some(server) if server == target.fingerprint => return Ok(link),
            Some(_) => return Err(Error::new(ErrorKind::WrongPeer, "another server answers at this URL")),
            None if way.is_proven(self.clock.elapsed()) => return Ok(link),
            None => {}
        }
        described(link, target).await?;
        way.prove(self.clock.elapsed() + self.proof);
        self.transports.connect(&way.url).await
    }
}

/// How long a packet and its answer take on a link of so many bits per second, three times over: a slow one loses some.
fn on_the_way(packet: usize, bit_rate: u64) -> Duration {
    let bits = 8 * (packet + SHORT) as u64;
    Duration::from_millis(3000 * bits / bit_rate.max(1))
}

/// Asks for the descriptor by an open link, verifies and notes it, and where it was had.
async fn described(link: Link, target: &Target) -> Result<()> {
    let at = link.peer.address;
    let answer = ask(link, Frame::from_static(&DESCRIBE)).await?;
    let ClearAnswer::Descriptor(signed) = ClearAnswer::from_packet(&answer)? else {
        return Err(Error::new(ErrorKind::Limit, "the next server is busy"));
    };
    let issued = signed.clone().verified(&target.fingerprint)?.issued;
    if target.tells(issued, *signed)
        && let Some(address) = at
    {
        target.found_at(address);
    }
    Ok(())
}

async fn ask(mut link: Link, packet: Frame) -> Result<Frame> {
    let patience = ANSWER + on_the_way(packet.len(), link.profile.bit_rate);
    link.tx.send(packet).await?;
    link.tx.finish().await?;
    let gone = || Error::new(ErrorKind::Unreachable, "the link ended without an answer");
    let answer = timeout(patience, link.rx.recv()).await;
    answer.map_err(|_| Error::new(ErrorKind::Unreachable, "no answer in time"))??.ok_or_else(gone)
}
