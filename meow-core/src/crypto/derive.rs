//! The one table from which every key is derived, and the hashes. Each label stands here and nowhere else;
//! labels are mixed in, never sent (spec, chapter "Derivations").

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Secret;

/// The purposes that HKDF-SHA256 keys are derived for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyLabel {
    /// Root R of a generation from the master M. Context: generation.
    Root,
    /// Seed of the Ukp from R.
    Ukp,
    /// Seed of the Ckp from R. Context: random contact id.
    Ckp,
    /// Seed of a recovery key from M. Context: index.
    Recovery,
    /// Seed of a close key from R. Context: contact id, lane id.
    CloseKey,
    /// Key of the local store from the Ukp secret.
    StoreKey,
    /// Key that wraps the root under the password key.
    WrapRoot,
    /// Key that wraps the Ukp secret under the password key.
    WrapUkp,
    /// Key commitment of a key that a password or several parties share.
    Commitment,
    /// Keys of the sealed payload of an opening (card answer, renewal).
    Opening,
    /// Keys of a finished handshake: root key, header keys, contact secret, confirmation keys.
    Handshake,
    /// Key confirmation value. Context: transcript, role.
    Confirm,
    /// Next root key, chain key and header key of a ratchet step.
    RatchetStep,
    /// Name and key of the blob that holds a card's KEM key, from the card secret.
    CardBlob,
    /// Digits of a safety code.
    SafetyCode,
    /// Token hash salt and similar server-side storage keys, from a server's key file.
    ServerStore,
    /// Seed of the Skp's sealing keys at rest, from a server's key file.
    ServerKeys,
}

impl KeyLabel {
    const fn text(self) -> &'static str {
        match self {
            Self::Root => "meow root",
            Self::Ukp => "meow ukp",
            Self::Ckp => "meow ckp",
            Self::Recovery => "meow recovery",
            Self::CloseKey => "meow close key",
            Self::StoreKey => "meow store key",
            Self::WrapRoot => "meow wrap root",
            Self::WrapUkp => "meow wrap ukp",
            Self::Commitment => "meow key commitment",
            Self::Opening => "meow opening",
            Self::Handshake => "meow handshake",
            Self::Confirm => "meow confirm",
            Self::RatchetStep => "meow ratchet step",
            Self::CardBlob => "meow card blob",
            Self::SafetyCode => "meow safety code",
            Self::ServerStore => "meow server store",
            Self::ServerKeys => "meow server keys",
        }
    }
}

/// The purposes that SHA-256 digests are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashLabel {
    /// Fingerprint of an Skp.
    ServerFingerprint,
    /// Id of a lane: of its signing key.
    LaneId,
    /// Link of the lane list chain.
    LaneList,
    /// A card, whole.
    Card,
    /// A KEM public key.
    KemKey,
    /// Handshake transcript.
    Transcript,
    /// What a server stores of a deposit token.
    Token,
    /// Hash of a close key that a registration fixes. Parts: close key, mailbox.
    CloseKey,
    /// Commitment to a recovery key.
    Recovery,
    /// A sealed item, to recognise it when it is delivered again.
    Item,
    /// Running digest of what a lane has received.
    Seen,
    /// An invitation code, as the server stores it.
    Invite,
    /// The deterministic generator of tests and simulations.
    TestSeed,
}

impl HashLabel {
    const fn text(self) -> &'static str {
        match self {
            Self::ServerFingerprint => "meow server fingerprint",
            Self::LaneId => "meow lane id",
            Self::LaneList => "meow lane list",
            Self::Card => "meow card",
            Self::KemKey => "meow kem key",
            Self::Transcript => "meow transcript",
            Self::Token => "meow token",
            Self::CloseKey => "meow close key hash",
            Self::Recovery => "meow recovery commitment",
            Self::Item => "meow item",
            Self::Seen => "meow seen",
            Self::Invite => "meow invite",
            Self::TestSeed => "meow test seed",
        }
    }
}

/// `version || len(label) || label || (len(part) || part)*`, lengths as u32 big-endian: no two lists of
/// parts give the same bytes.
pub(super) fn framed(label: &str, parts: &[&[u8]], mut out: impl FnMut(&[u8])) {
    out(&[crate::wire::VERSION]);
    for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
        out(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        out(part);
    }
}

/// HKDF-SHA256 (RFC 5869): extract with `salt` from `ikm`, expand with the label and its context.
/// `N` is at most 255 * 32.
pub fn derive<const N: usize>(label: KeyLabel, salt: &[u8], ikm: &[u8], context: &[&[u8]]) -> [u8; N] {
    const { assert!(N <= 255 * 32) };
    let mut info = Vec::with_capacity(128);
    framed(label.text(), context, |b| info.extend_from_slice(b));
    let mut out = [0u8; N];
    // The only error is N over 255 blocks, excluded at compile time.
    let done = Hkdf::<Sha256>::new(Some(salt), ikm).expand(&info, &mut out);
    debug_assert!(done.is_ok());
    out
}

/// SHA-256 over the framed label and parts.
pub fn hash(label: HashLabel, parts: &[&[u8]]) -> [u8; 32] {
    let mut h = Sha256::new();
    framed(label.text(), parts, |b| h.update(b));
    h.finalize().into()
}

/// The HPKE info of requests to the server of this fingerprint.
pub fn request_info(server: &[u8; 32]) -> Vec<u8> {
    let mut info = Vec::with_capacity(64);
    framed("meow request", &[server], |b| info.extend_from_slice(b));
    info
}

/// One step of a symmetric chain: (message key, next chain key) by HMAC-SHA256 of 1 and 2 (Double
/// Ratchet, section 5.2).
pub fn chain_step(chain: &Secret) -> (Secret, Secret) {
    let mac = |byte: u8| {
        // A key shorter than the block is padded with zeros (RFC 2104, section 2).
        let mut block = Zeroizing::new([0u8; 64]);
        block.iter_mut().zip(chain.expose()).for_each(|(b, k)| *b = *k);
        let mut m = Hmac::<Sha256>::new(&(*block).into());
        m.update(&[byte]);
        Secret::new(m.finalize().into_bytes().into())
    };
    (mac(1), mac(2))
}

/// The 32-byte commitment to a key that is compared before anything is opened with it.
pub fn key_commitment(key: &Secret) -> [u8; 32] {
    derive(KeyLabel::Commitment, &[], key.expose(), &[])
}
