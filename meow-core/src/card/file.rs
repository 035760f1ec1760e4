//! The forms of a card: a file, and the `meow:` URI that a QR code or a chat carries.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Card, CardError};
use crate::crypto::{KEM_PUBLIC, KemPublic};
use crate::wire::{Suite, Wire, WireError};

/// Scheme of a card's URI, with its colon.
pub const CARD_SCHEME: &str = "meow:";

/// A card with or without the KEM key that it names. With it, it is the *file form*; a card from a URI
/// comes without, and its KEM key waits in the issuer's mailbox ([`Card::open_kem`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardFile {
    card: Card,
    kem: Option<KemPublic>,
}

impl Wire for CardFile {
    const MAX: usize = Card::MAX + 1 + KEM_PUBLIC;
}

impl CardFile {
    /// A card and, for the file form, its KEM key.
    ///
    /// # Errors
    /// [`CardError::Malformed`] when the KEM key is not the one that the card names.
    pub fn new(card: Card, kem: Option<KemPublic>) -> Result<Self, CardError> {
        kem.as_ref().map_or(Ok(()), |k| card.check_kem(k))?;
        Ok(Self { card, kem })
    }

    /// The card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The KEM key, in the file form.
    pub fn kem(&self) -> Option<&KemPublic> {
        self.kem.as_ref()
    }

    /// The bytes of a file: the outermost byte, then the encoding.
    ///
    /// # Errors
    /// [`CardError::Malformed`], which a card that was decoded or signed never gives.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CardError> {
        let mut out = vec![Suite::Card.byte()];
        out.extend(self.to_wire().map_err(|_| CardError::Malformed)?);
        Ok(out)
    }

    /// The `meow:` URI, always without the KEM key. It holds the card secret: whoever reads it can answer.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes).
    pub fn to_uri(&self) -> Result<String, CardError> {
        let short = Self { card: self.card.clone(), kem: None };
        Ok(format!("{CARD_SCHEME}{}", URL_SAFE_NO_PAD.encode(short.to_bytes()?)))
    }

    /// Reads either form: the bytes of a file, or the text of a URI with white space around it.
    ///
    /// # Errors
    /// [`CardError::Malformed`], [`CardError::NewerVersion`], [`CardError::NoServer`]. The time is not
    /// looked at: see [`Card::check_time`].
    pub fn parse(input: &[u8]) -> Result<Self, CardError> {
        let trimmed = input.trim_ascii();
        match trimmed.strip_prefix(CARD_SCHEME.as_bytes()) {
            Some(text) => Self::from_base64(text),
            // Some other text; its first letter is not to be taken for a version.
            None if std::str::from_utf8(trimmed).is_ok() => Err(CardError::Malformed),
            None => Self::from_bytes(input),
        }
    }

    fn from_base64(text: &[u8]) -> Result<Self, CardError> {
        if text.len() > (1 + Self::MAX).div_ceil(3) * 4 {
            return Err(CardError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CardError::Malformed)?;
        let file = Self::from_bytes(&bytes)?;
        // The URI form never holds the key: one card, one URI.
        if file.kem.is_some() { Err(CardError::Malformed) } else { Ok(file) }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CardError> {
        let body = Suite::Card.strip(bytes)?;
        let file = Self::from_wire(body)?;
        Self::new(file.card, file.kem)
    }
}

impl From<WireError> for CardError {
    fn from(e: WireError) -> Self {
        match e {
            WireError::NewerVersion => Self::NewerVersion,
            _ => Self::Malformed,
        }
    }
}
