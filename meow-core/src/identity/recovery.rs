//! Recovery keys: the words, kept offline, outrank whatever a thief of the device signs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::master::Master;
use crate::crypto::{CryptoError, HashLabel, VerifyKey, hash};
use crate::wire::{Fixed, List, Wire};

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
    /// As bytes: whoever needs one key does not check the points of all.
    keys: List<Fixed<32>, RECOVERY_KEYS>,
}

impl Wire for RecoveryKeys {
    const MAX: usize = 5 + 2 + RECOVERY_KEYS * 32;
}

impl RecoveryKeys {
    /// The [`RECOVERY_KEYS`] keys of these words from number `first`, fewer where the numbers end.
    pub fn of(master: &Master, first: u32) -> Self {
        let keys = (first..u32::MAX).map(|i| Fixed(master.recovery_key(i).public().to_bytes()));
        Self { first, keys: List::take(keys) }
    }

    /// The key with this number; `None` when the words must be asked for.
    ///
    /// # Errors
    /// `BadKey` for bytes that are no key.
    pub fn key(&self, number: u32) -> Result<Option<VerifyKey>, CryptoError> {
        let index = number.checked_sub(self.first).and_then(|n| usize::try_from(n).ok());
        index.and_then(|index| self.keys.get(index)).map(|key| VerifyKey::from_bytes(&key.0)).transpose()
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
