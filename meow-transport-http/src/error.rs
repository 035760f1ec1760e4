//! What can go wrong, and what it means at the crate's boundary.

use std::io;

use http::StatusCode;
use meow_core::transport::LookupError;
use meow_core::{Error, ErrorKind, Retry};

use crate::framing::FramingError;
use crate::response::ResponseError;

/// Every failure of this crate. No variant names a host, a path or a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("an http endpoint needs a host and takes no options; {0}")]
    Endpoint(&'static str),
    #[error("the user of an http endpoint must not hold a colon; ask the operator for another name")]
    Credentials,
    #[error("found no {0} in the PEM text; give it with its BEGIN and END lines")]
    Pem(&'static str),
    #[error("this certificate cannot be used; check that it is valid and that the key is its own")]
    Certificate(#[source] rustls::Error),
    #[error("the operating system has no trusted certificates; install ca-certificates, or give a root")]
    NoRoots,
    #[error("the program is shutting down")]
    Stopped,
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
    #[error("listening on https needs a certificate and its key in the server's configuration")]
    NoIdentity,
    #[error("cannot listen at this address; check that it is this machine's and that the port is free")]
    Bind(#[source] io::Error),
    #[error("the name of the server cannot be resolved; check its spelling and the network")]
    Resolve(#[source] io::Error),
    #[error("this address must not be dialled: it is not a public one")]
    Address,
    #[error("the server cannot be reached; check its address and the network")]
    Connect(#[source] io::Error),
    #[error("no connection to the server came about in time; check its address and the network")]
    ConnectTimeout,
    #[error("all connections to this server are in use; close some links, or allow more connections")]
    Busy,
    #[error("the server's certificate is not the one expected; do not go on unless its operator explains it")]
    WrongCertificate(#[source] io::Error),
    #[error("the TLS handshake failed; the server must speak TLS 1.3")]
    Handshake(#[source] io::Error),
    #[error("the connection broke before the answer was whole; try again")]
    Broken(#[source] io::Error),
    #[error("the server does not speak HTTP as it should: {0}; check the URL")]
    Response(ResponseError),
    #[error("the far side closed the link; try again")]
    Closed,
    #[error("no whole answer came in time; try again, or allow more time")]
    AnswerTimeout,
    #[error("this side of the link was finished or dropped; open another link")]
    Finished,
    #[error("the exchange is full: {0}; send less, or use another exchange")]
    Full(FramingError),
    #[error("the server holds too many bytes already; try again later")]
    Budget,
    #[error(
        "the answer is no Meow answer ({0}); check the URL: a captive portal or another service may stand there"
    )]
    NotMeow(&'static str),
    #[error("the answer breaks the framing: {0}")]
    Framing(FramingError),
    #[error("the server answered {}; {}", .status.as_u16(), advice(*.status))]
    Status { status: StatusCode, retry_after: Option<u32> },
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => {
            "it wants a user and password, or others than these: http://user:password@host"
        }
        StatusCode::FORBIDDEN => "it does not let this client in; ask its operator",
        StatusCode::NOT_FOUND => "nothing listens at this path; check the URL's path",
        StatusCode::METHOD_NOT_ALLOWED => "no Meow relay listens at this path; check the URL",
        StatusCode::PAYLOAD_TOO_LARGE => "the request is too large for it; send less",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "it is busy; try again later",
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            "its proxy does not reach the relay; try again later"
        }
        status if status.is_redirection() => "redirects are never followed; use the URL it really has",
        status if status.is_server_error() => "it failed; try again later",
        _ => "it does not take this request; check the URL and its version",
    }
}

impl From<LookupError> for HttpError {
    fn from(e: LookupError) -> Self {
        match e {
            LookupError::Unknown(e) => Self::Resolve(e),
            _ => Self::Address,
        }
    }
}

impl HttpError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Endpoint(_) | Self::Credentials | Self::Finished => ErrorKind::Usage,
            Self::Pem(_) | Self::NoIdentity | Self::Certificate(_) => ErrorKind::Usage,
            Self::NoRoots | Self::Stopped | Self::Tls(_) | Self::Bind(_) => ErrorKind::System,
            Self::Resolve(_) | Self::Connect(_) | Self::ConnectTimeout => ErrorKind::Unreachable,
            Self::Handshake(_) | Self::Broken(_) | Self::Response(_) => ErrorKind::Unreachable,
            Self::Closed | Self::AnswerTimeout => ErrorKind::Unreachable,
            Self::Address => ErrorKind::Refused,
            Self::WrongCertificate(_) => ErrorKind::WrongPeer,
            Self::Busy | Self::Full(_) | Self::Budget => ErrorKind::Limit,
            Self::NotMeow(_) | Self::Framing(_) => ErrorKind::Malformed,
            Self::Status { status, .. } => match *status {
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => ErrorKind::NotFound,
                StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::TOO_MANY_REQUESTS
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => ErrorKind::Limit,
                status if status.is_server_error() => ErrorKind::Unreachable,
                _ => ErrorKind::Refused,
            },
        }
    }

    fn retry(&self) -> Option<Retry> {
        match self {
            Self::Broken(_) | Self::Closed | Self::AnswerTimeout => Some(Retry::Now),
            Self::Full(_) => Some(Retry::Never),
            Self::Busy | Self::Budget => Some(Retry::After(1)),
            Self::Status { status: StatusCode::PAYLOAD_TOO_LARGE, .. } => Some(Retry::Never),
            Self::Status { retry_after: Some(seconds), .. } if self.kind() == ErrorKind::Limit => {
                Some(Retry::After(*seconds))
            }
            _ => None,
        }
    }
}

impl From<ResponseError> for HttpError {
    fn from(e: ResponseError) -> Self {
        match e {
            ResponseError::Truncated => Self::Broken(io::ErrorKind::UnexpectedEof.into()),
            e => Self::Response(e),
        }
    }
}

impl From<HttpError> for Error {
    fn from(e: HttpError) -> Self {
        let error = Self::new(e.kind(), e.to_string());
        let error = match e.retry() {
            Some(retry) => error.with_retry(retry),
            None => error,
        };
        error.with_source(e)
    }
}
