//! The relay as a hop of Matriochka chains (spec, chapter "Matriochka"): off unless the operator says so.
//!
//! Here is what does not touch links: which packets were seen, where the next server is and whether it may be dialled,
//! which links wait for an answer, what is under way. `relay::hop` puts it together.

mod catalog;
mod counts;
mod forward;
mod held;
mod tags;

pub(crate) use catalog::{Catalog, Target, Way};
pub use counts::HopCounts;
pub(crate) use counts::{Counters, hourly};
pub(crate) use forward::{Forwarder, Sent};
pub(crate) use held::{Held, Waiting};
pub(crate) use tags::Tags;

use std::path::PathBuf;
use std::time::Duration;

use meow_core::lane::ServerReference;
use meow_core::{Error, ErrorKind, Result};
use meow_transport::Transports;

/// What a hop takes on at once, and for how long.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HopLimits {
    /// Bytes of packets that wait here, for their delay or for the next server (default 16 MiB). Further ones are
    /// answered "busy".
    pub queue_bytes: usize,
    /// Packets of one source among them (default 1,024): an IPv4 address or an IPv6 network of 64 bits. A large packet
    /// counts as sixteen. Never more than is left for all others, so that a few sources do not take everything.
    pub per_source: usize,
    /// How much a server of the catalog has of the rate of an address and of `per_source`, when it sends packets on from an
    /// address that the catalog names (default 16): it speaks for all its users.
    pub server_share: u32,
    /// Packets for one next server among them (default 2,048); further ones are dropped.
    pub per_target: usize,
    /// Links to one next server at a time (default 8).
    pub links_per_target: usize,
    /// How long a packet is tried to be sent on, its delay not counted (default 120 s).
    pub life: Duration,
    /// How long a link is held open for an answer (default 150 s).
    pub hold: Duration,
    /// Links that are held open for an answer (default 2,048). Further ones are answered "busy".
    pub held: usize,
    /// Those of one source among them (default 512), and never more than are left for all others.
    pub held_per_source: usize,
    /// Tags of seen packets that are kept for one key (default 1,000,000: 28 MB on disk and 35 MB of memory when full).
    /// Beyond, packets are answered "busy" until the key turns. One network of 24 bits (IPv4) or 48 (IPv6) fills an eighth, all
    /// addresses together three quarters, a server of the catalog or a listener without addresses half of what is left.
    pub tags: usize,
    /// How long a server's proof, where its links have none of their own, is believed for the URL that it was had by (default 1 h).
    pub proof: Duration,
}

impl Default for HopLimits {
    fn default() -> Self {
        Self {
            queue_bytes: 16 << 20,
            per_source: 1024,
            server_share: 16,
            per_target: 2048,
            links_per_target: 8,
            life: Duration::from_secs(120),
            hold: Duration::from_secs(150),
            held: 2048,
            held_per_source: 512,
            tags: 1_000_000,
            proof: Duration::from_secs(3600),
        }
    }
}

/// Makes a relay a hop: it takes onion packets, serves those that end here, and sends on those for servers that it
/// knows.
#[derive(Debug)]
#[must_use]
pub struct Hop {
    pub(crate) transports: Transports,
    pub(crate) servers: Vec<ServerReference>,
    pub(crate) tags: Option<PathBuf>,
    pub(crate) limits: HopLimits,
}

impl Hop {
    /// A hop that dials with these transports. Where a name leads, strangers may decide: give every transport that has
    /// addresses (http, udp, mqtt) [`Addresses::public`](meow_core::transport::Addresses::public).
    pub fn new(transports: Transports) -> Self {
        Self { transports, servers: Vec::new(), tags: None, limits: HopLimits::default() }
    }

    /// A server that packets may go to.
    pub fn to(mut self, server: ServerReference) -> Self {
        self.servers.push(server);
        self
    }

    /// Keeps the tags of seen packets in this file. Without, they are gone when the relay is: fit for an identity
    /// whose keys are gone too.
    pub fn tags(mut self, file: impl Into<PathBuf>) -> Self {
        self.tags = Some(file.into());
        self
    }

    /// What the hop takes on.
    pub fn limits(mut self, limits: HopLimits) -> Self {
        self.limits = limits;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let l = &self.limits;
        let counts = [
            ("queue_bytes", l.queue_bytes),
            ("per_source", l.per_source),
            ("server_share", l.server_share as usize),
            ("per_target", l.per_target),
            ("links_per_target", l.links_per_target),
            ("held", l.held),
            ("held_per_source", l.held_per_source),
            ("tags", l.tags),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, n)| !(1..=1 << 28).contains(n)) {
            let text = format!("the limit {name} of a hop must be from 1 to 2^28");
            return Err(Error::new(ErrorKind::Usage, text));
        }
        Ok(())
    }
}
