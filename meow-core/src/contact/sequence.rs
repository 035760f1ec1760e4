//! Numbering: what was sent and what the other side says it saw of it; what was received and what is missing.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::lane::Lookup;
use crate::message::{Content, Seen};
use crate::wire::{Fixed, WireError};

/// Most gaps in what was received.
const MAX_GAPS: usize = 2_000;
/// Digests of unseen messages that are kept for comparison.
const MAX_DIGESTS: usize = 10_000;
/// Most contents that are digested ahead of a missing one. Where more come, the digest stays where it is
/// until a renewal: forks show no more, messages still do.
const MAX_AHEAD: usize = 2_000;
/// Bytes of the protocol's own statements that are kept to be sent again, beside the newest of each kind.
const MAX_KEPT: usize = 32 * 1024;
/// What one of them counts for beside its own length.
const KEPT_HEAD: usize = 16;
/// No conversation gets so far; a sequence beyond is a lie.
const MAX_SEQ: u64 = 1 << 62;

/// A digest that grows as contents come, in whatever order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Chain {
    seen: Seen,
    ahead: BTreeMap<u64, Fixed<32>>,
}

impl Chain {
    /// Takes in a content, and calls `grown` for each step that the digest makes. Contents before the start of
    /// the chain do not count.
    fn add(&mut self, seq: u64, content: &Content, mut grown: impl FnMut(&Seen)) -> Result<(), WireError> {
        if seq > self.seen.upto && (seq == self.seen.upto + 1 || self.ahead.len() < MAX_AHEAD) {
            self.ahead.insert(seq, Seen::item(content)?);
        }
        while let Some(item) = self.ahead.remove(&(self.seen.upto + 1)) {
            self.seen = self.seen.then_item(&item);
            grown(&self.seen);
        }
        Ok(())
    }

    fn restart(&mut self, transcript: &[u8; 32], upto: u64) {
        self.seen = Seen::restart(transcript, upto);
        self.ahead.clear();
    }
}

/// What a kept statement counts for, in bytes.
fn room(content: &Content) -> Result<usize, WireError> {
    Ok(KEPT_HEAD + postcard::to_stdvec(content).map_err(|_| WireError::Invalid)?.len())
}

/// A statement of where to deposit that is not said again, and the newer one that says all that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Superseded {
    pub(super) seq: u64,
    pub(super) by: u64,
}

/// Numbers of the own messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    /// The next sequence.
    pub(super) next: u64,
    chain: Chain,
    /// Digests of the sequences that end at the chain's, which the other side has not confirmed yet.
    open: VecDeque<Fixed<4>>,
    /// What the protocol sent by itself and the other side has not seen: no log has it.
    kept: BTreeMap<u64, Content>,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            next: 1,
            chain: Chain::default(),
            open: VecDeque::from([Seen::default().short()]),
            kept: BTreeMap::new(),
        }
    }
}

impl Sent {
    /// The last sequence used.
    pub(super) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Takes the next sequence for a content.
    pub(super) fn take(&mut self, content: &Content) -> Result<u64, WireError> {
        let seq = self.next;
        self.again(seq, content)?;
        // Empty takes the place of both.
        if !content.is_shown() && !matches!(content, Content::Cover | Content::Empty) {
            self.kept.insert(seq, content.clone());
        }
        self.next += 1;
        Ok(seq)
    }

    /// Lets go of statements where more is kept than may be: of those that a newer one of their kind supersedes, since only
    /// the newest counts. The newest of each kind stays until the other side has seen it. Gives those of where to deposit,
    /// in the order in which they went.
    pub(super) fn make_room(&mut self) -> Result<Vec<Superseded>, WireError> {
        let mut held = 0;
        for content in self.kept.values() {
            held += room(content)?;
        }
        let mut lookups = Vec::new();
        while held > MAX_KEPT {
            let Some((lookup, oldest)) = self.superseded() else { break };
            if let Some(content) = self.kept.remove(&oldest.seq) {
                held -= room(&content)?;
            }
            lookups.extend(lookup.then_some(oldest));
        }
        Ok(lookups)
    }

