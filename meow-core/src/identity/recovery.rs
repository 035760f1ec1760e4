//! Recovery keys: the words, kept offline, outrank whatever a thief of the device signs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::master::Master;
use crate::crypto::{HashLabel, VerifyKey, hash};
use crate::wire::{List, Wire};

/// Recovery keys that are made at once: enough for so many contacts until the words are asked for again.
pub const RECOVERY_KEYS: usize = 1024;

/// The commitment to a recovery key that a contact's lane lists carry.
pub fn recovery_commitment(key: &VerifyKey) -> [u8; 32] {
    hash(HashLabel::Recovery, &[key.as_bytes()])
}

/// The public halves of up to [`RECOVERY_KEYS`] recovery keys with consecutive numbers, which a device keeps
/// when the words are gone. Each contact uses one, and which one is never said to anybody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryKeys {
    first: u32,
    keys: List<VerifyKey, RECOVERY_KEYS>,
}

impl Wire for RecoveryKeys {
    const MAX: usize = 5 + 2 + RECOVERY_KEYS * 32;
}

impl RecoveryKeys {
    /// The [`RECOVERY_KEYS`] keys of these words from number `first`, fewer where the numbers end.
    pub fn of(master: &Master, first: u32) -> Self {
        Self { first, keys: List::take((first..u32::MAX).map(|i| master.recovery_key(i).public())) }
    }

    /// The key with this number; `None` when the words must be asked for.
    pub fn key(&self, number: u32) -> Option<&VerifyKey> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.keys.get(index)
    }

    /// The number after the last key: where a top-up begins.
    pub fn end(&self) -> u32 {
        self.first.saturating_add(self.keys.len() as u32)
    }
}

impl fmt::Debug for RecoveryKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryKeys({}..{})", self.first, self.end())
    }
}
