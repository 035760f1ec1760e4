//! Keys of messages that have not come yet.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Numbers;
use crate::crypto::{DhPublic, Secret, chain_step};

/// Most keys that one step may skip in one chain.
pub(super) const MAX_SKIP: u32 = 1000;
/// Most skipped keys that are kept; the oldest go first.
pub(super) const MAX_KEPT: usize = 2000;

/// Message keys by their number in the chain, ascending.
pub(super) type Keys = VecDeque<(u32, Secret)>;

/// Takes `count` message keys off a chain that stands at `n`.
pub(super) fn skip(chain: &Secret, n: u32, count: u32) -> (Keys, Secret) {
    let mut keys = Keys::new();
    let mut chain = chain.clone();
    for n in (n..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        let (key, next) = chain_step(&chain);
        keys.push_back((n, key));
        chain = next;
    }
    (keys, chain)
}

/// A chain of the other side that is over, with the keys that its missing messages need.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Former {
    pub(super) header: Secret,
    pub(super) ekp: DhPublic,
    pub(super) first: Option<Numbers>,
    pub(super) keys: Keys,
}

/// Finds the key of message `n`: its place, for its removal, and the key.
pub(super) fn find(keys: &Keys, n: u32) -> Option<(usize, &Secret)> {
    let at = keys.binary_search_by_key(&n, |(n, _)| *n).ok()?;
    keys.get(at).map(|(_, key)| (at, key))
}

/// The highest number with a kept key that `matches`.
pub(super) fn highest(keys: &Keys, matches: impl Fn(u32) -> bool) -> Option<u32> {
    keys.iter().rev().map(|(n, _)| *n).find(|n| matches(*n))
}
