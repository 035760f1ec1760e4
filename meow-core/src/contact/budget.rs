//! How often a contact may have keys made anew: each time this side sends again what the contact says that it lost.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Renewals of a contact that are answered at once, within [`WINDOW_MS`].
const MAX_RENEWALS: usize = 4;
/// One hour, in milliseconds.
const WINDOW_MS: u64 = 60 * 60 * 1000;

/// What was answered lately, and what waits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Budget {
    /// When renewals of the contact were answered, in Unix milliseconds.
    at: VecDeque<u64>,
    /// The newest opening beyond them. One is enough: with a newer one the contact has given up those before.
    held: Option<Vec<u8>>,
    /// The user knows, until an hour passes in which none was answered.
    told: bool,
}

impl Budget {
    /// Takes a place for one renewal; false when none is left for now.
    pub(super) fn take(&mut self, now_ms: u64) -> bool {
        self.forget(now_ms);
        let left = self.at.len() < MAX_RENEWALS;
        if left {
            self.at.push_back(now_ms);
        }
        left
    }

    /// Keeps an opening for later. Gives the one that it takes the place of, and whether the user is to be told.
    pub(super) fn hold(&mut self, item: &[u8]) -> (Option<Vec<u8>>, bool) {
        (self.held.replace(item.to_vec()), !std::mem::replace(&mut self.told, true))
    }

    /// The opening that waits, which waits no more.
    pub(super) fn release(&mut self) -> Option<Vec<u8>> {
        self.held.take()
    }

    /// An opening waits, and there is a place for it.
    pub(super) fn due(&self, now_ms: u64) -> bool {
        self.held.is_some() && self.at.iter().filter(|at| recent(**at, now_ms)).count() < MAX_RENEWALS
    }

    fn forget(&mut self, now_ms: u64) {
        self.at.retain(|at| recent(*at, now_ms));
        if self.at.is_empty() {
            self.told = false;
        }
    }
}

/// A clock that was set back must not hold a contact up for longer either.
const fn recent(at: u64, now_ms: u64) -> bool {
    now_ms.abs_diff(at) < WINDOW_MS
}
