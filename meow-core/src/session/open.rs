//! How both sides come to a session's keys: an ephemeral share each way, inside a sealed request and its answer.

use super::{SessionKeys, SessionRole};
use crate::crypto::{CryptoError, DhSecret, KeyLabel, Random, Secret, VerifyKey, XWingSecret, derive_key};
use crate::request::{ClientShare, ServerShare};
use crate::wire::Fixed;

/// What a session is bound to. Both sides must mean the same.
#[derive(Clone, Copy, Debug)]
pub struct SessionBinding<'a> {
    /// From the HPKE context of the request that opens the session.
    pub export: &'a Secret,
    /// Fingerprint of the server.
    pub server: &'a [u8; 32],
    /// The one role.
    pub role: SessionRole,
    /// The one mailbox.
    pub mailbox: &'a VerifyKey,
}

impl SessionBinding<'_> {
    fn secret(&self, shared: &Secret, client: &[u8], server: &[u8]) -> Secret {
        let context: [&[u8]; 5] = [self.server, &[self.role as u8], self.mailbox.as_bytes(), client, server];
        derive_key(KeyLabel::Session, self.export.expose(), shared.expose(), &context)
    }
}

/// The client's ephemeral secret, for one request.
#[derive(Clone, Debug)]
pub enum ShareSecret {
    /// For fat links.
    Fat(XWingSecret),
    /// For thin links.
    Thin(DhSecret),
}

impl ShareSecret {
    /// A fresh one with X-Wing.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn fat(random: &mut dyn Random) -> Result<Self, CryptoError> {
        XWingSecret::generate(random).map(Self::Fat)
    }

    /// A fresh one with X25519 alone.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn thin(random: &mut dyn Random) -> Result<Self, CryptoError> {
        DhSecret::generate(random).map(Self::Thin)
    }

    /// What the request carries.
    pub fn share(&self) -> ClientShare {
        match self {
            Self::Fat(secret) => ClientShare::Fat(secret.public()),
            Self::Thin(secret) => ClientShare::Thin(secret.public()),
        }
    }

    /// The session's keys, from the server's answer.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] for a share of low order, or of the other form.
    pub fn finish(
        &self,
        share: &ServerShare,
        binding: &SessionBinding<'_>,
    ) -> Result<SessionKeys, CryptoError> {
        Ok(SessionKeys::new(&self.secret(share, binding)?))
    }

    /// The session's secret, from the server's answer: what a client keeps, and its [`SessionKeys`] come from.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn secret(&self, share: &ServerShare, binding: &SessionBinding<'_>) -> Result<Secret, CryptoError> {
        match (self, share) {
            (Self::Fat(secret), ServerShare::Fat(ciphertext)) => {
                let shared = secret.decapsulate(&ciphertext.0)?;
                Ok(binding.secret(&shared, secret.public().as_bytes(), &ciphertext.0))
            }
            (Self::Thin(secret), ServerShare::Thin(public)) => {
                let shared = secret.agree(public)?;
                Ok(binding.secret(&shared, secret.public().as_bytes(), public.as_bytes()))
            }
            _ => Err(CryptoError::BadKey),
        }
    }
}

/// The server's side: its share for the answer, and the session's keys.
///
/// # Errors
/// [`CryptoError::BadKey`] for a share of low order, [`CryptoError::NoRandomness`].
pub fn grant_session(
    share: &ClientShare,
    binding: &SessionBinding<'_>,
    random: &mut dyn Random,
) -> Result<(ServerShare, SessionKeys), CryptoError> {
    match share {
        ClientShare::Fat(public) => {
            let (ciphertext, shared) = public.encapsulate(random)?;
            let secret = binding.secret(&shared, public.as_bytes(), &ciphertext[..]);
            Ok((ServerShare::Fat(Box::new(Fixed(*ciphertext))), SessionKeys::new(&secret)))
        }
        ClientShare::Thin(public) => {
            let secret = DhSecret::generate(random)?;
            let (own, shared) = (secret.public(), secret.agree(public)?);
            let secret = binding.secret(&shared, public.as_bytes(), own.as_bytes());
            Ok((ServerShare::Thin(own), SessionKeys::new(&secret)))
        }
    }
}
