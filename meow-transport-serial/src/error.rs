//! What can go wrong, and what it means at the crate's boundary.

use std::io;

use meow_core::{Error, ErrorKind, Retry};

/// Every failure of this crate. No variant names a device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SerialError {
    #[error("{0}")]
    Option(String),
    #[error("another program, or another part of this one, uses this serial device; end it first")]
    Taken,
    #[error("there is no such serial device; is it plugged in?")]
    Missing(#[source] io::Error),
    #[error("this user may not open the serial device; add it to the device's group (dialout)")]
    Permission(#[source] io::Error),
    #[error("the serial device cannot be set up like this; check baud and flow")]
    SetUp(#[source] io::Error),
    #[error(
        "the airtime of this device cannot be written down, without which its duty cycle cannot be kept; name a folder that can be written (MEOW_AIRTIME)"
    )]
    Ledger(#[source] io::Error),
    #[error(
        "there is no folder for the airtime of this device, without which its duty cycle cannot be kept; name one (MEOW_AIRTIME)"
    )]
    NoLedger,
    #[error("the randomness for the back-off is missing")]
    Random(#[source] meow_core::crypto::CryptoError),
    #[error("the serial device is away; plug it in again")]
    Away,
    #[error("the serial device takes nothing; is the modem on, and is flow right?")]
    Stuck,
    #[error("the line was closed; open it again")]
    Closed,
}

impl From<io::Error> for SerialError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::NotFound => Self::Missing(e),
            io::ErrorKind::PermissionDenied => Self::Permission(e),
            io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => Self::Taken,
            _ => Self::SetUp(e),
        }
    }
}

impl From<SerialError> for Error {
    fn from(e: SerialError) -> Self {
        let kind = match e {
            SerialError::Option(_) => ErrorKind::Usage,
            SerialError::Taken => ErrorKind::AlreadyUsed,
            SerialError::Missing(_) | SerialError::Away | SerialError::Stuck | SerialError::Closed => {
                ErrorKind::Unreachable
            }
            SerialError::Permission(_)
            | SerialError::SetUp(_)
            | SerialError::Ledger(_)
            | SerialError::NoLedger
            | SerialError::Random(_) => ErrorKind::System,
        };
        let error = Self::new(kind, e.to_string());
        let error = if matches!(e, SerialError::Taken) { error.with_retry(Retry::After(5)) } else { error };
        error.with_source(e)
    }
}
