//! Everything that is bounded, in one place.

use std::time::Duration;

use meow_core::request::{Limits, MAX_BLOB, MAX_ITEM};
use meow_core::store::Quota;
use meow_core::{Error, ErrorKind, Result};

/// What a relay allows and how much it takes on at once. Change the fields that differ from the default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RelayLimits {
    /// What the descriptor tells clients: sizes, quotas of one mailbox, times.
    pub mailbox: Limits,
    /// Bytes of all mailboxes together (default 4 GiB).
    pub store_bytes: u64,
    /// Open links, held pulls included (default 4096). Further ones are closed at once, and so are those of a source (an
    /// address, or a listener whose links know none) that has as many as are left to all others. Loopback is exempt.
    pub links: usize,
    /// Requests worked on at once, from the moment they are read until their answer is (default 512). Further ones
    /// are answered "busy". Times 64 KiB this bounds the memory that requests take.
    pub active: usize,
    /// Requests of one address worked on at once (default 64). Loopback is exempt.
    pub active_per_address: u32,
    /// Requests that are opened at once: public-key work (default: one for each processor).
    pub opening: usize,
    /// Sessions that are kept, about 8 KiB each (default 4096). The one not used for longest makes room for another; but those
    /// without an address (of one listener, of this machine, through chains), which may take what is free, make it first when
    /// they have more than an eighth. With 0, none is granted.
    pub sessions: usize,
    /// Sessions of one address (default 256). Loopback is exempt.
    pub sessions_per_address: usize,
    /// How long a session lasts (default one day).
    pub session_time: Duration,
    /// Units that one address may spend in a second (default 50; most requests cost one). Loopback is exempt.
    pub rate: u32,
    /// Units that one address may save up (default 200).
    pub burst: u32,
    /// Units that all links of one listener together may spend in a second that know no address, as through a broker or on a
    /// line (default 2,000): nothing tells their senders apart before a request is opened.
    pub listener_rate: u32,
    /// Units that they may save up (default 8,000).
    pub listener_burst: u32,
    /// Addresses whose rates are kept apart (default 16,384); all further ones share one.
    pub addresses: usize,
    /// Pulls that are held open until mail comes (default 4096).
    pub held_pulls: usize,
    /// Held pulls of one mailbox (default 4); the oldest makes room for a fifth.
    pub held_per_mailbox: usize,
    /// Mailboxes whose owners are shown as present, 1.5 KiB each (default 4096). Further ones are answered "busy". With
    /// 0, none is shown.
    pub presences: usize,
    /// Those of one address (default 256). Loopback is exempt.
    pub presences_per_address: usize,
    /// Writes that wait for the store (default 1024). Further ones are answered "busy".
    pub write_queue: usize,
    /// Writes that share one sync of the disk (default 256).
    pub batch: usize,
    /// Reads of the store at once (default 2).
    pub readers: usize,
    /// How long a client may take to send its request (default 10 s).
    pub read_time: Duration,
    /// How long a client may take to receive its answer (default 20 s).
    pub write_time: Duration,
    /// How often keys and expiry are looked after (default 60 s).
    pub upkeep: Duration,
    /// How long open requests may take to end when the relay stops (default 10 s).
    pub stop_time: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            mailbox: Limits {
                item: MAX_ITEM as u32,
                mailbox_items: 10_000,
                mailbox_bytes: 64 << 20,
                keep_secs: 30 * 24 * 3600,
                wait_secs: 50,
                blob: MAX_BLOB as u32,
            },
            store_bytes: 4 << 30,
            links: 4096,
            active: 512,
            active_per_address: 64,
            opening: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            sessions: 4096,
            sessions_per_address: 256,
            session_time: Duration::from_secs(24 * 3600),
            rate: 50,
            burst: 200,
            listener_rate: 2000,
            listener_burst: 8000,
            addresses: 16_384,
            held_pulls: 4096,
            held_per_mailbox: 4,
            presences: 4096,
            presences_per_address: 256,
            write_queue: 1024,
            batch: 256,
            readers: 2,
            read_time: Duration::from_secs(10),
            write_time: Duration::from_secs(20),
            upkeep: Duration::from_secs(60),
            stop_time: Duration::from_secs(10),
        }
    }
}

impl RelayLimits {
    pub(crate) fn quota(&self) -> Quota {
        Quota {
            mailbox_items: self.mailbox.mailbox_items.into(),
            mailbox_bytes: self.mailbox.mailbox_bytes,
            total_bytes: self.store_bytes,
        }
    }

    /// Refuses what could not work.
    pub(crate) fn check(&self) -> Result<()> {
        let counts = [
            ("links", self.links),
            ("active", self.active),
            ("active_per_address", self.active_per_address as usize),
            ("opening", self.opening),
            ("sessions_per_address", self.sessions_per_address),
            ("presences_per_address", self.presences_per_address),
            ("rate", self.rate as usize),
            ("burst", self.burst as usize),
            ("listener_rate", self.listener_rate as usize),
            ("listener_burst", self.listener_burst as usize),
            ("addresses", self.addresses),
            ("held_per_mailbox", self.held_per_mailbox),
            ("write_queue", self.write_queue),
            ("batch", self.batch),
            ("readers", self.readers),
            ("mailbox_items", self.mailbox.mailbox_items as usize),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, n)| !(1..=1 << 28).contains(n)) {
            return Err(Error::new(ErrorKind::Usage, format!("the limit {name} must be from 1 to 2^28")));
        }
        let sizes = [("item", self.mailbox.item, MAX_ITEM), ("blob", self.mailbox.blob, MAX_BLOB)];
        if let Some((name, _, most)) = sizes.iter().find(|(_, n, most)| *n as usize > *most) {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("the limit {name} must be at most {most} bytes"),
            ));
        }
        if self.mailbox.keep_secs == 0 {
            let text = "the limit keep_secs must be at least 1: what is confirmed is to be kept";
            return Err(Error::new(ErrorKind::Usage, text));
        }
        // None at all is a choice of the operator.
        let most = [("sessions", self.sessions), ("presences", self.presences)];
        if let Some((name, _)) = most.iter().find(|(_, n)| *n > 1 << 28) {
            return Err(Error::new(ErrorKind::Usage, format!("the limit {name} must be at most 2^28")));
        }
        if self.session_time.is_zero() || u32::try_from(self.session_time.as_secs()).is_err() {
            let text = "the limit session_time must be longer than nothing, and below 2^32 seconds";
            return Err(Error::new(ErrorKind::Usage, text));
        }
        if self.upkeep.is_zero() {
            return Err(Error::new(ErrorKind::Usage, "the limit upkeep must be longer than nothing"));
        }
        Ok(())
    }
}