    /// The statement that goes first, and whether it says where to deposit.
    fn superseded(&self) -> Option<(bool, Superseded)> {
        let mut newer = BTreeMap::new();
        let superseded = self.kept.iter().rev().filter_map(|(seq, content)| {
            // Mailboxes are closed by what is seen of those: they go last.
            let last = matches!(content, Content::Lookup(_));
            newer.insert(content.kind(), *seq).map(|by| (last, Superseded { seq: *seq, by }))
        });
        superseded.min_by_key(|(last, gone)| (*last, gone.seq))
    }

    /// The protocol's own content of a sequence, unless the other side has seen it.
    pub(super) fn kept(&self, seq: u64) -> Option<&Content> {
        self.kept.get(&seq)
    }

    /// Statements of where to deposit that are to be sent again say what holds now. A renewal may have told what none of them
    /// says, and has no sequence by which it would count as newer.
    pub(super) fn keep_current(&mut self, lookup: &Lookup) {
        for content in self.kept.values_mut() {
            if let Content::Lookup(stated) = content {
                **stated = lookup.clone();
            }
        }
    }

    /// The other side has everything up to here.
    pub(super) fn forget(&mut self, upto: u64) {
        self.kept = self.kept.split_off(&upto.saturating_add(1));
    }

    /// The other side says in a receipt that it has everything up to here, and these. Statements of where to deposit stay until
    /// it says so in what it has seen, by which mailboxes are closed.
    pub(super) fn acknowledged(&mut self, upto: u64, also: &[u64]) {
        self.kept.retain(|seq, content| {
            matches!(content, Content::Lookup(_)) || (*seq > upto && !also.contains(seq))
        });
    }

    /// How many statements are kept, and what they count for.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.kept.len(), self.kept.values().map(|content| room(content).unwrap()).sum())
    }

    /// Notes a content under a sequence that was used before.
    pub(super) fn again(&mut self, seq: u64, content: &Content) -> Result<(), WireError> {
        let open = &mut self.open;
        self.chain.add(seq, content, |seen| open.push_back(seen.short()))?;
        while self.open.len() > MAX_DIGESTS {
            self.open.pop_front();
        }
        Ok(())
    }

    /// Compares what the other side says it saw. False when that is not what was sent.
    pub(super) fn agrees(&mut self, upto: u64, digest: &Fixed<4>) -> bool {
        let Some(behind) = self.chain.seen.upto.checked_sub(upto) else { return false };
        let behind = usize::try_from(behind).unwrap_or(usize::MAX);
        let Some(index) = self.open.len().checked_sub(behind.saturating_add(1)) else {
            // Older than what is kept: an earlier statement that arrives late.
            return true;
        };
        let same = self.open.get(index) == Some(digest);
        if same {
            self.open.drain(..index);
        }
        same
    }

    /// After a renewal: digests start anew behind `base`, and numbers go on at `next` at least.
    pub(super) fn restart(&mut self, transcript: &[u8; 32], base: u64, next: u64) {
        self.chain.restart(transcript, base);
        self.open = VecDeque::from([self.chain.seen.short()]);
        self.next = self.next.max(next).max(base.saturating_add(1));
    }
}

/// How a received sequence stands to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The next one, or beyond: then these are missing before it.
    New { missing: Option<(u64, u64)> },
    /// One that was missing.
    Filled,
    /// Received before.
    Repeated,
    /// No honest sequence, or too many gaps.
    Refused,
}

/// Numbers of the other side's messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Got {
    /// The highest sequence received.
    pub(super) top: u64,
    /// What is missing below it: first and last of each gap.
    gaps: BTreeMap<u64, u64>,
    chain: Chain,
}

impl Got {
    /// Every message up to here was received.
    pub(super) fn have(&self) -> u64 {
        self.gaps.first_key_value().map_or(self.top, |(from, _)| from.saturating_sub(1))
    }

    /// What messages say that was seen: how far the digest reaches, and the digest.
    pub(super) fn seen(&self) -> &Seen {
        &self.chain.seen
    }

