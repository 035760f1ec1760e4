//! X-Wing: ML-KEM-768 and X25519 in one KEM (draft-connolly-cfrg-xwing-kem), results contributory.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x_wing::{
    DecapsulationKeyRejectNonContrib, Decapsulator, Encapsulate, EncapsulationKey, KeyExport, TryDecapsulate,
};
use zeroize::Zeroizing;

use super::random::Drawn;
use super::{CryptoError, DhPublic, DhSecret, Random, Secret};
use crate::wire::Fixed;

/// Length of a public key in bytes: ML-KEM-768, then X25519.
pub const XWING_PUBLIC: usize = 1216;
/// Length of a ciphertext in bytes.
pub const XWING_CIPHERTEXT: usize = 1120;

/// The 32-byte seed of a decapsulation key; wiped when dropped.
#[derive(Clone, Debug)]
pub struct XWingSecret(Secret);

impl XWingSecret {
    /// The key of this seed.
    pub fn from_seed(seed: Secret) -> Self {
        Self(seed)
    }

    /// A fresh key.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn generate(random: &mut dyn Random) -> Result<Self, CryptoError> {
        Secret::generate(random).map(Self)
    }

    fn expand(&self) -> DecapsulationKeyRejectNonContrib {
        (*self.0.expose()).into()
    }

    /// The public key.
    pub fn public(&self) -> XWingPublic {
        XWingPublic(Box::new(self.expand().encapsulation_key().to_bytes().into()))
    }

    /// The shared secret in a ciphertext. A forged one may give an unrelated secret (implicit rejection).
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when the X25519 half is of low order.
    pub fn decapsulate(&self, ciphertext: &[u8; XWING_CIPHERTEXT]) -> Result<Secret, CryptoError> {
        let shared = self.expand().try_decapsulate(&(*ciphertext).into()).map_err(|_| CryptoError::BadKey)?;
        Ok(Secret::new(shared.into()))
    }
}

/// A public key: the ML-KEM half passed the modulus check of FIPS 203, the X25519 half is canonical and not of low
/// order.
#[derive(Clone, PartialEq, Eq)]
pub struct XWingPublic(Box<[u8; XWING_PUBLIC]>);

impl XWingPublic {
    /// Checks and takes the bytes of a public key.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`].
    pub fn from_bytes(bytes: &[u8; XWING_PUBLIC]) -> Result<Self, CryptoError> {
        EncapsulationKey::try_from(&bytes[..]).map_err(|_| CryptoError::BadKey)?;
        let half: &[u8; 32] = bytes.last_chunk().ok_or(CryptoError::BadKey)?;
        // X25519 clamps any scalar to a multiple of eight, so any scalar shows a point of low order.
        DhSecret::from_bytes(&[1; 32]).agree(&DhPublic::from_bytes(half)?)?;
        Ok(Self(Box::new(*bytes)))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; XWING_PUBLIC] {
        &self.0
    }

    /// A fresh shared secret and its ciphertext for the key's owner.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn encapsulate(
        &self,
        random: &mut dyn Random,
    ) -> Result<(Box<[u8; XWING_CIPHERTEXT]>, Secret), CryptoError> {
        let key = EncapsulationKey::try_from(&self.0[..]).map_err(|_| CryptoError::BadKey)?;
        let mut drawn = Drawn::<64>::from(random)?;
        let (ciphertext, shared) = key.encapsulate_with_rng(&mut drawn);
        if drawn.overdrawn() {
            return Err(CryptoError::NoRandomness);
        }
        let shared = Zeroizing::new(<[u8; 32]>::from(shared));
        Ok((Box::new(ciphertext.into()), Secret::new(*shared)))
    }
}

impl std::fmt::Debug for XWingPublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("XWingPublic(..)")
    }
}

impl Serialize for XWingPublic {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Fixed(*self.0).serialize(s)
    }
}

impl<'de> Deserialize<'de> for XWingPublic {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::from_bytes(&Fixed::<XWING_PUBLIC>::deserialize(d)?.0).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SeededRandom;

    #[test]
    fn both_sides_get_one_secret() {
        let mut random = SeededRandom::new(1);
        let secret = XWingSecret::generate(&mut random).unwrap();
        let public = XWingPublic::from_bytes(secret.public().as_bytes()).unwrap();
        let (ciphertext, shared) = public.encapsulate(&mut random).unwrap();
        assert_eq!(secret.decapsulate(&ciphertext).unwrap(), shared);
        let (other, another) = public.encapsulate(&mut random).unwrap();
        assert!(other != ciphertext && another != shared);
    }

    #[test]
    fn low_order_halves_are_refused_on_both_sides() {
        let mut random = SeededRandom::new(2);
        let secret = XWingSecret::generate(&mut random).unwrap();
        let public = secret.public();
        let (ciphertext, _) = public.encapsulate(&mut random).unwrap();
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one] {
            let mut bad = *public.as_bytes();
            bad[XWING_PUBLIC - 32..].copy_from_slice(&point);
            assert_eq!(XWingPublic::from_bytes(&bad), Err(CryptoError::BadKey));
            let mut bad = *ciphertext;
            bad[XWING_CIPHERTEXT - 32..].copy_from_slice(&point);
            assert_eq!(secret.decapsulate(&bad), Err(CryptoError::BadKey));
        }
        let mut bad = *public.as_bytes();
        bad[..3].copy_from_slice(&[0xff; 3]);
        assert_eq!(XWingPublic::from_bytes(&bad), Err(CryptoError::BadKey), "not below the modulus");
    }
}
