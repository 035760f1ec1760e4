//! The random name of a contact in derivations.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::crypto::{CryptoError, Random};
use crate::wire::Fixed;

/// Sixteen random bytes that, with the root, give the Ckp of one contact. Never sent; `Debug` is redacted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContactId(Fixed<16>);

impl ContactId {
    /// A fresh id.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn generate(random: &mut dyn Random) -> Result<Self, CryptoError> {
        let mut id = [0u8; 16];
        random.fill(&mut id)?;
        Ok(Self(Fixed(id)))
    }

    /// The id of these bytes, as a store holds them.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Fixed(bytes))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0.0
    }
}

impl fmt::Debug for ContactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContactId(..)")
    }
}
