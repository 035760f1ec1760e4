//! HPKE base mode (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, one message per key.
//! The answer comes back under a key that the exporter gives.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender_with_rng};

use super::random::Drawn;
use super::{CryptoError, DhPublic, DhSecret, HpkeLabel, Random, Secret};

/// Length of the encapsulated key in bytes.
pub const HPKE_ENC: usize = 32;

/// Exporter context of the answer key.
pub const ANSWER_KEY: &[u8] = HpkeLabel::Answer.text().as_bytes();

/// The private half of a server's sealing key.
pub type HpkeSecret = DhSecret;

/// What the sender of a sealed request keeps until the answer.
#[derive(Debug)]
pub struct HpkeSender {
    /// Key of the answer, used once.
    pub answer_key: Secret,
}

type Private = <X25519HkdfSha256 as Kem>::PrivateKey;
type Public = <X25519HkdfSha256 as Kem>::PublicKey;
type Encapped = <X25519HkdfSha256 as Kem>::EncappedKey;

/// Seals one plaintext to a public key. Returns `enc || ciphertext` and what opens the answer.
///
/// # Errors
/// [`CryptoError::NoRandomness`], [`CryptoError::BadKey`] for a low-order key.
pub fn hpke_seal(
    to: &DhPublic,
    info: &[u8],
    ad: &[u8],
    plaintext: &[u8],
    random: &mut dyn Random,
) -> Result<(Vec<u8>, HpkeSender), CryptoError> {
    let public = Public::from_bytes(to.as_bytes()).map_err(|_| CryptoError::BadKey)?;
    let mut drawn = Drawn::<64>::from(random)?;
    let (enc, mut context) = setup_sender_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        info,
        &mut drawn,
    )
    .map_err(|_| CryptoError::BadKey)?;
    if drawn.overdrawn() {
        return Err(CryptoError::NoRandomness);
    }
    let mut out = enc.to_bytes().to_vec();
    out.extend(context.seal(plaintext, ad).map_err(|_| CryptoError::Length)?);
    let mut key = [0u8; 32];
    context.export(ANSWER_KEY, &mut key).map_err(|_| CryptoError::Length)?;
    Ok((out, HpkeSender { answer_key: Secret::new(key) }))
}

/// Opens what [`hpke_seal`] sealed: the plaintext, and the key for the answer.
///
/// # Errors
/// [`CryptoError::Rejected`].
pub fn hpke_open(
    secret: &DhSecret,
    info: &[u8],
    ad: &[u8],
    sealed: &[u8],
) -> Result<(Vec<u8>, Secret), CryptoError> {
    let (enc, ciphertext) = sealed.split_at_checked(HPKE_ENC).ok_or(CryptoError::Rejected)?;
    let private = Private::from_bytes(secret.expose().as_slice()).map_err(|_| CryptoError::Rejected)?;
    let enc = Encapped::from_bytes(enc).map_err(|_| CryptoError::Rejected)?;
    let mut context =
        setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(&OpModeR::Base, &private, &enc, info)
            .map_err(|_| CryptoError::Rejected)?;
    let plaintext = context.open(ciphertext, ad).map_err(|_| CryptoError::Rejected)?;
    let mut key = [0u8; 32];
    context.export(ANSWER_KEY, &mut key).map_err(|_| CryptoError::Rejected)?;
    Ok((plaintext, Secret::new(key)))
}
