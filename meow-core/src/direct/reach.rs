//! Where a contact may be found just now: of one size, and sealed for one contact, at one mailbox of one server.

use serde::{Deserialize, Serialize};

use crate::crypto::{
    AEAD_TAG, CryptoError, KeyLabel, Random, Secret, VerifyKey, derive_key, key_commitment, open_siv,
    seal_siv,
};
use crate::wire::{Fixed, List, Text, Wire, pad, unpad};

/// Length of a sealed [`Reach`] in bytes. So long that asking others to dial costs the asker more than it costs whoever
/// is dialled.
pub const REACH: usize = 1280;
/// Longest URL in it, in bytes.
pub const MAX_REACH_URL: usize = 100;
const COMMITMENT: usize = 32;
const NONCE: usize = 12;

/// Where somebody may be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// When it was written, by its writer's clock, in Unix milliseconds: a lower one than before is an old one.
    pub at_ms: u64,
    /// The preferred one first.
    pub urls: List<Text<MAX_REACH_URL>, 8>,
}

impl Wire for Reach {
    const MAX: usize = REACH - COMMITMENT - NONCE - AEAD_TAG - 1;
}

/// What a sealed [`Reach`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReachUse {
    /// The mailbox's owner says where it is.
    Presence = 0,
    /// Who may deposit there says where it dials from, right now.
    Knock = 1,
}

/// For whom a [`Reach`] is sealed. Two servers, or two mailboxes, cannot tell that theirs belong together.
#[derive(Clone, Copy, Debug)]
pub struct ReachFor<'a> {
    /// The secret of the mailbox's owner.
    pub secret: &'a Secret,
    /// Fingerprint of the server.
    pub server: &'a [u8; 32],
    /// The owner's mailbox.
    pub mailbox: &'a VerifyKey,
    /// What for.
    pub used: ReachUse,
}

impl ReachFor<'_> {
    fn key(&self) -> Secret {
        let context: [&[u8]; 2] = [self.server, &[self.used as u8]];
        derive_key(KeyLabel::Reach, self.mailbox.as_bytes(), self.secret.expose(), &context)
    }
}

impl Reach {
    /// Seals it: `commitment [32] | nonce [12] | ciphertext`.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`]; [`CryptoError::Length`] when it cannot be encoded.
    pub fn seal(&self, to: &ReachFor<'_>, random: &mut dyn Random) -> Result<Fixed<REACH>, CryptoError> {
        let key = to.key();
        let commitment = key_commitment(&key);
        let mut nonce = [0; NONCE];
        random.fill(&mut nonce)?;
        let mut plain = self.to_wire().map_err(|_| CryptoError::Length)?;
        pad(&mut plain, REACH - COMMITMENT - NONCE - AEAD_TAG).map_err(|_| CryptoError::Length)?;
        let sealed = seal_siv(&key, &nonce, &commitment, &plain)?;
        let whole = [&commitment[..], &nonce, &sealed].concat();
        <[u8; REACH]>::try_from(whole).map(Fixed).map_err(|_| CryptoError::Length)
    }

    /// Opens it. The commitment is compared first: no ciphertext opens under two keys.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`].
    pub fn open(sealed: &Fixed<REACH>, to: &ReachFor<'_>) -> Result<Self, CryptoError> {
        let key = to.key();
        let (commitment, rest) = sealed.0.split_first_chunk::<COMMITMENT>().ok_or(CryptoError::Rejected)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(CryptoError::Rejected)?;
        if Secret::new(*commitment) != Secret::new(key_commitment(&key)) {
            return Err(CryptoError::Rejected);
        }
        let plain = open_siv(&key, nonce, commitment, sealed)?;
        let content = unpad(&plain).map_err(|_| CryptoError::Rejected)?;
        Self::from_wire(content).map_err(|_| CryptoError::Rejected)
    }
}
