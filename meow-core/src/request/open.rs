//! The body of a request that opens a session, and of its answer.

use serde::{Deserialize, Serialize};

use crate::crypto::{
    CryptoError, DhPublic, SignLabel, Signature, SigningKey, VerifyKey, XWING_CIPHERTEXT, XWingPublic,
};
use crate::wire::{Fixed, WireError};

/// Who opens a session, and so what it may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionBy {
    /// The mailbox's owner: pulls and acknowledges.
    Owner {
        /// Higher than any counter that this signer used before.
        counter: u64,
        /// By the Lkp, over the fingerprint and the whole body with a zero signature.
        sig: Signature,
    },
    /// Whoever has the mailbox's token: deposits and fetches blobs. The token is checked at each of these.
    Depositor {
        /// The token.
        token: Fixed<16>,
    },
}

/// The client's ephemeral share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientShare {
    /// An X-Wing public key.
    Fat(XWingPublic),
    /// An X25519 public key, where an X-Wing key would take too long on the air.
    Thin(DhPublic),
}

/// The server's share, of the same form as the client's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerShare {
    /// An X-Wing ciphertext.
    Fat(Box<Fixed<XWING_CIPHERTEXT>>),
    /// An X25519 public key.
    Thin(DhPublic),
}

/// Opens a session for one mailbox in one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpen {
    /// The mailbox.
    pub mailbox: VerifyKey,
    /// Who opens it.
    pub by: SessionBy,
    /// The client's share.
    pub share: ClientShare,
}

/// A session was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The server's share.
    pub share: ServerShare,
    /// How long the session lasts, in seconds from now. The server may forget it before.
    pub lasts_secs: u32,
    /// A counter may be ahead of the highest that was used before by at most so many; the first counter is 0.
    pub ahead: u16,
}

impl SessionOpen {
    fn statement(&self) -> Result<Vec<u8>, WireError> {
        let mut unsigned = self.clone();
        if let SessionBy::Owner { sig, .. } = &mut unsigned.by {
            *sig = Fixed([0; 64]);
        }
        postcard::to_stdvec(&unsigned).map_err(|_| WireError::Invalid)
    }

    /// Signs an owner's request for the server of this fingerprint; a depositor's stays as it is.
    ///
    /// # Errors
    /// [`WireError::Invalid`] when the body cannot be encoded.
    pub fn signed(mut self, server: &[u8; 32], key: &SigningKey) -> Result<Self, WireError> {
        let statement = self.statement()?;
        if let SessionBy::Owner { sig, .. } = &mut self.by {
            *sig = key.sign(SignLabel::SessionOpen, &[server, &statement]);
        }
        Ok(self)
    }

    /// Checks an owner's signature for the server of this fingerprint. A depositor has none to check.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`].
    pub fn verify(&self, server: &[u8; 32]) -> Result<(), CryptoError> {
        match &self.by {
            SessionBy::Owner { sig, .. } => {
                let statement = self.statement().map_err(|_| CryptoError::Rejected)?;
                self.mailbox.verify(SignLabel::SessionOpen, &[server, &statement], sig)
            }
            SessionBy::Depositor { .. } => Ok(()),
        }
    }
}
