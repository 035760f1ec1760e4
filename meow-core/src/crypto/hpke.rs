//! HPKE base mode (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, one message per key.
//! The answer comes back under a key that the exporter gives.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender_with_rng};

use zeroize::Zeroizing;

use super::random::Drawn;
use super::{CryptoError, DhPublic, DhSecret, HpkeLabel, Random, Secret, tally};

/// Length of the encapsulated key in bytes.
pub const HPKE_ENC: usize = 32;

/// Exporter context of the answer key.
pub const ANSWER_KEY: &[u8] = HpkeLabel::Answer.text().as_bytes();

/// The private half of a server's sealing key.
pub type HpkeSecret = DhSecret;

/// Exporter context of the key that a session's secret comes from.
pub const SESSION_KEY: &[u8] = HpkeLabel::Session.text().as_bytes();

/// The keys that both sides of a sealed request take from it.
#[derive(Debug)]
pub struct HpkeKeys {
    /// Key of the answer.
    pub answer: Secret,
    /// What goes into a session's secret, where the request opens one.
    pub session: Secret,
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
) -> Result<(Vec<u8>, HpkeKeys), CryptoError> {
    let public = Public::from_bytes(to.as_bytes()).map_err(|_| CryptoError::BadKey)?;
    let mut drawn = Drawn::<64>::from(random)?;
    tally::count(1);
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
    let keys = exported(|label, out| context.export(label, out).map_err(|_| CryptoError::Length))?;
    Ok((out, keys))
}

/// Opens what [`hpke_seal`] sealed: the plaintext, and the keys that the sender has too.
///
/// # Errors
/// [`CryptoError::Rejected`].
pub fn hpke_open(
    secret: &DhSecret,
    info: &[u8],
    ad: &[u8],
    sealed: &[u8],
) -> Result<(Vec<u8>, HpkeKeys), CryptoError> {
    let (enc, ciphertext) = sealed.split_at_checked(HPKE_ENC).ok_or(CryptoError::Rejected)?;
    let private = Private::from_bytes(secret.expose().as_slice()).map_err(|_| CryptoError::Rejected)?;
    let enc = Encapped::from_bytes(enc).map_err(|_| CryptoError::Rejected)?;
    tally::count(1);
    let mut context =
        setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(&OpModeR::Base, &private, &enc, info)
            .map_err(|_| CryptoError::Rejected)?;
    let plaintext = context.open(ciphertext, ad).map_err(|_| CryptoError::Rejected)?;
    let keys = exported(|label, out| context.export(label, out).map_err(|_| CryptoError::Rejected))?;
    Ok((plaintext, keys))
}

fn exported(export: impl Fn(&[u8], &mut [u8]) -> Result<(), CryptoError>) -> Result<HpkeKeys, CryptoError> {
    let key = |label| -> Result<Secret, CryptoError> {
        let mut key = Zeroizing::new([0u8; 32]);
        export(label, key.as_mut_slice())?;
        Ok(Secret::new(*key))
    };
    Ok(HpkeKeys { answer: key(ANSWER_KEY)?, session: key(SESSION_KEY)? })
}
