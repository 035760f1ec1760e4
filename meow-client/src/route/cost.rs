//! What a route costs: bytes on this device's own link, and time.

use std::time::Duration;

use meow_core::contact::SendError;
use meow_core::direct::DirectFrame;
use meow_core::lane::ServerRef;
use meow_core::message::Content;
use meow_core::policy::Chain;
use meow_core::request::{Acknowledge, Deposit, MAX_ITEM, Pull, Request, RequestKind, sealed_len};
use meow_core::session::SessionKind;
use meow_core::transport::{Endpoint, LinkProfile};
use meow_core::wire::{Blob, Fixed, size_of_class};
use meow_core::{Error, ErrorKind, Result};

use super::chain::class;
use super::path::{Path, Place};
use super::wire::{Comes, Opening, on_the_wire};
use crate::client::Inner;
use crate::direct::is_thin_link;
use crate::form::is_thin;
use crate::records::ContactRecord;
use crate::server::{Room, session_len};

/// The text that is reckoned with has so many bytes.
const TEXT: usize = 100;
/// The size class of the request that opens a session, and of its answer.
const SESSION_OPEN: usize = 2048;
/// The same on a thin link.
const THIN_SESSION_OPEN: (usize, usize) = (236, 124);
/// A round trip, and bits per second, of a link that this device knows nothing of: most are like HTTP's.
const USUAL: (Duration, u64) = (Duration::from_millis(50), 10_000_000);

/// What a text of 100 bytes costs to send by a route, each of its copies to such a server, or one look for mail that brings no more than a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteCost {
    /// Bytes that this device sends, headers of IP included, on a connection that is open.
    pub up: u64,
    /// Bytes that it gets.
    pub down: u64,
    /// How long until it is at the mailbox server, or at the contact's device: the mean of the delays on the way, and what
    /// links of these kinds usually take for so many bytes; and where it waits for a moment of cover traffic, the mean of
    /// that.
    pub latency: Duration,
    /// How long from its leaving until the word of the mailbox server, or of the contact's device, is back, on average.
    pub round_trip: Duration,
}

/// What is asked, as long as it will be.
pub(super) struct Sample {
    kind: RequestKind,
    /// The same in a session, where one is open.
    session: Option<SessionKind>,
    room: Room,
}

impl Sample {
    /// The lengths of the packet that asks, and of its answer.
    fn lengths(&self, thin: bool) -> Option<(usize, usize)> {
        let answer = self.room.index(thin);
        let up = match &self.session {
            Some(kind) => session_len(kind, self.room, thin)?,
            None => sealed_len(&Request { answer, kind: self.kind.clone() }, thin)?,
        };
        Some((up, size_of_class(answer)?))
    }

    /// The item that is deposited.
    fn item(&self) -> Option<&Blob<MAX_ITEM>> {
        match &self.kind {
            RequestKind::Deposit(deposit) => Some(&deposit.item),
            _ => None,
        }
    }
}

