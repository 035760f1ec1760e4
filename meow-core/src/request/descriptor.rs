//! Who a server is, which keys requests are sealed to, and what it allows.

use serde::{Deserialize, Serialize};

use crate::crypto::{CryptoError, DhPublic, HashLabel, SignLabel, Signature, SigningKey, VerifyKey, hash};
use crate::onion::HopId;
use crate::wire::{Fixed, List, Text, Wire, WireError};
use crate::{Error, ErrorKind};

/// The fingerprint by which a server is known: hash of its Skp.
pub fn fingerprint(skp: &VerifyKey) -> [u8; 32] {
    hash(HashLabel::ServerFingerprint, &[skp.as_bytes()])
}

/// One numbered key that requests can be sealed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealingKey {
    /// Travels in the clear before each request.
    pub number: u32,
    /// The public key.
    pub key: DhPublic,
    /// True for what travels by mesh, stick or slow radio; false for online requests.
    pub parcel: bool,
    /// Last moment to seal to it, in Unix seconds.
    pub not_after: u64,
}

/// What the server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest item in bytes.
    pub item: u32,
    /// Items in one mailbox.
    pub mailbox_items: u32,
    /// Bytes in one mailbox.
    pub mailbox_bytes: u64,
    /// Longest that an item is kept, in seconds.
    pub keep_secs: u32,
    /// Longest that a pull is held, in seconds.
    pub wait_secs: u16,
    /// Largest blob in bytes.
    pub blob: u32,
}

/// The most servers that a hop names in its descriptor.
pub const MAX_ONWARD: usize = 64;

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// The server's identity.
    pub skp: VerifyKey,
    /// When this was signed, in Unix seconds.
    pub issued: u64,
    /// When to fetch a newer one, in Unix seconds.
    pub expires: u64,
    /// Where the server can be reached.
    pub urls: List<Text<256>, 8>,
    /// The sealing keys in force.
    pub keys: List<SealingKey, 8>,
    /// What the server allows.
    pub limits: Limits,
    /// There where the server is a hop of onion chains: the servers that it sends packets on to, by the first 16 bytes of
    /// their fingerprints.
    pub hop: Option<List<Fixed<16>, MAX_ONWARD>>,
}

/// A descriptor with the Skp's signature. Decoding does not verify; [`SignedDescriptor::verified`] does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedDescriptor {
    descriptor: Descriptor,
    sig: Signature,
}

impl Wire for SignedDescriptor {
    const MAX: usize = 4096;
}

impl SignedDescriptor {
    /// Signs a descriptor. The key must be that of `descriptor.skp`.
    ///
    /// # Errors
    /// [`WireError::Invalid`] when it cannot be encoded.
    pub fn sign(descriptor: Descriptor, skp: &SigningKey) -> Result<Self, WireError> {
        let encoded = postcard::to_stdvec(&descriptor).map_err(|_| WireError::Invalid)?;
        Ok(Self { sig: skp.sign(SignLabel::Descriptor, &[&encoded]), descriptor })
    }

    /// The fingerprint of the server that this claims to be.
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.descriptor.skp)
    }

    /// The descriptor, if it is signed by the Skp of this fingerprint.
    ///
    /// # Errors
    /// Kind `WrongPeer` for another server, `Malformed` for a wrong signature.
    pub fn verified(self, expected: &[u8; 32]) -> Result<Descriptor, Error> {
        if fingerprint(&self.descriptor.skp) != *expected {
            return Err(Error::new(
                ErrorKind::WrongPeer,
                "another server answers at this address: its fingerprint is not the one of the reference; ask its operator for the current reference and do not go on before",
            ));
        }
        let encoded = postcard::to_stdvec(&self.descriptor).map_err(|_| WireError::Invalid)?;
        self.descriptor
            .skp
            .verify(SignLabel::Descriptor, &[&encoded], &self.sig)
            .map_err(|e: CryptoError| Error::from(e))?;
        Ok(self.descriptor)
    }
}

impl Descriptor {
    /// The newest online key, or the newest of all where none is.
    pub fn online_key(&self) -> Option<&SealingKey> {
        self.keys.iter().max_by_key(|k| (!k.parcel, k.number))
    }

    /// Whether the server sends onion packets on to another one.
    pub fn sends_to(&self, next: &HopId) -> bool {
        self.hop.iter().flat_map(|onward| onward.iter()).any(|id| id.0 == next.0)
    }
}
