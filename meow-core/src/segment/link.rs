//! One link among those of a medium.

use std::time::Duration;

use bytes::Bytes;

use super::config::Config;
use super::header::{Ack, Data, Segment, Tag};
use super::inbound::Inbound;
use super::machine::Broken;
use super::outbound::{Outbound, Picked};
use super::rto::Rto;

/// Names a link within its machine; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(super) u64);

/// What there is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A packet.
    Packet(Bytes),
    /// Nothing yet.
    Nothing,
    /// The far side has finished.
    End,
    /// The link is broken, and nothing more comes.
    Broken(Broken),
}

/// Pieces that go out on a half-duplex medium before the far side was heard: who begins at the same moment as another
/// station loses no more to it.
const FIRST_BURST: u8 = 4;

#[derive(Debug)]
pub(super) struct LinkState {
    /// None for a dialled link until its first packet.
    pub(super) tag: Option<Tag>,
    pub(super) dialled: bool,
    /// Something came from the far side: it knows the link.
    pub(super) heard: bool,
    /// When something was last heard, or the link began.
    pub(super) touched: Duration,
    pub(super) out: Outbound,
    pub(super) inn: Inbound,
    pub(super) rto: Rto,
    pub(super) broken: Option<Broken>,
    /// An accepted link shows itself with its first packet.
    pub(super) shown: bool,
    pub(super) tx_held: bool,
    pub(super) rx_held: bool,
    /// The far side waits for an acknowledgement.
    pub(super) answer_due: bool,
    /// The far side is to be asked for one.
    pub(super) poll_due: bool,
    /// Its packets travel as they are, so far.
    pub(super) raw: Raw,
}

/// Whether a link lives by packets that go as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    No,
    /// Dialled: asked, and takes every raw packet that is heard.
    Asked,
    /// Accepted: a raw packet came, not answered yet.
    Came,
    /// Accepted, and answered by this packet.
    Answered(Bytes),
}

impl LinkState {
    pub(super) fn new(config: &Config, dialled: bool, tag: Option<Tag>, now: Duration) -> Self {
        let first =
            if dialled && config.half_duplex { config.window.min(FIRST_BURST) } else { config.window };
        Self {
            tag,
            dialled,
            heard: false,
            touched: now,
            out: Outbound::new(config.window, first, config.repeat),
            inn: Inbound::new(config.window),
            rto: Rto::new(
                config.answer_time(),
                config.airtime(config.max_frame),
                config.half_duplex,
                config.patience,
            ),
            broken: None,
            shown: dialled,
            tx_held: true,
            rx_held: true,
            answer_due: false,
            poll_due: false,
            raw: Raw::No,
        }
    }

    /// The far side owes something: a packet that was begun, or an answer to a poll.
    pub(super) fn waits(&self) -> bool {
        self.broken.is_none() && (self.out.poll.is_some() || !self.shown)
    }

    /// When this far side is given up, unless it is heard before: one that owes an answer after the patience, one that has begun a first
    /// packet later, since its turn comes late on a crowded medium and nobody here waits for it.
    pub(super) fn given_up(&self, patience: Duration) -> Option<Duration> {
        let patience = if self.shown { patience } else { patience * super::rto::TRIES };
        self.waits().then(|| self.touched + patience)
    }

    /// The far side has been silent for so long, and was asked again and again: where questions and answers take their time,
    /// silence says something only of who was asked.
    pub(super) fn is_forsaken(&self, now: Duration, patience: Duration) -> bool {
        let asked = self.out.poll.is_none() || self.out.tries >= self.rto.most_tries();
        asked && self.given_up(patience).is_some_and(|at| at <= now)
    }

    /// Nobody here uses it any more, and nothing is under way.
    pub(super) fn is_over(&self) -> bool {
        let sent = self.broken.is_some() || self.out.is_done() || (!self.tx_held && self.out.is_idle());
        !self.tx_held && !self.rx_held && sent
    }

    pub(super) fn break_off(&mut self, why: Broken) {
        if self.broken.is_none() {
            self.broken = Some(why);
            self.out.clear();
            (self.answer_due, self.poll_due) = (false, false);
        }
    }

    pub(super) fn ack(&mut self, poll: bool) -> Option<Segment> {
        let (base, window, bitmap) = self.inn.state();
        self.inn.told_closed = window == 0;
        Some(Segment::Ack(Ack { tag: self.tag?, acceptor: !self.dialled, poll, base, window, bitmap }))
    }

    pub(super) fn data(&self, picked: Picked, repeat: bool) -> Option<Segment> {
        Some(Segment::Data(Data {
            tag: self.tag?,
            acceptor: !self.dialled,
            open: self.dialled && !self.heard,
            poll: picked.last && repeat,
            end: picked.end,
            fin: picked.fin,
            seq: picked.seq,
            data: picked.data,
        }))
    }
}
