//! The retained message by which those who hold a server's reference find its inbox.

use meow_core::crypto::{
    CryptoError, DhPublic, KeyLabel, Random, Secret, SignLabel, Signature, SigningKey, VerifyKey, derive_keys,
};
use meow_core::request::fingerprint;
use meow_core::wire::Fixed;

use super::{OVERHEAD, TopicId, open, seal, take};

/// Bytes of an announcement.
pub const ANNOUNCEMENT: usize = OVERHEAD + 32 + 32 + 16 + 64;

/// What follows from a server's fingerprint: who holds its reference can recognise it on a broker.
pub struct Reference {
    pub(super) fingerprint: [u8; 32],
    announcement: Secret,
    pub(super) hello: Secret,
}

impl Reference {
    /// The keys for the server of this fingerprint.
    pub fn new(fingerprint: [u8; 32]) -> Self {
        let [announcement, hello] = derive_keys(KeyLabel::MqttReference, &[], &fingerprint, &[]);
        Self { fingerprint, announcement, hello }
    }

    /// The server's fingerprint.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

/// Where a server takes hellos, and the key that they are sealed to. `Debug` is redacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Agreement key of this announcement alone.
    pub key: DhPublic,
    /// Where hellos go.
    pub inbox: TopicId,
}

impl Announcement {
    /// Signs with the Skp and seals.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn seal(
        &self,
        reference: &Reference,
        skp: &SigningKey,
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, CryptoError> {
        let signature = skp.sign(SignLabel::MqttAnnouncement, &[self.key.as_bytes(), &self.inbox.0]);
        let public = skp.public();
        let parts = [&public.as_bytes()[..], self.key.as_bytes(), &self.inbox.0, &signature.0];
        seal(&reference.announcement, &parts.concat(), random)
    }

    /// Opens and verifies.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`] or [`CryptoError::BadKey`] for whatever that server did not announce.
    pub fn open(reference: &Reference, bytes: &[u8]) -> Result<Self, CryptoError> {
        let text = open::<ANNOUNCEMENT>(&reference.announcement, bytes)?;
        let Body { skp, key, inbox, signature } = Body::parse(&text).ok_or(CryptoError::Rejected)?;
        let skp = VerifyKey::from_bytes(&skp)?;
        if fingerprint(&skp) != reference.fingerprint {
            return Err(CryptoError::Rejected);
        }
        skp.verify(SignLabel::MqttAnnouncement, &[&key, &inbox], &signature)?;
        Ok(Self { key: DhPublic::from_bytes(&key)?, inbox: TopicId(inbox) })
    }
}

/// What an announcement says, before any of it is checked.
struct Body {
    skp: [u8; 32],
    key: [u8; 32],
    inbox: [u8; 16],
    signature: Signature,
}

impl Body {
    fn parse(mut text: &[u8]) -> Option<Self> {
        let text = &mut text;
        let (skp, key, inbox) = (take(text)?, take(text)?, take(text)?);
        let signature = Fixed(take(text)?);
        text.is_empty().then_some(Self { skp, key, inbox, signature })
    }
}
