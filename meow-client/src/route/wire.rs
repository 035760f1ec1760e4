//! What a packet there and one back are on the wire, by the scheme of the link: framing, headers and acknowledgements, as
//! the tests that count captured bytes have found them.

use std::time::Duration;

use meow_core::transport::{CostClass, Endpoint, LinkProfile};
use meow_core::wire::is_thin;

/// Bytes of a TCP segment at most, and of its headers with IPv4's and the usual timestamps.
const SEGMENT: usize = 1448;
const SEGMENT_HEAD: usize = 52;
/// Heads of an HTTP request and of its answer, without the host's name; the length of the one frame in a body, or in a
/// stream of QUIC.
const REQUEST_HEAD: usize = 87;
const ANSWER_HEAD: usize = 117;
const FRAME_HEAD: usize = 4;
/// What TLS adds to each record of up to 16 KiB.
const TLS: usize = 22;
const TLS_RECORD: usize = 16_384;
/// Connections that nothing uses are closed after so long by those transports that keep any.
const IDLE: Duration = Duration::from_secs(20);
/// What a QUIC packet carries about, and what it, UDP and IPv4 add; and a packet that only acknowledges.
const DATAGRAM: usize = 1350;
const DATAGRAM_HEAD: usize = 28 + 35;
const DATAGRAM_ACK: usize = 28 + 35;
/// The lengths of records on a channel through a broker; what a record adds to its items, and an item to a frame.
const RECORDS: [usize; 7] = [128, 384, 640, 2176, 8320, 32_896, 33_920];
const RECORD_HEAD: usize = 24;
const FRAME_ITEM: usize = 7;
/// Items beside the frame: that the link is opened (by who asks) and finished, and how far records have come.
const OPENS: usize = 5;
const FINISHES: usize = 5;
const RECEIVED: usize = 9;
/// What a broker's packet adds to a record beside its topic, and the random part of a topic; its confirmation.
const PUBLISH_HEAD: usize = 8;
const TOPIC: usize = 23;
const PUBACK: usize = 4;
/// Heads of a segment on a line, its acknowledgement, and what a frame costs there: by COBS and CRC, or between two marks of
/// KISS, which also doubles two of 256 bytes.
const PIECE_HEAD: usize = 9;
const LINE_ACK: usize = 10;
const COBS: usize = 4;
const KISS: usize = 3;
const KISS_DOUBLES: usize = 128;
/// Pieces that follow each other without an acknowledgement; and the first ones where nobody hears while he sends.
const WINDOW: usize = 64;
const FIRST_WINDOW: usize = 4;

/// When the answer to a packet comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comes {
    /// At once, so that it acknowledges the question; each question has a link of its own.
    AtOnce,
    /// The same, on a link that stays open.
    OnLink,
    /// From another server, so that the question is acknowledged by itself before.
    FromAfar,
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
    /// As measured; for TLS with certificates of two kilobytes.
    pub(super) fn of(url: &Endpoint) -> Self {
        let (up, down) = match url.scheme() {
            // Three packets of TCP to open and four to close, with their options.
            "http" => (216, 164),
            "https" => (720, 3100),
            // With the packets that find out how long others may be.
            "udp" => (8700, 7700),
            // The broker is greeted, the announcement found, and a channel made.
            "mqtt" => (1220, 1030),
            "mqtts" => (1920, 4130),
            _ => (0, 0),
        };
        Self { up, down, idle: IDLE }
    }
}

/// What one packet of `up` bytes there and one of `down` bytes back are on the wire, by a connection that is open: up, down.
/// Of a scheme that is not known here, what the packets themselves are.
pub(super) fn on_the_wire(
    url: &Endpoint,
    profile: Option<&LinkProfile>,
    (up, down): (usize, usize),
    comes: Comes,
) -> (u64, u64) {
    let (up, down) = match url.scheme() {
        scheme @ ("http" | "https") => http(scheme == "https", url, up, down, comes),
        "udp" => quic(up, down, comes),
        scheme @ ("mqtt" | "mqtts") => broker(scheme == "mqtts", url, up, down, comes),
        "serial" => profile.map_or((up, down), |profile| Line::new(url, profile).both(up, down, comes)),
        _ => (up, down),
    };
    (up as u64, down as u64)
}

