//! The contents that the protocol exchanges by itself.

use serde::{Deserialize, Serialize};

use crate::crypto::{CryptoError, DhPublic, KemPublic, SignLabel, Signature, SigningKey, VerifyKey};
use crate::wire::{Fixed, List};

/// What was received of the other side's messages. Sent in batches, to established contacts only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Every message up to this sequence was decrypted.
    pub decrypted: u64,
    /// Every message up to this sequence was shown.
    pub read: u64,
    /// Single messages beyond `decrypted` that were decrypted.
    pub also: List<u64, 64>,
}

/// The confirmation of an opening (spec, chapter "Opening").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// Over transcript and role, by the Ckp (answers) or lane key (renewals).
    pub sig: Signature,
    /// Key confirmation.
    pub mac: Fixed<32>,
    /// Fresh keys for a renewal.
    pub prekeys: Prekeys,
    /// The sequence up to which the sender has every message of the other side.
    pub have: u64,
    /// The first sequence of the other side that the sender has never seen, nor any above it: the other side
    /// goes on there at least.
    pub next: u64,
    /// The digests of the sender's messages start behind this sequence: 0, or after a renewal what both know.
    pub base: u64,
}

/// Fresh keys to begin a renewal with, signed by the lane key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prekeys {
    /// X25519.
    pub prekey: DhPublic,
    /// ML-KEM-768.
    pub kem: KemPublic,
    /// Over both Ckps and both keys.
    pub sig: Signature,
}

impl Prekeys {
    /// Signs keys of the lane of `key` from contact identity `from` to `to`.
    pub fn sign(
        prekey: DhPublic,
        kem: KemPublic,
        from: &VerifyKey,
        to: &VerifyKey,
        key: &SigningKey,
    ) -> Self {
        let digest = kem.digest();
        let sig = key.sign(SignLabel::Prekeys, &[from.as_bytes(), to.as_bytes(), prekey.as_bytes(), &digest]);
        Self { prekey, kem, sig }
    }

    /// Checks the signature of the lane key `by`.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`].
    pub fn verify(&self, from: &VerifyKey, to: &VerifyKey, by: &VerifyKey) -> Result<(), CryptoError> {
        let parts: [&[u8]; 4] = [from.as_bytes(), to.as_bytes(), self.prekey.as_bytes(), &self.kem.digest()];
        by.verify(SignLabel::Prekeys, &parts, &self.sig)
    }
}
