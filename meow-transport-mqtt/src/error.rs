//! What can go wrong, and what it means at the crate's boundary.

use meow_core::crypto::CryptoError;
use meow_core::{Error, ErrorKind, Retry};

use crate::wire::PrefixError;

/// Every failure of this crate. No variant names a host, a topic or a user.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum MqttError {
    #[error("an mqtt endpoint is mqtt://[user:password@]host[:port][/prefix]; {0}")]
    Endpoint(&'static str),
    #[error("not a usable mqtt endpoint: {0}")]
    Prefix(#[from] PrefixError),
    #[error(
        "a link through a broker leads to a server that is known: give its fingerprint (a server reference has it)"
    )]
    NoServer,
    #[error("listening on mqtt needs the server's signing key in the configuration")]
    NoIdentity,
    #[error("the system has no certificate authorities; name some in the configuration")]
    NoRoots,
    #[error("the certificate authorities in the configuration are no PEM certificates")]
    Pem,
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
    #[error("the host of the broker is no name that a certificate can be for")]
    Name,
    #[error("the broker cannot be reached; check its address and the network")]
    Unreachable,
    #[error("this address of a broker must not be dialled: it is not a public one")]
    Address,
    #[error("the broker's certificate is not for this name, or comes from an authority that is not believed")]
    Certificate,
    #[error("the broker does not speak TLS 1.3")]
    TlsVersion,
    #[error("the broker refuses this user and password; ask its operator")]
    Refused,
    #[error("the broker is busy, or takes no more connections; try again later")]
    Busy,
    #[error("the broker does not speak MQTT 5 as it should")]
    Protocol,
    #[error("the broker does not allow these topics; ask its operator for a prefix that it does")]
    Topics,
    #[error("links cannot pass this broker: {0}; ask its operator")]
    Broker(&'static str),
    #[error("the server was not found on the broker in time: it is away, or the prefix is another one")]
    NotFound,
    #[error("no link came about in time; the broker or the server may be busy")]
    ConnectTimeout,
    #[error("the connection to the broker broke; try again")]
    Broken,
    #[error("the far side closed the link; try again")]
    Closed,
    #[error("this side of the link was finished or broken off; open another link")]
    Finished,
    #[error("the source of randomness failed")]
    Random(#[source] CryptoError),
}

impl MqttError {
    /// Whether waiting does not help: somebody has to change something.
    pub(crate) fn lasts(&self) -> bool {
        !matches!(self.kind(), ErrorKind::Unreachable)
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Endpoint(_) | Self::Prefix(_) | Self::NoServer | Self::NoIdentity | Self::Pem => {
                ErrorKind::Usage
            }
            Self::Name | Self::Finished => ErrorKind::Usage,
            Self::NoRoots | Self::Tls(_) | Self::Random(_) => ErrorKind::System,
            Self::Certificate => ErrorKind::WrongPeer,
            Self::Address | Self::Refused | Self::Topics | Self::Broker(_) => ErrorKind::Refused,
            Self::Unreachable
            | Self::TlsVersion
            | Self::Busy
            | Self::Protocol
            | Self::NotFound
            | Self::ConnectTimeout
            | Self::Broken
            | Self::Closed => ErrorKind::Unreachable,
        }
    }
}

impl From<CryptoError> for MqttError {
    fn from(e: CryptoError) -> Self {
        // Whatever others sent is judged where it is opened.
        Self::Random(e)
    }
}

impl From<MqttError> for Error {
    fn from(e: MqttError) -> Self {
        let error = Self::new(e.kind(), e.to_string());
        let error = match e {
            MqttError::Broken | MqttError::Closed => error.with_retry(Retry::Now),
            _ => error,
        };
        error.with_source(e)
    }
}