fn tls(on: bool, bytes: usize) -> usize {
    if on { bytes + bytes.div_ceil(TLS_RECORD) * TLS } else { bytes }
}

/// With the headers of its segments.
fn tcp(bytes: usize) -> usize {
    bytes + bytes.div_ceil(SEGMENT) * SEGMENT_HEAD
}

/// Two segments share an acknowledgement.
fn tcp_acks(bytes: usize) -> usize {
    bytes.div_ceil(2 * SEGMENT) * SEGMENT_HEAD
}

fn http(encrypted: bool, url: &Endpoint, up: usize, down: usize, comes: Comes) -> (usize, usize) {
    let host = url.authority().len() + url.path().len();
    let up = tls(encrypted, up + FRAME_HEAD + REQUEST_HEAD + host);
    let down = tls(encrypted, down + FRAME_HEAD + ANSWER_HEAD);
    let asked = if comes == Comes::FromAfar { tcp_acks(up) } else { 0 };
    (tcp(up) + tcp_acks(down), tcp(down) + asked)
}

fn quic(up: usize, down: usize, comes: Comes) -> (usize, usize) {
    let (up, down) = (up + FRAME_HEAD, down + FRAME_HEAD);
    let heads = |bytes: usize| bytes + bytes.div_ceil(DATAGRAM) * DATAGRAM_HEAD;
    let acks = |bytes: usize| bytes.div_ceil(2 * DATAGRAM) * DATAGRAM_ACK;
    let asked = match comes {
        Comes::FromAfar => acks(up),
        // Every second answer of a server comes too late to acknowledge its question.
        Comes::AtOnce => acks(up) / 2,
        Comes::OnLink => 0,
    };
    (heads(up) + acks(down), heads(down) + asked)
}

/// The broker confirms what it gets before it passes it on, so each packet is acknowledged by itself.
fn broker(encrypted: bool, url: &Endpoint, up: usize, down: usize, comes: Comes) -> (usize, usize) {
    let prefix = url.path().trim_matches('/').len();
    let topic = if prefix == 0 { TOPIC } else { prefix + 1 + TOPIC };
    let link = if comes == Comes::OnLink { 0 } else { FINISHES };
    let published = |items: usize| {
        let record = RECORDS.into_iter().find(|record| items + RECORD_HEAD <= *record).unwrap_or(items);
        tls(encrypted, record + topic + PUBLISH_HEAD)
    };
    let opens = if comes == Comes::OnLink { 0 } else { OPENS };
    let up = published(up + FRAME_ITEM + RECEIVED + opens + link);
    let down = published(down + FRAME_ITEM + RECEIVED + link);
    let confirmed = tcp(tls(encrypted, PUBACK));
    let confirmation_acknowledged = SEGMENT_HEAD;
    (tcp(up) + confirmed + confirmation_acknowledged + tcp_acks(down), tcp(down) + confirmed + tcp_acks(up))
}

/// A serial line, or the air behind it.
struct Line {
    kiss: bool,
    single: usize,
    half_duplex: bool,
}

impl Line {
    fn new(url: &Endpoint, profile: &LinkProfile) -> Self {
        // The transport has checked the option.
        let mode: Option<String> = url.options().take("mode").unwrap_or_default();
        Self {
            kiss: mode.as_deref() == Some("kiss"),
            single: profile.single.max(PIECE_HEAD + 1),
            half_duplex: profile.cost == CostClass::Scarce,
        }
    }

