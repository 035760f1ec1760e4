//! AES-256-GCM-SIV (RFC 8452), AES-256-GCM (NIST SP 800-38D) and header masking.

use aes_gcm::Aes256Gcm;
use aes_gcm_siv::Aes256GcmSiv;
use aes_gcm_siv::aead::{Aead, AeadInOut, KeyInit, Payload};

use super::{CryptoError, Secret};

/// Bytes that either AEAD adds.
pub const AEAD_TAG: usize = 16;

/// Seals with AES-256-GCM-SIV: nonce misuse gives away only that two plaintexts are equal.
///
/// # Errors
/// [`CryptoError::Length`] beyond 64 GiB.
pub fn seal_siv(key: &Secret, nonce: &[u8; 12], ad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
    Aes256GcmSiv::new(&(*key.expose()).into())
        .encrypt(&(*nonce).into(), Payload { msg: plaintext, aad: ad })
        .map_err(|_| CryptoError::Length)
}

/// Opens what [`seal_siv`] sealed.
///
/// # Errors
/// [`CryptoError::Rejected`].
pub fn open_siv(key: &Secret, nonce: &[u8; 12], ad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    Aes256GcmSiv::new(&(*key.expose()).into())
        .decrypt(&(*nonce).into(), Payload { msg: sealed, aad: ad })
        .map_err(|_| CryptoError::Rejected)
}

/// Seals `buffer[from..]` in place with AES-256-GCM-SIV and appends the tag: one buffer for header and body.
///
/// # Errors
/// [`CryptoError::Length`] when `from` is past the end, or beyond 64 GiB.
pub fn seal_siv_in_place(
    key: &Secret,
    nonce: &[u8; 12],
    ad: &[u8],
    buffer: &mut Vec<u8>,
    from: usize,
) -> Result<(), CryptoError> {
    let plaintext = buffer.get_mut(from..).ok_or(CryptoError::Length)?;
    let tag = Aes256GcmSiv::new(&(*key.expose()).into())
        .encrypt_inout_detached(&(*nonce).into(), ad, plaintext.into())
        .map_err(|_| CryptoError::Length)?;
    buffer.extend_from_slice(&tag);
    Ok(())
}

/// Seals with AES-256-GCM. Only for keys that are used once.
///
/// # Errors
/// [`CryptoError::Length`] beyond 64 GiB.
pub fn seal_gcm(key: &Secret, nonce: &[u8; 12], ad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
    Aes256Gcm::new(&(*key.expose()).into())
        .encrypt(&(*nonce).into(), Payload { msg: plaintext, aad: ad })
        .map_err(|_| CryptoError::Length)
}

/// Opens what [`seal_gcm`] sealed.
///
/// # Errors
/// [`CryptoError::Rejected`].
pub fn open_gcm(key: &Secret, nonce: &[u8; 12], ad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut buffer = sealed.to_vec();
    Aes256Gcm::new(&(*key.expose()).into())
        .decrypt_in_place(&(*nonce).into(), ad, &mut buffer)
        .map_err(|_| CryptoError::Rejected)?;
    Ok(buffer)
}

/// Masks or unmasks a message header in place: AES-256-CTR keystream whose initial block is a 16-byte
/// sample of the ciphertext that follows (RFC 9001, section 5.4, with a longer header). The header itself is
/// associated data of that ciphertext.
pub fn header_mask(key: &Secret, sample: &[u8; 16], header: &mut [u8]) {
    use ctr::cipher::{KeyIvInit, StreamCipher};
    let mut stream = ctr::Ctr128BE::<aes::Aes256>::new(&(*key.expose()).into(), &(*sample).into());
    stream.apply_keystream(header);
}
