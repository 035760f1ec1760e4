//! Argon2id (RFC 9106): what stands between a thief and a password.

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use super::{CryptoError, Secret};

/// How much work a guess costs. Stored beside the salt and authenticated by the wraps that use the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl PasswordCost {
    /// 64 MiB, three passes, one lane: the floor of the design.
    pub const STANDARD: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    /// The most that a stored file can ask of this machine: 1 GiB, 16 passes, 4 lanes.
    pub const CEILING: Self = Self { memory_kib: 1024 * 1024, passes: 16, lanes: 4 };

    /// At least the floor, and at most what a damaged or hostile file may ask for.
    pub fn acceptable(self) -> bool {
        (Self::STANDARD.memory_kib..=Self::CEILING.memory_kib).contains(&self.memory_kib)
            && (Self::STANDARD.passes..=Self::CEILING.passes).contains(&self.passes)
            && (1..=Self::CEILING.lanes).contains(&self.lanes)
    }
}

/// The 32-byte key of a password.
///
/// # Errors
/// [`CryptoError::Length`] when the cost is not [`acceptable`](PasswordCost::acceptable).
pub fn password_key(password: &[u8], salt: &[u8; 16], cost: PasswordCost) -> Result<Secret, CryptoError> {
    if !cost.acceptable() {
        return Err(CryptoError::Length);
    }
    let params =
        Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(|_| CryptoError::Length)?;
    let mut out = [0u8; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut out)
        .map_err(|_| CryptoError::Length)?;
    Ok(Secret::new(out))
}