    fn both(&self, up: usize, down: usize, comes: Comes) -> (usize, usize) {
        // A question of a thin size goes as it is, and so does its answer; what is in segments stays so.
        let thin = comes != Comes::OnLink && is_thin(up);
        let (up, up_acks) = if thin { (self.frame(up), 0) } else { self.pieces(up, true, comes) };
        let (down, down_acks) =
            if thin && is_thin(down) { (self.frame(down), 0) } else { self.pieces(down, false, comes) };
        (up + down_acks, down + up_acks)
    }

    fn frame(&self, bytes: usize) -> usize {
        bytes + if self.kiss { KISS + bytes.div_ceil(KISS_DOUBLES) } else { COBS }
    }

    /// A packet in segments, and what acknowledges them.
    fn pieces(&self, bytes: usize, opens: bool, comes: Comes) -> (usize, usize) {
        let room = self.single - PIECE_HEAD;
        let (whole, rest) = (bytes / room, bytes % room);
        let last = if rest > 0 { self.frame(rest + PIECE_HEAD) } else { 0 };
        let pieces = whole + usize::from(rest > 0);
        let first = if opens && self.half_duplex { FIRST_WINDOW } else { WINDOW };
        // Where the link stays open, the last of several pieces waits a moment in case that the end follows.
        let held = usize::from(comes == Comes::OnLink && pieces > 1);
        let polls = 1 + held + pieces.saturating_sub(first).div_ceil(WINDOW);
        (whole * self.frame(self.single) + last, polls * self.frame(LINE_ACK))
    }
}

#[cfg(test)]
mod tests {
    use meow_core::transport::Pattern;

    use super::*;

    fn costs(url: &str, up: usize, down: usize, comes: Comes) -> (u64, u64) {
        let mut profile = LinkProfile::new(Pattern::Bus, 252);
        profile.cost = CostClass::Scarce;
        on_the_wire(&url.parse().unwrap(), Some(&profile), (up, down), comes)
    }

    #[test]
    fn a_frame_on_a_line_is_as_long_as_the_binding_says() {
        let thin = |mode: &str| costs(&format!("serial:///dev/ttyS0{mode}"), 60, 60, Comes::AtOnce);
        assert_eq!(thin(""), (64, 64));
        assert_eq!(thin("?mode=transparent&rate=1000"), (64, 64));
        assert_eq!(thin("?mode=kiss&rate=1000"), (64, 64));
        // Three pieces of 243, 243 and 26 bytes there and an acknowledgement; one of 60 back, and another.
        let (up, down) = (2 * 256 + 26 + 9 + 4 + 14, 60 + 9 + 4 + 14);
        assert_eq!(costs("serial:///dev/ttyS0", 512, 60, Comes::AtOnce), (up, down));
        // On a link that stays open thin packets go in pieces too.
        assert_eq!(costs("serial:///dev/ttyS0", 60, 60, Comes::OnLink), (73 + 14, 73 + 14));
        assert_eq!(costs("serial:///dev/ttyS0", 512, 60, Comes::OnLink), (up, down + 14));
        // Nine pieces: four, whose acknowledgement is waited for, and five.
        let (there, back) = costs("serial:///dev/ttyS0", 2048, 2048, Comes::FromAfar);
        assert_eq!(back - there, 14);
    }

    #[test]
    fn what_goes_through_a_broker_is_confirmed_both_ways() {
        let (up, down) = costs("mqtt://broker/cats", 512, 256, Comes::AtOnce);
        assert_eq!((up, down), (676 + 52 + 56 + 52 + 52, 420 + 52 + 56 + 52));
        let (more_up, more_down) = costs("mqtts://broker/cats", 512, 256, Comes::AtOnce);
        assert_eq!((more_up - up, more_down - down), (44, 44));
        let (bare, _) = costs("mqtt://broker", 512, 256, Comes::AtOnce);
        assert_eq!(up - bare, 5, "the prefix stands in every topic");
    }
}
