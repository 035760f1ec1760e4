//! What a route costs: bytes on this device's own link, and time.

use std::time::Duration;

use meow_core::contact::SendError;
use meow_core::lane::ServerRef;
use meow_core::message::Content;
use meow_core::policy::Chain;
use meow_core::request::{Acknowledge, Deposit, MAX_ITEM, Pull, Request, RequestKind, sealed_len};
use meow_core::session::{SESSION_OVERHEAD, SessionKind, SessionRequest};
use meow_core::transport::Endpoint;
use meow_core::wire::{Blob, Fixed, Wire, padded_len, size_of_class};
use meow_core::{Error, ErrorKind, Result};

use super::chain::class;
use super::path::{Path, Place};
use crate::client::Inner;
use crate::records::ContactRecord;
use crate::server::Room;

/// The text that is reckoned with has so many bytes.
const TEXT: usize = 100;
/// Bytes of a TCP segment at most, and of its headers with IPv4's and the usual timestamps.
const SEGMENT: usize = 1448;
const SEGMENT_HEAD: usize = 52;
/// Heads of an HTTP request and of its answer, without the host's name; the length of the one frame in a body.
const REQUEST_HEAD: usize = 87;
const ANSWER_HEAD: usize = 117;
const FRAME_HEAD: usize = 4;
/// What TLS adds to each record of up to 16 KiB.
const TLS: usize = 22;
const TLS_RECORD: usize = 16_384;
/// The size class of the request that opens a session, and of its answer.
const SESSION_OPEN: usize = 2048;
/// Connections that nothing uses are closed after so long by those transports that keep any.
const IDLE: Duration = Duration::from_secs(20);
/// What a QUIC packet carries about, and what it, UDP and IPv4 add; and a packet that only acknowledges.
const DATAGRAM: usize = 1350;
const DATAGRAM_HEAD: usize = 28 + 35;
const DATAGRAM_ACK: usize = 28 + 35;

/// What a text of 100 bytes costs to send by a route, each of its copies to such a server, or one look for mail that brings no more than a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteCost {
    /// Bytes that this device sends, headers of IP included, on a connection that is open.
    pub up: u64,
    /// Bytes that it gets.
    pub down: u64,
    /// How long until it is at the mailbox server: the mean of the delays on the way, and what links of these kinds
    /// usually take; and where it waits for a moment of cover traffic, the mean of that.
    pub latency: Duration,
    /// How long from its leaving until the word of the mailbox server is back, on average.
    pub round_trip: Duration,
}

/// What it costs to open and close a connection to the server where a route begins, and after how long without use one is
/// closed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    pub(super) up: u64,
    pub(super) down: u64,
    pub(super) idle: Duration,
}

impl Opening {
    /// As measured on loopback; for https with certificates of two kilobytes.
    fn of(url: &Endpoint) -> Self {
        let (up, down) = match url.scheme() {
            // Three packets of TCP to open and four to close, with their options.
            "http" => (216, 164),
            "https" => (720, 3100),
            // With the packets that find out how long others may be.
            "udp" => (8700, 7700),
            _ => (0, 0),
        };
        Self { up, down, idle: IDLE }
    }
}

/// What is asked, as long as it will be.
pub(super) struct Sample {
    kind: RequestKind,
    /// The same in a session, where one is open.
    session: Option<SessionKind>,
    room: Room,
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
        let url = self.usual_url(server.fingerprint(), server.endpoints());
        url.map_or((0, 0), |url| on_the_wire(&url, SESSION_OPEN, SESSION_OPEN, true))
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
        let answer = sample.room.index(false);
        let up = match &sample.session {
            Some(kind) => {
                let asked = SessionRequest { answer, kind: kind.clone() }.to_wire().ok()?;
                padded_len(asked.len() + 1 + SESSION_OVERHEAD)?
            }
            None => sealed_len(&Request { answer, kind: sample.kind.clone() })?,
        };
        let (up, down) = on_the_wire(&url, up, size_of_class(answer)?, false);
        let round_trip = self.usual_rtt(&url);
        Some(RouteCost { up, down, latency: round_trip / 2, round_trip })
    }

    /// What it costs to ask it through a chain.
    pub(super) fn cost_through(&self, path: &Path, chain: &Chain, sample: &Sample) -> Option<RouteCost> {
        let room = if matches!(sample.room, Room::Items) { Room::Class(1) } else { sample.room };
        let answer = room.index(false);
        let len = class(sealed_len(&Request { answer, kind: sample.kind.clone() })?, answer).ok()?.len();
        let first = path.there.first()?;
        let url = self.usual_url(&first.fingerprint, std::iter::empty())?;
        let (up, down) = on_the_wire(&url, len, len, true);
        let travel = |way: &[Place]| -> Duration {
            let links = way.iter().filter_map(|place| place.descriptor.urls.first()?.parse().ok());
            links.map(|url: Endpoint| self.usual_rtt(&url) / 2).sum()
        };
        // The last link of the way back is the first of the way there.
        let (there, back) = (travel(&path.there), travel(&path.back) + self.usual_rtt(&url) / 2);
        Some(RouteCost {
            up,
            down,
            latency: chain.expected_there() + there,
            round_trip: chain.expected_delays() + there + back,
        })
    }

    /// By which URL a server is reached: as it was last, or the first one.
    fn usual_url(&self, fingerprint: &[u8; 32], named: impl Iterator<Item = Endpoint>) -> Option<Endpoint> {
        let told = self.servers.told();
        let used = told.last(fingerprint).map(|(_, used, _)| used);
        used.or_else(|| told.urls(fingerprint).into_iter().chain(named).next())
    }

    /// Where this device has no such link, another server has: most are like HTTP's.
    fn usual_rtt(&self, url: &Endpoint) -> Duration {
        self.servers.estimate(url).map_or(Duration::from_millis(50), |profile| profile.rtt)
    }
}

/// What one packet there and one back are on the wire, by a connection that is open: up, down. What a server answers at
/// once acknowledges the question; where the answer has to come from afar, it does that by itself before.
fn on_the_wire(url: &Endpoint, up: usize, down: usize, from_afar: bool) -> (u64, u64) {
    let asked = |acks: usize| if from_afar { acks } else { 0 };
    let (up, down) = match url.scheme() {
        scheme @ ("http" | "https") => {
            let tls = |bytes: usize| if scheme == "https" { bytes.div_ceil(TLS_RECORD) * TLS } else { 0 };
            let body = |bytes: usize, head: usize| bytes + FRAME_HEAD + head + tls(bytes);
            let host = url.authority().len() + url.path().len();
            let (up, down) = (body(up, REQUEST_HEAD + host), body(down, ANSWER_HEAD));
            let heads = |bytes: usize| bytes.div_ceil(SEGMENT) * SEGMENT_HEAD;
            // Two segments share an acknowledgement.
            let acks = |bytes: usize| bytes.div_ceil(2 * SEGMENT) * SEGMENT_HEAD;
            (up + heads(up) + acks(down), down + heads(down) + asked(acks(up)))
        }
        "udp" => {
            let heads = |bytes: usize| bytes.div_ceil(DATAGRAM) * DATAGRAM_HEAD;
            let acks = |bytes: usize| bytes.div_ceil(2 * DATAGRAM) * DATAGRAM_ACK;
            (up + heads(up) + acks(down), down + heads(down) + asked(acks(up)))
        }
        _ => (up, down),
    };
    (up as u64, down as u64)
}
