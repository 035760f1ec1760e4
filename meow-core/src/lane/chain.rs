//! How lane lists follow each other: the epoch chain, and the merge of lists that two devices made at once.

use std::collections::BTreeMap;

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

/// The lanes of a contact at one epoch, from every list of that epoch. Equal sets of lists give equal
/// values, in whatever order they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedLanes {
    ckp: VerifyKey,
    epoch: u32,
    recovery: Fixed<32>,
    lanes: BTreeMap<LaneId, LaneEntry>,
    revoked: BTreeMap<LaneId, u64>,
}

impl MergedLanes {
    /// The lanes of one list.
    pub fn of(list: &VerifiedLaneList) -> Self {
        let list = list.list();
        Self {
            ckp: list.ckp,
            epoch: list.epoch,
            recovery: list.recovery,
            lanes: list.lanes.iter().map(|l| (l.id(), l.clone())).collect(),
            revoked: list.revoked.iter().map(|r| (r.lane, r.last_seq)).collect(),
        }
    }

    /// Joins another list of the same epoch. Removals win: a lane that any list revokes is gone, at the
    /// lowest sequence named. Of two entries for one lane, the one with the lower encoding stays.
    ///
    /// # Errors
    /// [`LaneError::Foreign`], [`LaneError::BrokenChain`] for another epoch, [`LaneError::Full`],
    /// [`LaneError::Inconsistent`] when two lanes share a key; `self` then stays as it was.
    pub fn merge(&mut self, other: &VerifiedLaneList) -> Result<(), LaneError> {
        let new = other.list();
        if new.ckp != self.ckp || new.recovery != self.recovery {
            return Err(LaneError::Foreign);
        }
        if new.epoch != self.epoch {
            return Err(LaneError::BrokenChain);
        }
        let mut joined = self.clone();
        for r in new.revoked.iter() {
            let seq = joined.revoked.entry(r.lane).or_insert(r.last_seq);
            *seq = r.last_seq.min(*seq);
        }
        for lane in new.lanes.iter() {
            let keep = match joined.lanes.get(&lane.id()) {
                Some(have) => have.to_wire()? <= lane.to_wire()?,
                None => false,
            };
            if !keep {
                joined.lanes.insert(lane.id(), lane.clone());
            }
        }
        let revoked = &joined.revoked;
        joined.lanes.retain(|id, _| !revoked.contains_key(id));
        joined.check()?;
        *self = joined;
        Ok(())
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