impl Inner {
    /// A deposit of a text; `None` while keys are not confirmed. Seals with a copy of the state that is thrown away with
    /// what it sealed, since only that knows how long an item is.
    pub(super) fn sample_deposit(&self, record: &ContactRecord, in_session: bool) -> Result<Option<Sample>> {
        let Some(place) = record.machine.deposit_target().and_then(|lookup| lookup.places().first()) else {
            return Ok(None);
        };
        let content = Content::text(self.now_ms(), "x".repeat(TEXT))?;
        let item = match record.machine.clone().send(&content, &mut *self.random.lock()) {
            Ok(out) => Blob::<MAX_ITEM>::new(out.item)
                .map_err(|_| Error::new(ErrorKind::Bug, "a sealed item is too long"))?,
            Err(SendError::NotYet) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let (mailbox, token) = (place.lkp, place.token);
        let id = Deposit::item_id(&mailbox, &item);
        let session = in_session.then(|| SessionKind::Deposit { keep_secs: 0, item: item.clone() });
        let kind = RequestKind::Deposit(Deposit { mailbox, token, id, keep_secs: 0, item });
        Ok(Some(Sample { kind, session, room: Room::Small }))
    }

    /// A pull, or in a session a look.
    pub(super) fn sample_pull(&self, record: &ContactRecord, in_session: bool) -> Option<Sample> {
        let mailbox = record.machine.current_mailboxes().next()?.lkp.public();
        let session = in_session.then_some(SessionKind::Look { wait_secs: 50 });
        let pull = Pull { mailbox, counter: 1000, acknowledge: 0, wait_secs: 50, sig: Fixed([0; 64]) };
        Some(Sample { kind: RequestKind::Pull(pull), session, room: Room::Items })
    }

    /// The request by which a server is told of a new count, which follows each message, and which loops are.
    pub(super) fn sample_count(&self, record: &ContactRecord, in_session: bool) -> Option<Sample> {
        let mailbox = record.machine.current_mailboxes().next()?.lkp.public();
        let session = in_session.then_some(SessionKind::Acknowledge { counter: 1000, upto: 0 });
        let count = Acknowledge { mailbox, counter: 1000, upto: 0, sig: Fixed([0; 64]) };
        Some(Sample { kind: RequestKind::Acknowledge(count), session, room: Room::Small })
    }

    /// What it costs to open the connection by which a mailbox server is asked.
    pub(super) fn opening(&self, server: &ServerRef) -> Opening {
        self.usual_url(server.fingerprint(), server.endpoints())
            .map_or_else(Opening::default, |url| Opening::of(&url))
    }

    /// What it costs to open a session there, as is done once a day: up and down.
    pub(super) fn session_opening(&self, server: &ServerRef) -> (u64, u64) {
        let Some(url) = self.usual_url(server.fingerprint(), server.endpoints()) else { return (0, 0) };
        let profile = self.servers.estimate(&url).ok();
        let lengths = match profile.as_ref().is_some_and(is_thin) {
            true => THIN_SESSION_OPEN,
            false => (SESSION_OPEN, SESSION_OPEN),
        };
        on_the_wire(&url, profile.as_ref(), lengths, Comes::FromAfar)
    }

    /// The same for a chain.
    pub(super) fn opening_through(&self, path: &Path) -> Opening {
        let first =
            path.there.first().and_then(|first| self.usual_url(&first.fingerprint, std::iter::empty()));
        first.map_or_else(Opening::default, |url| Opening::of(&url))
    }

    /// What it costs to ask the mailbox server itself.
    pub(super) fn cost_straight(&self, server: &ServerRef, sample: &Sample) -> Option<RouteCost> {
        let url = self.usual_url(server.fingerprint(), server.endpoints())?;
        let profile = self.servers.estimate(&url).ok();
        let lengths = sample.lengths(profile.as_ref().is_some_and(is_thin))?;
        let (up, down) = on_the_wire(&url, profile.as_ref(), lengths, Comes::AtOnce);
        Some(straight(profile.as_ref(), up, down))
    }

    /// What it costs to hand it over to the contact's device: by the link that is up, or such a one as would be made.
    pub(super) fn cost_direct(&self, at: &Endpoint, sample: &Sample) -> Option<RouteCost> {
        let profile = self.servers.estimate(at).ok();
        let thin = profile.as_ref().is_some_and(is_thin_link);
        let item = DirectFrame::Item(sample.item()?.clone());
        // Of the number of a packet no more hangs on than that it has few digits.
        let lengths = (item.sealed_len(thin)?, DirectFrame::Taken(100).sealed_len(thin)?);
        let (up, down) = on_the_wire(at, profile.as_ref(), lengths, Comes::OnLink);
        Some(straight(profile.as_ref(), up, down))
    }

    /// What it costs to ask it through a chain.
    pub(super) fn cost_through(&self, path: &Path, chain: &Chain, sample: &Sample) -> Option<RouteCost> {
        let room = if matches!(sample.room, Room::Items) { Room::Class(1) } else { sample.room };
        let answer = room.index(false);
        let request = Request { answer, kind: sample.kind.clone() };
        let len = class(sealed_len(&request, false)?, answer).ok()?.len();
        let first = path.there.first()?;
        let url = self.usual_url(&first.fingerprint, std::iter::empty())?;
        let profile = self.servers.estimate(&url).ok();
        let (up, down) = on_the_wire(&url, profile.as_ref(), (len, len), Comes::FromAfar);
        let own = straight(profile.as_ref(), up, down);
        // Which way a server takes to the next one is the servers' affair: by the first that the next one names. A stranger
        // might name a slow line, so that less cover traffic is said to leave.
        let between = |place: &Place| {
            let named = place
                .descriptor
                .urls
                .first()
                .filter(|_| place.trusted || place.own)
                .and_then(|url| url.parse().ok());
            let profile = named.and_then(|url: Endpoint| self.servers.estimate(&url).ok());
            one_way(profile.as_ref(), len as u64)
        };
        // The first stands at both ends: this device's own link leads there, the last one between servers back there.
        let there: Duration = path.there.iter().skip(1).map(between).sum();
        let back: Duration = path.back.iter().map(between).sum();
        Some(RouteCost {
            up,
            down,
            latency: own.latency + there + chain.expected_there(),
            round_trip: own.round_trip + there + back + chain.expected_delays(),
        })
    }

    /// Who learns where this device is when this server is reached by whichever of its URLs.
    pub(super) fn seen_by(
        &self,
        fingerprint: &[u8; 32],
        named: impl Iterator<Item = Endpoint>,
    ) -> &'static str {
        let told = self.servers.told();
        let used = told.last(fingerprint).map(|(_, used, _)| used);
        let urls: Vec<_> = used.into_iter().chain(told.urls(fingerprint)).chain(named).collect();
        let exposes = |url: &Endpoint| self.servers.estimate(url).map(|profile| profile.exposes_address);
        let exposes: Vec<_> = urls.iter().filter_map(|url| Some((url, exposes(url).ok()?))).collect();
        if exposes.is_empty() || exposes.iter().any(|(_, exposes)| *exposes) {
            "sees this device's address"
        } else if exposes.iter().any(|(url, _)| matches!(url.scheme(), "mqtt" | "mqtts")) {
            "its broker sees this device's address"
        } else {
            "sees no address of this device"
        }
    }

