//! Why a card cannot be made or taken.

use crate::crypto::CryptoError;
use crate::lane::LaneError;
use crate::{Error, ErrorKind};

/// Why a card cannot be made or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// Damaged, cut short, altered, or no card at all.
    #[error("this is not a whole, unaltered card: copy all of it again, or ask for a new one")]
    Malformed,
    /// Past its time.
    #[error("this card has expired: ask its owner for a new one")]
    Expired,
    /// The outermost byte names a version that this program does not know.
    #[error("this card was made by a newer version of Meow: update this program, then take it again")]
    NewerVersion,
    /// No server with a URL, so that nobody could answer.
    #[error("this card names no server that an answer could go to: add a server, then make a new card")]
    NoServer,
    /// The lane list of a new card cannot be made.
    #[error("the card cannot be made: {0}")]
    Lanes(#[from] LaneError),
    /// Making a card failed for want of randomness.
    #[error("the card cannot be made: {0}")]
    Crypto(#[from] CryptoError),
}

impl From<CardError> for Error {
    fn from(e: CardError) -> Self {
        let kind = match e {
            CardError::Malformed => ErrorKind::Malformed,
            CardError::Expired => ErrorKind::Expired,
            CardError::NewerVersion => ErrorKind::NewerVersion,
            CardError::NoServer => ErrorKind::Usage,
            CardError::Lanes(inner) => return inner.into(),
            CardError::Crypto(inner) => return inner.into(),
        };
        Error::new(kind, e.to_string()).with_source(e)
    }
}
