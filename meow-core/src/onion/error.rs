//! Why a packet was not made. Opening has no reasons: whatever is wrong with a packet, it is
//! [`CryptoError::Rejected`].

use crate::crypto::CryptoError;
use crate::{Error, ErrorKind};

/// Why a packet was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnionError {
    /// A route has from 1 to 5 hops.
    #[error("a route has from 1 to 5 hops")]
    Route,
    /// The way back must end at the server where the way there begins, since that holds the sender's link.
    #[error("the way back must end at the first server of the way there")]
    Back,
    /// The content has no room in the class.
    #[error("the content is longer than a packet of this class carries")]
    TooLong,
    /// A key of a hop, or the source of randomness.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl From<OnionError> for Error {
    fn from(e: OnionError) -> Self {
        let kind = match e {
            OnionError::Crypto(inner) => return inner.into(),
            OnionError::Route | OnionError::Back => ErrorKind::Usage,
            OnionError::TooLong => ErrorKind::Limit,
        };
        Error::new(kind, format!("no onion packet was made: {e}")).with_source(e)
    }
}