    /// By which URL a server is reached: as it was last, or the first one.
    fn usual_url(&self, fingerprint: &[u8; 32], named: impl Iterator<Item = Endpoint>) -> Option<Endpoint> {
        let told = self.servers.told();
        let used = told.last(fingerprint).map(|(_, used, _)| used);
        used.or_else(|| told.urls(fingerprint).into_iter().chain(named).next())
    }
}

/// What one packet there and one back cost on one link.
fn straight(profile: Option<&LinkProfile>, up: u64, down: u64) -> RouteCost {
    let latency = one_way(profile, up);
    RouteCost { up, down, latency, round_trip: latency + one_way(profile, down) }
}

/// How long so many bytes are on the way over a link with nothing else on it.
fn one_way(profile: Option<&LinkProfile>, bytes: u64) -> Duration {
    let (rtt, bit_rate) = profile.map_or(USUAL, |profile| (profile.rtt, profile.bit_rate));
    rtt / 2 + Duration::from_micros(bytes.saturating_mul(8_000_000) / bit_rate.max(1))
}

#[cfg(test)]
mod tests {
    use meow_core::transport::Pattern;

    use super::*;

    #[test]
    fn a_slow_line_takes_its_time_for_each_byte() {
        let mut radio = LinkProfile::new(Pattern::Bus, 252);
        (radio.rtt, radio.bit_rate) = (Duration::from_millis(200), 1200);
        let cost = straight(Some(&radio), 600, 90);
        assert_eq!(cost.latency, Duration::from_millis(100 + 4000));
        assert_eq!(cost.round_trip, Duration::from_millis(200 + 4000 + 600));
        // Over the network bytes hardly count.
        assert_eq!(straight(None, 1250, 1250).round_trip, Duration::from_millis(52));
        radio.bit_rate = 0;
        assert!(
            straight(Some(&radio), u64::MAX, 0).latency > Duration::from_secs(86_400),
            "nothing overflows"
        );
    }
}
