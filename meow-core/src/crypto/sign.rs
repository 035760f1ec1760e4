//! Ed25519 (RFC 8032), strict verification only. Every signature is over a label and the framed parts, so
//! that a statement of one kind never passes as another.

use ed25519_dalek::Signer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::{CryptoError, Random, Secret, SignLabel, derive::framed, tally};
use crate::wire::Fixed;

/// A detached Ed25519 signature.
pub type Signature = Fixed<64>;

fn statement(label: SignLabel, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    framed(label.text(), parts, |b| out.extend_from_slice(b));
    out
}

pub(super) type Inner = ed25519_dalek::SigningKey;

/// An Ed25519 private key; wiped when dropped.
#[derive(Clone)]
pub struct SigningKey(Inner);

impl SigningKey {
    /// The key of this seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Inner::from_bytes(seed))
    }

    /// A fresh key.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn generate(random: &mut dyn Random) -> Result<Self, CryptoError> {
        Ok(Self::from_seed(Secret::generate(random)?.expose()))
    }

    /// The seed, for sealed storage.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn public(&self) -> VerifyKey {
        VerifyKey(self.0.verifying_key())
    }

    /// Signs the framed parts under a label.
    pub fn sign(&self, label: SignLabel, parts: &[&[u8]]) -> Signature {
        tally::count(1);
        Fixed(self.0.sign(&statement(label, parts)).to_bytes())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl Serialize for SigningKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Fixed(*self.seed()).serialize(s)
    }
}

impl<'de> Deserialize<'de> for SigningKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::from_seed(&Zeroizing::new(Fixed::<32>::deserialize(d)?.0)))
    }
}

/// An Ed25519 public key: a canonically encoded point that is not of small order. `Debug` is redacted,
/// since keys are the only identities there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyKey(ed25519_dalek::VerifyingKey);

impl VerifyKey {
    /// Checks and takes the 32 bytes of a public key.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] for anything but a canonical point of large order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, CryptoError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| CryptoError::BadKey)?;
        // Encodings of y at or over p = 2^255 - 19 are not canonical; the only others, of x = 0, are weak.
        let [low, middle @ .., top] = bytes;
        let over = top & 0x7f == 0x7f && middle.iter().all(|b| *b == 0xff) && *low >= 0xed;
        let canonical = !over;
        if key.is_weak() || !canonical { Err(CryptoError::BadKey) } else { Ok(Self(key)) }
    }

    /// The 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The 32 bytes, borrowed.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Verifies strictly (RFC 8032 with the checks of `verify_strict`).
    ///
    /// # Errors
    /// [`CryptoError::Rejected`].
    pub fn verify(&self, label: SignLabel, parts: &[&[u8]], sig: &Signature) -> Result<(), CryptoError> {
        self.verify_bytes(&statement(label, parts), sig)
    }

    pub(super) fn verify_bytes(&self, message: &[u8], sig: &Signature) -> Result<(), CryptoError> {
        tally::count(1);
        let sig = ed25519_dalek::Signature::from_bytes(&sig.0);
        self.0.verify_strict(message, &sig).map_err(|_| CryptoError::Rejected)
    }
}

impl std::fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifyKey(..)")
    }
}

impl std::hash::Hash for VerifyKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Serialize for VerifyKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Fixed(self.to_bytes()).serialize(s)
    }
}

impl<'de> Deserialize<'de> for VerifyKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::from_bytes(&Fixed::<32>::deserialize(d)?.0).map_err(serde::de::Error::custom)
    }
}
