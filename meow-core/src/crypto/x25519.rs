//! X25519 (RFC 7748). Results must be contributory, encodings canonical; callers put both public keys into
//! the derivation beside the result.

use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{CryptoError, Random, Secret, tally};
use crate::wire::Fixed;

/// An X25519 private key; wiped when dropped.
#[derive(Clone)]
pub struct DhSecret {
    secret: StaticSecret,
    /// Costs a third of an agreement, and is asked for more than once.
    public: OnceLock<DhPublic>,
}

impl DhSecret {
    /// The key of these bytes (clamped when used).
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self { secret: StaticSecret::from(*bytes), public: OnceLock::new() }
    }

    /// A fresh key.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn generate(random: &mut dyn Random) -> Result<Self, CryptoError> {
        Ok(Self::from_bytes(Secret::generate(random)?.expose()))
    }

    /// The public key.
    pub fn public(&self) -> DhPublic {
        *self.public.get_or_init(|| DhPublic(PublicKey::from(&self.secret).to_bytes()))
    }

    /// The shared secret with a public key.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when the other key is of low order.
    pub fn agree(&self, with: &DhPublic) -> Result<Secret, CryptoError> {
        tally::count(1);
        let shared = self.secret.diffie_hellman(&PublicKey::from(with.0));
        if shared.was_contributory() { Ok(Secret::new(shared.to_bytes())) } else { Err(CryptoError::BadKey) }
    }

    /// The private bytes, for sealed storage.
    pub fn expose(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }
}

impl std::fmt::Debug for DhSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DhSecret(..)")
    }
}

impl Serialize for DhSecret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Fixed(*self.expose()).serialize(s)
    }
}

impl<'de> Deserialize<'de> for DhSecret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::from_bytes(&Zeroizing::new(Fixed::<32>::deserialize(d)?.0)))
    }
}

/// An X25519 public key, canonically encoded. `Debug` is redacted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DhPublic([u8; 32]);

impl DhPublic {
    /// Checks and takes the 32 bytes of a public key: the value must be below 2^255 - 19, so that a key has
    /// one encoding. Low-order points are refused by [`DhSecret::agree`].
    ///
    /// # Errors
    /// [`CryptoError::BadKey`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, CryptoError> {
        // The last bytes from the top: at or over p means 0x7f, then all 0xff, then at least 0xed.
        let [low, middle @ .., top] = bytes;
        let over = *top > 0x7f || (*top == 0x7f && middle.iter().all(|b| *b == 0xff) && *low >= 0xed);
        if over || bytes.iter().all(|b| *b == 0) { Err(CryptoError::BadKey) } else { Ok(Self(*bytes)) }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for DhPublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DhPublic(..)")
    }
}

impl Serialize for DhPublic {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Fixed(self.0).serialize(s)
    }
}

impl<'de> Deserialize<'de> for DhPublic {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::from_bytes(&Fixed::<32>::deserialize(d)?.0).map_err(serde::de::Error::custom)
    }
}
