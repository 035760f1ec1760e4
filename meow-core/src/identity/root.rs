//! What a device derives its identities from.

use std::fmt;

use super::contact_id::ContactId;
use crate::crypto::{KeyLabel, Secret, SigningKey, derive_key};
use crate::lane::LaneId;

/// The root secret R of one generation: signs for every contact and every device. On a device it lies
/// under the password and is opened only while something is signed; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Root {
    secret: Secret,
    generation: u32,
}

impl Root {
    pub(super) fn new(secret: Secret, generation: u32) -> Self {
        Self { secret, generation }
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The generation; a recovery moves to the next.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The user key.
    pub fn ukp(&self) -> Ukp {
        Ukp(derive_key(KeyLabel::Ukp, &[], self.secret.expose(), &[]))
    }

    /// The contact key of one contact.
    pub fn ckp(&self, contact: &ContactId) -> SigningKey {
        self.signing_key(KeyLabel::Ckp, &[contact.as_bytes()])
    }

    /// The key that closes the mailboxes of one lane towards one contact, whatever became of its Lkp.
    pub fn close_key(&self, contact: &ContactId, lane: &LaneId) -> SigningKey {
        self.signing_key(KeyLabel::CloseKey, &[contact.as_bytes(), lane.as_bytes()])
    }

    fn signing_key(&self, label: KeyLabel, context: &[&[u8]]) -> SigningKey {
        let seed = derive_key(label, &[], self.secret.expose(), context);
        SigningKey::from_seed(seed.expose())
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root(generation {}, ..)", self.generation)
    }
}

/// The user key: never seen by anyone but the user's own devices. Its seed seals local data; wiped when
/// dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Ukp(Secret);

impl Ukp {
    pub(super) fn new(seed: Secret) -> Self {
        Self(seed)
    }

    pub(super) fn seed(&self) -> &Secret {
        &self.0
    }

    /// The Ed25519 key of the user.
    pub fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(self.0.expose())
    }

    /// The key of the local store.
    pub fn store_key(&self) -> Secret {
        derive_key(KeyLabel::StoreKey, &[], self.0.expose(), &[])
    }
}

impl fmt::Debug for Ukp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ukp(..)")
    }
}
