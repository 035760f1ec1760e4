//! Strict encoding: postcard, with caps before allocation, no trailing bytes and one encoding per value
//! (spec, chapter "Wire").

mod bounded;
mod size;

pub use bounded::{Blob, Fixed, List, Text};
pub use size::{
    SIZE_CLASSES, THIN_FRAMING, THIN_SIZES, is_thin, is_thin_class, pad, padded_len, size_of_class, unpad,
};

use postcard::ser_flavors::Flavor;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, ErrorKind};

/// The protocol version: the high half of the outermost byte of everything on the wire.
pub const VERSION: u8 = 0;

/// Why bytes are not the encoding of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// More bytes than any value of this type needs.
    #[error("longer than this structure can be")]
    TooLong,
    /// The bytes end early, hold an unknown variant, or exceed a limit.
    #[error("not a valid encoding")]
    Invalid,
    /// Bytes follow the value.
    #[error("bytes follow the end of the structure")]
    Trailing,
    /// The value has another, shorter or ordered, encoding.
    #[error("not the canonical encoding")]
    NotCanonical,
    /// The outermost byte names a version that this program does not know.
    #[error("made by a newer version of the protocol; update this program")]
    NewerVersion,
}

impl From<WireError> for Error {
    fn from(e: WireError) -> Self {
        let kind = match e {
            WireError::NewerVersion => ErrorKind::NewerVersion,
            _ => ErrorKind::Malformed,
        };
        Error::new(kind, format!("received data is damaged: {e}")).with_source(e)
    }
}

/// A structure with a wire form.
pub trait Wire: Serialize + DeserializeOwned {
    /// The longest encoding in bytes; more is refused before decoding.
    const MAX: usize;

    /// The one encoding of this value.
    ///
    /// # Errors
    /// [`WireError::TooLong`] when the value exceeds [`Wire::MAX`].
    fn to_wire(&self) -> Result<Vec<u8>, WireError> {
        let bytes = postcard::to_stdvec(self).map_err(|_| WireError::Invalid)?;
        if bytes.len() > Self::MAX { Err(WireError::TooLong) } else { Ok(bytes) }
    }

    /// Decodes strictly: length cap first, no trailing bytes, and encoding again gives the same bytes.
    ///
    /// # Errors
    /// Any [`WireError`]; nothing is allocated beyond the caps of the fields.
    fn from_wire(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > Self::MAX {
            return Err(WireError::TooLong);
        }
        let (value, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(|_| WireError::Invalid)?;
        if !rest.is_empty() {
            return Err(WireError::Trailing);
        }
        postcard::serialize_with_flavor(&value, Same(bytes)).map_err(|_| WireError::NotCanonical)?;
        Ok(value)
    }
}

/// Takes an encoding as long as it is these bytes, which need no copy for that.
struct Same<'a>(&'a [u8]);

impl Flavor for Same<'_> {
    type Output = ();

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0 = self.0.strip_prefix(bytes).ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        let (_, rest) = self
            .0
            .split_first()
            .filter(|(first, _)| **first == byte)
            .ok_or(postcard::Error::SerializeBufferFull)?;
        self.0 = rest;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(postcard::Error::SerializeBufferFull) }
    }
}

/// The suites that the low half of the outermost byte can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Signed, not sealed: the server descriptor and refusals before a request could be opened.
    Clear = 0,
    /// One sealed request or answer: HPKE X25519-HKDF-SHA256, AES-256-GCM.
    Hpke = 1,
    /// A ratchet message: X25519, HKDF-SHA256, AES-256-GCM-SIV.
    Ratchet = 2,
    /// The opening of a ratchet: X25519 and ML-KEM-768, AES-256-GCM-SIV.
    Opening = 3,
    /// A rendez-vous card.
    Card = 4,
    /// A packet of a session: HMAC-SHA256 tags, AES-256-GCM-SIV. On thin links the byte is bound, not sent.
    Session = 5,
    /// A thin ratchet message. Its length tells that it is one: this byte is bound, and does not travel.
    Thin = 6,
    /// An onion packet: X25519, HKDF-SHA256, HMAC-SHA256, ChaCha20, LIONESS.
    Onion = 7,
    /// Hello or welcome of a direct link: X25519, HKDF-SHA256, HMAC-SHA256.
    Direct = 8,
    /// An onion packet from one server to the next: all as in [`Onion`](Self::Onion), which its MACs speak of.
    Relayed = 9,
}

impl Suite {
    /// The outermost byte: version in the high half, suite in the low half.
    pub const fn byte(self) -> u8 {
        (VERSION << 4) | self as u8
    }

    /// Takes the outermost byte off `bytes`, checking version and suite.
    ///
    /// # Errors
    /// [`WireError::NewerVersion`] for another version, [`WireError::Invalid`] for another suite or nothing.
    pub fn strip(self, bytes: &[u8]) -> Result<&[u8], WireError> {
        match bytes.split_first() {
            Some((first, _)) if first >> 4 != VERSION => Err(WireError::NewerVersion),
            Some((first, rest)) if *first == self.byte() => Ok(rest),
            _ => Err(WireError::Invalid),
        }
    }
}
