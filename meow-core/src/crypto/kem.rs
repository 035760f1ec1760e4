//! ML-KEM-768 (FIPS 203).

use std::sync::{Arc, OnceLock};

use libcrux_ml_kem::mlkem768::{self, MlKem768KeyPair, MlKem768PublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::{CryptoError, HashLabel, Random, Secret, hash, tally};
use crate::wire::Fixed;

/// Length of an encapsulation key in bytes.
pub const KEM_PUBLIC: usize = 1184;
/// Length of a ciphertext in bytes.
pub const KEM_CIPHERTEXT: usize = 1088;

/// Length of an expanded decapsulation key in bytes.
const EXPANDED: usize = 2400;

/// A key pair made from its seed; wiped when dropped, which the library leaves to its users.
struct Expanded(Box<MlKem768KeyPair>);

impl Drop for Expanded {
    fn drop(&mut self) {
        *self.0 = MlKem768KeyPair::new([0; EXPANDED], [0; KEM_PUBLIC]);
        // The compiler must not leave the wiping out because nobody reads its result.
        std::hint::black_box(&self.0);
    }
}

/// A decapsulation key, kept as its 64-byte seed (d, z); wiped when dropped.
#[derive(Clone)]
pub struct KemSecret {
    seed: Zeroizing<[u8; 64]>,
    /// Made at the first use and shared by copies: one key is tried on many items.
    expanded: OnceLock<Arc<Expanded>>,
}

impl KemSecret {
    /// A fresh key.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn generate(random: &mut dyn Random) -> Result<Self, CryptoError> {
        let mut seed = Zeroizing::new([0u8; 64]);
        random.fill(seed.as_mut())?;
        Ok(Self::from_seed(seed))
    }

    fn from_seed(seed: Zeroizing<[u8; 64]>) -> Self {
        Self { seed, expanded: OnceLock::new() }
    }

    fn pair(&self) -> &MlKem768KeyPair {
        let expand = || Arc::new(Expanded(Box::new(mlkem768::generate_key_pair(*self.seed))));
        &self.expanded.get_or_init(expand).0
    }

    /// The public key.
    pub fn public(&self) -> KemPublic {
        KemPublic(Box::new(*self.pair().pk()))
    }

    /// The shared secret in a ciphertext, and the digest of the own public key.
    /// A forged ciphertext gives an unrelated secret (implicit rejection): what is derived from it then fails to
    /// open.
    pub fn decapsulate(&self, ciphertext: &[u8; KEM_CIPHERTEXT]) -> (Secret, [u8; 32]) {
        tally::count(1);
        let pair = self.pair();
        let digest = hash(HashLabel::KemKey, &[pair.pk()]);
        (Secret::new(mlkem768::decapsulate(pair.private_key(), &ciphertext.into())), digest)
    }
}

impl std::fmt::Debug for KemSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KemSecret(..)")
    }
}

impl Serialize for KemSecret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Fixed(*self.seed).serialize(s)
    }
}

impl<'de> Deserialize<'de> for KemSecret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::from_seed(Zeroizing::new(Fixed::<64>::deserialize(d)?.0)))
    }
}

/// An encapsulation key that passed the modulus check of FIPS 203, section 7.2.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublic(Box<[u8; KEM_PUBLIC]>);

impl KemPublic {
    /// Checks and takes the bytes of a public key.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`].
    pub fn from_bytes(bytes: &[u8; KEM_PUBLIC]) -> Result<Self, CryptoError> {
        if !mlkem768::validate_public_key(&bytes.into()) {
            return Err(CryptoError::BadKey);
        }
        Ok(Self(Box::new(*bytes)))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; KEM_PUBLIC] {
        &self.0
    }

    /// The hash by which a card names this key.
    pub fn digest(&self) -> [u8; 32] {
        hash(HashLabel::KemKey, &[self.0.as_slice()])
    }

    /// A fresh shared secret and its ciphertext for the key's owner.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn encapsulate(
        &self,
        random: &mut dyn Random,
    ) -> Result<(Box<[u8; KEM_CIPHERTEXT]>, Secret), CryptoError> {
        let mut drawn = Zeroizing::new([0u8; 32]);
        random.fill(drawn.as_mut())?;
        tally::count(1);
        let (ciphertext, shared) = mlkem768::encapsulate(&MlKem768PublicKey::from(&*self.0), *drawn);
        Ok((Box::new(ciphertext.into()), Secret::new(shared)))
    }
}

impl std::fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KemPublic(..)")
    }
}

impl Serialize for KemPublic {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Fixed(*self.0).serialize(s)
    }
}

impl<'de> Deserialize<'de> for KemPublic {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::from_bytes(&Fixed::<KEM_PUBLIC>::deserialize(d)?.0).map_err(serde::de::Error::custom)
    }
}