    fn gap(&self, seq: u64) -> Option<(u64, u64)> {
        self.gaps.range(..=seq).next_back().map(|(a, b)| (*a, *b)).filter(|(_, to)| seq <= *to)
    }

    /// Where a sequence stands; changes nothing.
    pub(super) fn place(&self, seq: u64) -> Place {
        if seq == 0 || seq > MAX_SEQ {
            Place::Refused
        } else if seq <= self.top {
            match self.gap(seq) {
                Some(_) if self.gaps.len() < MAX_GAPS => Place::Filled,
                Some((from, to)) if seq == from || seq == to => Place::Filled,
                Some(_) => Place::Refused,
                None => Place::Repeated,
            }
        } else if seq == self.top + 1 {
            Place::New { missing: None }
        } else if self.gaps.len() < MAX_GAPS {
            Place::New { missing: Some((self.top + 1, seq - 1)) }
        } else {
            Place::Refused
        }
    }

    /// Marks a sequence as received.
    pub(super) fn mark(&mut self, seq: u64) {
        if seq > self.top {
            if seq > self.top + 1 {
                self.gaps.insert(self.top + 1, seq - 1);
            }
            self.top = seq;
        } else if let Some((from, to)) = self.gap(seq) {
            self.gaps.remove(&from);
            if from < seq {
                self.gaps.insert(from, seq - 1);
            }
            if seq < to {
                self.gaps.insert(seq + 1, to);
            }
        }
    }

    /// Takes a content into the digest.
    pub(super) fn digest(&mut self, seq: u64, content: &Content) -> Result<(), WireError> {
        self.chain.add(seq, content, |_| {})
    }

    /// Up to `limit` single sequences beyond the gapless ones.
    pub(super) fn beyond(&self, limit: usize) -> Vec<u64> {
        // Between one gap and the next, or the top, everything was received.
        let ends = self.gaps.keys().skip(1).map(|from| from - 1).chain([self.top]);
        self.gaps.values().zip(ends).flat_map(|(to, end)| to + 1..=end).take(limit).collect()
    }

    /// After a renewal: digests start anew behind `base`.
    pub(super) fn restart(&mut self, transcript: &[u8; 32], base: u64) {
        self.chain.restart(transcript, base.min(MAX_SEQ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_open_and_close() {
        let mut got = Got::default();
        assert_eq!(got.place(1), Place::New { missing: None });
        got.mark(1);
        assert_eq!(got.place(5), Place::New { missing: Some((2, 4)) });
        got.mark(5);
        assert_eq!((got.have(), got.top), (1, 5));
        assert_eq!(got.beyond(9), [5]);
        assert_eq!(got.place(3), Place::Filled);
        got.mark(3);
        assert_eq!(got.place(3), Place::Repeated);
        assert_eq!(got.beyond(9), [3, 5]);
        got.mark(2);
        assert_eq!(got.have(), 3);
        got.mark(4);
        assert_eq!(got.have(), 5);
        assert!(got.gaps.is_empty());
        assert_eq!(got.place(u64::MAX), Place::Refused);
    }

    #[test]
    fn a_fork_shows_and_late_statements_do_not() {
        let (mut sent, mut got) = (Sent::default(), Got::default());
        let text = |t: &str| Content::text(0, t).unwrap();
        for (i, t) in ["a", "b", "c"].iter().enumerate() {
            assert_eq!(sent.take(&text(t)).unwrap(), i as u64 + 1);
        }
        // The other side got b before a.
        got.digest(2, &text("b")).unwrap();
        assert_eq!(got.seen().upto, 0);
        got.digest(1, &text("a")).unwrap();
        assert_eq!(got.seen().upto, 2);
        assert!(sent.agrees(2, &got.seen().short()));
        assert!(sent.agrees(0, &Seen::default().short()));
        let mut forked = Got::default();
        forked.digest(1, &text("a")).unwrap();
        forked.digest(2, &text("x")).unwrap();
        forked.digest(3, &text("c")).unwrap();
        assert!(!sent.agrees(3, &forked.seen().short()));
        assert!(!sent.agrees(4, &got.seen().short()), "more than was sent");
    }
}
