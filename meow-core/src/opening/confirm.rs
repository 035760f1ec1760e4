//! Key confirmation: each side proves that it holds the keys and stands by the transcript.

use serde::{Deserialize, Serialize};

use crate::crypto::{
    CryptoError, KeyLabel, Secret, SignLabel, Signature, SigningKey, VerifyKey, derive_keys,
};
use crate::wire::Fixed;

/// Which side of an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Who sent the opening.
    Initiator,
    /// Who received it.
    Responder,
}

impl Role {
    /// The byte that stands for a side's confirmation.
    const fn byte(self) -> u8 {
        match self {
            Self::Responder => 1,
            Self::Initiator => 2,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// The byte under the signature inside the opening itself.
pub(super) const OPENED: u8 = 0;

/// A handshake that the other side has not confirmed yet. Secret as it stands; `Debug` is redacted.
#[derive(Clone, Serialize, Deserialize)]
pub struct Handshake {
    role: Role,
    transcript: Fixed<32>,
    contact_secret: Secret,
    confirm: Secret,
}

impl Handshake {
    pub(super) fn new(role: Role, transcript: [u8; 32], contact_secret: Secret, confirm: Secret) -> Self {
        Self { role, transcript: Fixed(transcript), contact_secret, confirm }
    }

    /// Which side this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// T: the hash of everything that was said, the same on both sides.
    pub fn transcript(&self) -> &[u8; 32] {
        &self.transcript.0
    }

    /// The secret that later renewals of these contacts start from.
    pub fn contact_secret(&self) -> &Secret {
        &self.contact_secret
    }

    /// The own confirmation: a signature by the Ckp (answers) or the lane key (renewals), and a value that
    /// only who has the keys can make.
    pub fn confirmation(&self, signer: &SigningKey) -> (Signature, Fixed<32>) {
        let byte = self.role.byte();
        (signer.sign(SignLabel::Transcript, &[&self.transcript.0, &[byte]]), Fixed(*self.mac(byte).expose()))
    }

    /// Checks the other side's confirmation, signed by `by`.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`].
    pub fn check(&self, by: &VerifyKey, sig: &Signature, mac: &Fixed<32>) -> Result<(), CryptoError> {
        let byte = self.role.other().byte();
        if self.mac(byte) != Secret::new(mac.0) {
            return Err(CryptoError::Rejected);
        }
        by.verify(SignLabel::Transcript, &[&self.transcript.0, &[byte]], sig)
    }

    fn mac(&self, byte: u8) -> Secret {
        let [mac] =
            derive_keys(KeyLabel::Confirm, &[], self.confirm.expose(), &[&self.transcript.0, &[byte]]);
        mac
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("role", &self.role).finish_non_exhaustive()
    }
}
