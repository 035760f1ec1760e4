//! Thin wrappers around well-kept primitives, with the checks that the design demands (spec, chapter
//! "Cryptography"). Nothing here is a primitive of our own.

mod aead;
mod derive;
mod hpke;
mod kem;
mod label;
mod password;
mod random;
mod sign;
mod tally;
#[cfg(test)]
mod vectors;
mod wide;
mod x25519;
mod xwing;

pub use aead::{AEAD_TAG, header_mask, open_gcm, open_siv, seal_gcm, seal_siv, seal_siv_in_place};
pub use derive::{chain_step, derive, derive_key, derive_keys, hash, key_commitment, mac, request_info};
pub use hpke::{ANSWER_KEY, HPKE_ENC, HpkeKeys, HpkeSecret, SESSION_KEY, hpke_open, hpke_seal};
pub use kem::{KEM_CIPHERTEXT, KEM_PUBLIC, KemPublic, KemSecret};
pub use label::{HashLabel, HpkeLabel, KeyLabel, SignLabel};
pub use password::{PasswordCost, password_key};
pub use random::{Random, SeededRandom, SystemRandom};
pub use sign::{Signature, SigningKey, VerifyKey};
#[cfg(feature = "tally")]
pub use tally::public_key_operations;
pub use wide::{WIDE_LEAST, WideKey, key_stream, short_mac};
pub use x25519::{DhPublic, DhSecret};
pub use xwing::{XWING_CIPHERTEXT, XWING_PUBLIC, XWingPublic, XWingSecret};

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Error, ErrorKind};

/// What a cryptographic step can fail with. Every decrypt or verify failure is [`CryptoError::Rejected`]:
/// outside, all of them look the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// A ciphertext, signature or key that does not hold.
    #[error("does not verify or decrypt")]
    Rejected,
    /// A public key that is weak, low-order or not canonically encoded.
    #[error("is not an acceptable public key")]
    BadKey,
    /// The source of randomness failed.
    #[error("the source of randomness failed")]
    NoRandomness,
    /// A length or parameter beyond what the primitive takes.
    #[error("a length is out of range")]
    Length,
}

impl From<CryptoError> for Error {
    fn from(e: CryptoError) -> Self {
        let (kind, text) = match e {
            CryptoError::Rejected => (ErrorKind::Malformed, "received data does not verify or decrypt"),
            CryptoError::BadKey => (ErrorKind::Malformed, "a received public key is not acceptable"),
            CryptoError::NoRandomness => {
                (ErrorKind::System, "the system's source of randomness failed; nothing was sent or stored")
            }
            CryptoError::Length => (ErrorKind::Limit, "a length is out of range"),
        };
        Error::new(kind, text).with_source(e)
    }
}

/// 32 secret bytes that are wiped when dropped and never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes the bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Draws fresh bytes.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn generate(random: &mut dyn Random) -> Result<Self, CryptoError> {
        let mut bytes = [0u8; 32];
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(&other.0).into()
    }
}
impl Eq for Secret {}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        crate::wire::Fixed(self.0).serialize(s)
    }
}
impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(crate::wire::Fixed::<32>::deserialize(d)?.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles only for types that are wiped when dropped: what every secret here is made of.
    #[test]
    fn secrets_are_wiped() {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<Secret>();
        wiped::<sign::Inner>();
        wiped::<x25519_dalek::StaticSecret>();
        wiped::<zeroize::Zeroizing<[u8; 64]>>();
        wiped::<bip39::Mnemonic>();
    }
}
