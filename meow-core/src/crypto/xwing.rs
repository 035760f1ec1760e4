//! X-Wing: ML-KEM-768 and X25519 in one KEM (draft-connolly-cfrg-xwing-kem), results contributory.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x_wing::{
    DecapsulationKeyRejectNonContrib, Decapsulator, Encapsulate, EncapsulationKey, KeyExport, TryDecapsulate,
};
use zeroize::Zeroizing;

use super::random::Drawn;
use super::{CryptoError, DhPublic, DhSecret, Random, Secret, tally};
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
        tally::count(2);
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
        tally::count(2);
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

    /// The vectors of draft-connolly-cfrg-xwing-kem (spec/test-vectors.json): seed, randomness of the encapsulation, SHA-256
    /// of the public key and of the ciphertext, shared secret.
    const PUBLISHED: [[&str; 5]; 3] = [
        [
            "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
            concat!(
                "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2",
                "35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2"
            ),
            "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb",
            "17cd532d657e44c897ca6583e548a5424fc70bf54f99515a4d2bcf99e3469f33",
            "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384",
        ],
        [
            "badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea",
            concat!(
                "17cda7cfad765f5623474d368ccca8af0007cd9f5e4c849f167a580b14aabdef",
                "aee7eef47cb0fca9767be1fda69419dfb927e9df07348b196691abaeb580b32d"
            ),
            "c42ba5f8430d7d2c83739338203819f090e8303ce9c8b02107c272bfa5376916",
            "1661ea86d608a1924ba30840cb0a65f13ae051e3aec9cf0f064efc0bc92f2154",
            "f2e86241c64d60f6649fbc6c5b7d17180b780a3f34355e64a85749949c45f150",
        ],
        [
            "ef58538b8d23f87732ea63b02b4fa0f4873360e2841928cd60dd4cee8cc0d4c9",
            concat!(
                "22a96188d032675c8ac850933c7aff1533b94c834adbb69c6115bad4692d8619",
                "f90b0cdf8a7b9c264029ac185b70b83f2801f2f4b3f70c593ea3aeeb613a7f1b"
            ),
            "6b080d6b84f095342092fa7a22423e58bd681397ad0ef00eac92bd254db4fa95",
            "d3ca5578500344b5896cffc4fd740c9311946b82951df155e6fd86a7966b43c6",
            "953f7f4e8c5b5049bdc771d1dffada0dd961477d1a2ae0988baa7ea6898d893f",
        ],
    ];

    /// Gives these bytes, and no more.
    struct Given(Vec<u8>);

    impl Random for Given {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), CryptoError> {
            if self.0.len() < out.len() {
                return Err(CryptoError::NoRandomness);
            }
            out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
            Ok(())
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_published_vectors_hold() {
        use sha2::{Digest, Sha256};
        for [seed, randomness, public_hash, ciphertext_hash, shared] in PUBLISHED {
            let secret = XWingSecret::from_seed(Secret::new(bytes(seed).try_into().unwrap()));
            let public = secret.public();
            assert_eq!(Sha256::digest(public.as_bytes())[..], bytes(public_hash));
            let (ciphertext, ours) = public.encapsulate(&mut Given(bytes(randomness))).unwrap();
            assert_eq!(Sha256::digest(&ciphertext[..])[..], bytes(ciphertext_hash));
            assert_eq!(ours.expose()[..], bytes(shared));
            assert_eq!(secret.decapsulate(&ciphertext).unwrap(), ours);
        }
    }
}
