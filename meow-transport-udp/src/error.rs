//! What can go wrong, and what it means at the crate's boundary.

use std::io;

use meow_core::transport::LookupError;
use meow_core::{Error, ErrorKind, Retry};

/// Every failure of this crate. No variant names a host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UdpError {
    #[error("a udp endpoint is udp://host:port and nothing else; {0}")]
    Endpoint(&'static str),
    #[error("listening on udp needs the server's signing key in the configuration")]
    NoIdentity,
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
    #[error("TLS could not be set up for QUIC")]
    Suite(#[source] quinn::crypto::rustls::NoInitialCipherSuite),
    #[error("a limit is beyond what QUIC can express; choose a smaller one")]
    Setting,
    #[error(
        "no socket can be opened at this address; check that it is this machine's and that the port is free"
    )]
    Bind(#[source] io::Error),
    #[error("the name of the server cannot be resolved; check its spelling and the network")]
    Resolve(#[source] io::Error),
    #[error("the name of the server has no address")]
    NoAddress,
    #[error("this address must not be dialled: it is not a public one")]
    Address,
    #[error("this address cannot be dialled")]
    Dial(#[source] quinn::ConnectError),
    #[error("the server cannot be reached over UDP; check its address, or whether a firewall drops UDP")]
    Connect(#[source] quinn::ConnectionError),
    #[error("who answers at this address proves no server key; do not go on unless its operator explains it")]
    NoProof,
    #[error("no link to the server came about in time; it may be busy, or a firewall may drop UDP")]
    ConnectTimeout,
    #[error("the connection broke; try again")]
    Broken(#[source] quinn::ConnectionError),
    #[error("the far side closed the link; try again")]
    Closed,
    #[error("this side of the link was finished or broken off; open another link")]
    Finished,
    #[error("too much waits here for the rest of its frame; the link was given up")]
    NoRoom,
    #[error("the far side breaks the framing of the udp binding: the frame is too long")]
    TooLong,
    #[error("the far side sent an empty frame, which the udp binding does not allow")]
    Empty,
}

impl From<LookupError> for UdpError {
    fn from(e: LookupError) -> Self {
        match e {
            LookupError::Unknown(e) => Self::Resolve(e),
            _ => Self::Address,
        }
    }
}

impl UdpError {
    /// Why no connection came about.
    pub(crate) fn connecting(e: quinn::ConnectionError) -> Self {
        let code = match &e {
            quinn::ConnectionError::TransportError(e) => u64::from(e.code),
            quinn::ConnectionError::ConnectionClosed(e) => u64::from(e.error_code),
            _ => 0,
        };
        // What TLS says against a handshake (RFC 9001, section 4.8): the far side proved nothing, or is no server of ours.
        if (0x100..0x200).contains(&code) { Self::NoProof } else { Self::Connect(e) }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Endpoint(_) | Self::NoIdentity | Self::Setting | Self::Finished => ErrorKind::Usage,
            Self::Tls(_) | Self::Suite(_) | Self::Bind(_) => ErrorKind::System,
            Self::Address => ErrorKind::Refused,
            Self::NoProof => ErrorKind::WrongPeer,
            Self::TooLong | Self::Empty => ErrorKind::Malformed,
            Self::Resolve(_)
            | Self::NoAddress
            | Self::Dial(_)
            | Self::Connect(_)
            | Self::ConnectTimeout
            | Self::Broken(_)
            | Self::NoRoom
            | Self::Closed => ErrorKind::Unreachable,
        }
    }
}

impl From<quinn::WriteError> for UdpError {
    fn from(e: quinn::WriteError) -> Self {
        match e {
            quinn::WriteError::ConnectionLost(e) => Self::Broken(e),
            _ => Self::Closed,
        }
    }
}

impl From<UdpError> for Error {
    fn from(e: UdpError) -> Self {
        let error = Self::new(e.kind(), e.to_string());
        let error = match e {
            UdpError::Broken(_) | UdpError::Closed => error.with_retry(Retry::Now),
            _ => error,
        };
        error.with_source(e)
    }
}
