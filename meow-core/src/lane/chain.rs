//! How lane lists follow each other: the epoch chain, and the merge of lists that two devices made at once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::entry::{LaneEntry, LaneId, Revoked};
use super::list::{LaneError, LaneList, MAX_REVOKED, VerifiedLaneList};
use crate::crypto::VerifyKey;
use crate::wire::{Fixed, List, Wire};

impl VerifiedLaneList {
    /// Checks that this list is the successor of `prev`: same Ckp, same recovery commitment, next epoch,
    /// linked by digest, and no revocation taken back or loosened.
    ///
    /// # Errors
    /// [`LaneError::Foreign`], [`LaneError::BrokenChain`], [`LaneError::Unrevoked`].
    pub fn follows(&self, prev: &Self) -> Result<(), LaneError> {
        let (new, old) = (self.list(), prev.list());
        same_owner(new, old)?;
        if Some(new.epoch) != old.epoch.checked_add(1) || new.prev.0 != prev.digest()? {
            return Err(LaneError::BrokenChain);
        }
        let kept = |r: &Revoked| new.revocation(&r.lane).is_some_and(|n| n.last_seq <= r.last_seq);
        if old.revoked.iter().all(kept) { Ok(()) } else { Err(LaneError::Unrevoked) }
    }

    /// The content of the list that follows this one, to be signed: `lanes` replace the lanes, and `revoke`
    /// joins the revocations.
    ///
    /// # Errors
    /// [`LaneError::Full`] when a limit or the last epoch is reached.
    pub fn next(&self, lanes: Vec<LaneEntry>, revoke: &[Revoked]) -> Result<LaneList, LaneError> {
        let old = self.list();
        let revoked = join_revoked(old.revoked.iter().chain(revoke));
        Ok(LaneList {
            ckp: old.ckp,
            epoch: old.epoch.checked_add(1).ok_or(LaneError::Full)?,
            prev: Fixed(self.digest()?),
            recovery: old.recovery,
            lanes: List::new(lanes).map_err(|_| LaneError::Full)?,
            revoked: List::new(revoked).map_err(|_| LaneError::Full)?,
        })
    }
}

/// The lanes of a contact at one epoch, from every list of that epoch that came. The same lists give equal
/// values in whatever order they are accepted. Serialises for a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergedLanes {
    ckp: VerifyKey,
    epoch: u32,
    recovery: Fixed<32>,
    /// Digests of the lists that are merged here.
    heads: BTreeSet<[u8; 32]>,
    lanes: BTreeMap<LaneId, LaneEntry>,
    revoked: BTreeMap<LaneId, u64>,
}

impl MergedLanes {
    /// The lanes of one list, the first that is known of a contact.
    ///
    /// # Errors
    /// As [`VerifiedLaneList::digest`].
    pub fn of(list: &VerifiedLaneList) -> Result<Self, LaneError> {
        let heads = BTreeSet::from([list.digest()?]);
        let list = list.list();
        Ok(Self {
            ckp: list.ckp,
            epoch: list.epoch,
            recovery: list.recovery,
            heads,
            lanes: list.lanes.iter().map(|l| (l.id(), l.clone())).collect(),
            revoked: list.revoked.iter().map(|r| (r.lane, r.last_seq)).collect(),
        })
    }

    /// Takes a list of the same epoch in, or moves on to one of the next epoch that names a list merged here
    /// as its predecessor. Removals win: a lane that any list revoked stays revoked, at the lowest sequence
    /// named, even where a later list was made without knowing it. Of two entries for one lane in lists
    /// of one epoch, the one with the lower encoding stays.
    ///
    /// # Errors
    /// [`LaneError::Foreign`]; [`LaneError::BrokenChain`] for any other epoch or predecessor;
    /// [`LaneError::Full`]; [`LaneError::Inconsistent`] when two lanes share a key. `self` then stays as it
    /// was.
    pub fn accept(&mut self, list: &VerifiedLaneList) -> Result<(), LaneError> {
        let new = list.list();
        if new.ckp != self.ckp || new.recovery != self.recovery {
            return Err(LaneError::Foreign);
        }
        let mut joined = Self::of(list)?;
        if new.epoch == self.epoch {
            joined.heads.extend(&self.heads);
            joined.join_lanes(&self.lanes)?;
        } else if self.epoch.checked_add(1) != Some(new.epoch) || !self.heads.contains(&new.prev.0) {
            return Err(LaneError::BrokenChain);
        }
        joined.join_revoked(&self.revoked);
        joined.check()?;
        *self = joined;
        Ok(())
    }

    fn join_lanes(&mut self, lanes: &BTreeMap<LaneId, LaneEntry>) -> Result<(), LaneError> {
        for (id, lane) in lanes {
            let lower = match self.lanes.get(id) {
                Some(have) => lane.to_wire()? < have.to_wire()?,
                None => true,
            };
            if lower {
                self.lanes.insert(*id, lane.clone());
            }
        }
        Ok(())
    }

    fn join_revoked(&mut self, revoked: &BTreeMap<LaneId, u64>) {
        for (id, last_seq) in revoked {
            let seq = self.revoked.entry(*id).or_insert(*last_seq);
            *seq = (*seq).min(*last_seq);
        }
        let revoked = &self.revoked;
        self.lanes.retain(|id, _| !revoked.contains_key(id));
    }

    fn check(&self) -> Result<(), LaneError> {
        if self.revoked.len() > MAX_REVOKED {
            return Err(LaneError::Full);
        }
        let lanes = List::new(self.lanes.values().cloned().collect()).map_err(|_| LaneError::Full)?;
        // The rules of one list, apart from what only epoch 0 must have.
        LaneList {
            ckp: self.ckp,
            epoch: self.epoch.max(1),
            prev: Fixed([0; 32]),
            recovery: self.recovery,
            lanes,
            revoked: List::default(),
        }
        .check()
    }

    /// The epoch that all merged lists have.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The lanes that speak for the contact, in the order of their ids.
    pub fn lanes(&self) -> impl Iterator<Item = &LaneEntry> {
        self.lanes.values()
    }

    /// The lane with this id, unless it is revoked.
    pub fn lane(&self, id: &LaneId) -> Option<&LaneEntry> {
        self.lanes.get(id)
    }

    /// The last sequence that is accepted from a revoked lane; `None` when it is not revoked.
    pub fn revoked_after(&self, id: &LaneId) -> Option<u64> {
        self.revoked.get(id).copied()
    }
}

fn same_owner(a: &LaneList, b: &LaneList) -> Result<(), LaneError> {
    if a.ckp == b.ckp && a.recovery == b.recovery { Ok(()) } else { Err(LaneError::Foreign) }
}

fn join_revoked<'a>(all: impl Iterator<Item = &'a Revoked>) -> Vec<Revoked> {
    let mut joined = BTreeMap::<LaneId, u64>::new();
    for r in all {
        let seq = joined.entry(r.lane).or_insert(r.last_seq);
        *seq = r.last_seq.min(*seq);
    }
    joined.into_iter().map(|(lane, last_seq)| Revoked { lane, last_seq }).collect()
}
