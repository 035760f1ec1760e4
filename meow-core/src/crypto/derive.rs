//! Derivations and digests, each under a label of the one table (spec, chapter "Cryptography").

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{HashLabel, HpkeLabel, KeyLabel, Secret};

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
    let mut out = [0u8; N];
    expand(label, salt, ikm, context, &mut out);
    out
}

/// Like [`derive()`], for `N` keys: the output is cut into pieces of 32 bytes.
pub fn derive_keys<const N: usize>(
    label: KeyLabel,
    salt: &[u8],
    ikm: &[u8],
    context: &[&[u8]],
) -> [Secret; N] {
    const { assert!(N <= 255) };
    let mut out = Zeroizing::new([[0u8; 32]; N]);
    expand(label, salt, ikm, context, out.as_flattened_mut());
    out.map(Secret::new)
}

/// Like [`derive()`], for one key.
pub fn derive_key(label: KeyLabel, salt: &[u8], ikm: &[u8], context: &[&[u8]]) -> Secret {
    let [key] = derive_keys(label, salt, ikm, context);
    key
}

fn expand(label: KeyLabel, salt: &[u8], ikm: &[u8], context: &[&[u8]], out: &mut [u8]) {
    let mut info = Vec::with_capacity(128);
    framed(label.text(), context, |b| info.extend_from_slice(b));
    // The only error is more than 255 blocks, excluded at compile time.
    let done = hkdf(salt, ikm, &info, out);
    debug_assert!(done.is_ok());
}

pub(super) fn hkdf(salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), hkdf::InvalidLength> {
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, out)
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
    framed(HpkeLabel::Request.text(), &[server], |b| info.extend_from_slice(b));
    info
}

/// One step of a symmetric chain: (message key, next chain key) by HMAC-SHA256 of 1 and 2 (Double
/// Ratchet, section 5.2).
pub fn chain_step(chain: &Secret) -> (Secret, Secret) {
    let keyed = hmac(chain);
    let output = |byte: u8| {
        let mut mac = keyed.clone();
        mac.update(&[byte]);
        Secret::new(mac.finalize().into_bytes().into())
    };
    (output(1), output(2))
}

pub(super) fn hmac(key: &Secret) -> Hmac<Sha256> {
    // A key shorter than the block is padded with zeros (RFC 2104, section 2).
    let mut block = Zeroizing::new([0u8; 64]);
    block.iter_mut().zip(key.expose()).for_each(|(b, k)| *b = *k);
    Hmac::new(&(*block).into())
}

/// HMAC-SHA256 (RFC 2104) over the parts, one after the other. The caller fixes their lengths.
pub fn mac(key: &Secret, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = hmac(key);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The 32-byte commitment to a key that is compared before anything is opened with it.
pub fn key_commitment(key: &Secret) -> [u8; 32] {
    derive(KeyLabel::Commitment, &[], key.expose(), &[])
}
