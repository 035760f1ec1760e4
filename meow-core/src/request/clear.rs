//! The few packets that travel unsealed.

use super::SignedDescriptor;
use crate::wire::{Suite, Wire, WireError};

/// The request for a server's descriptor.
pub const DESCRIBE: [u8; 2] = [Suite::Clear.byte(), 0];

/// Why a server could not even open a request. Unauthenticated: a client may only ask again or wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ClearCode {
    /// No such sealing key (any more): fetch the descriptor again.
    UnknownKey = 1,
    /// Malformed, or does not open.
    Unreadable = 2,
    /// Too much to do.
    Busy = 3,
    /// The request's version is newer than the server.
    NewerVersion = 4,
    /// No such session (any more): open another, or ask without one.
    UnknownSession = 5,
}

/// An unsealed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClearAnswer {
    /// The signed descriptor, to be verified.
    Descriptor(Box<SignedDescriptor>),
    /// A refusal.
    Refused(ClearCode),
    /// An onion packet was taken. Says nothing of what becomes of it.
    Taken,
}

impl ClearAnswer {
    /// True when a packet is an unsealed one.
    pub fn matches(packet: &[u8]) -> bool {
        packet.first() == Some(&Suite::Clear.byte())
    }

    /// The packet.
    ///
    /// # Errors
    /// [`WireError`] when the descriptor is too long.
    pub fn to_packet(&self) -> Result<Vec<u8>, WireError> {
        Ok(match self {
            Self::Descriptor(signed) => [&DESCRIBE[..], &signed.to_wire()?].concat(),
            Self::Refused(code) => vec![Suite::Clear.byte(), 1, *code as u8],
            Self::Taken => vec![Suite::Clear.byte(), 2],
        })
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// [`WireError`] for anything that is no clear answer.
    pub fn from_packet(packet: &[u8]) -> Result<Self, WireError> {
        match Suite::Clear.strip(packet)? {
            [0, rest @ ..] => Ok(Self::Descriptor(Box::new(SignedDescriptor::from_wire(rest)?))),
            [1, 1] => Ok(Self::Refused(ClearCode::UnknownKey)),
            [1, 2] => Ok(Self::Refused(ClearCode::Unreadable)),
            [1, 3] => Ok(Self::Refused(ClearCode::Busy)),
            [1, 4] => Ok(Self::Refused(ClearCode::NewerVersion)),
            [1, 5] => Ok(Self::Refused(ClearCode::UnknownSession)),
            [2] => Ok(Self::Taken),
            _ => Err(WireError::Invalid),
        }
    }
}
