//! What a machine gives back.

use crate::crypto::{CryptoError, VerifyKey};
use crate::direct::DirectOffer;
use crate::lane::LaneError;
use crate::message::Content;
use crate::opening::{MAX_GREETING, OpeningError};
use crate::ratchet::RatchetError;
use crate::wire::{Text, WireError};
use crate::{Error, ErrorKind};

/// Finished bytes for the contact's mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The sequence of the message inside; 0 for an opening, which has none.
    pub seq: u64,
    /// To be deposited, the same bytes at every attempt.
    pub item: Vec<u8>,
}

/// What a step brought: to be stored together with the contact, then acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// To be deposited, in order.
    pub items: Vec<Outgoing>,
    /// To be told to the application, or done by the driver, in order.
    pub events: Vec<ContactEvent>,
}

/// Something that the application or the driver should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContactEvent {
    /// The taker of our card said this with it; not confirmed yet.
    Greeting(Text<MAX_GREETING>),
    /// Keys are confirmed both ways.
    Established,
    /// A message for the user.
    Message {
        /// Its sequence.
        seq: u64,
        /// What it says.
        content: Content,
    },
    /// Our messages with these sequences, both ends included, were decrypted, says an authenticated receipt. A range
    /// can be wide and hold few messages.
    Decrypted {
        /// The first one.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// Our messages up to this sequence were shown, says an authenticated receipt.
    ReadUpTo {
        /// The sequence.
        seq: u64,
    },
    /// The contact says whether and how it may be reached without a server. The one of the highest sequence counts.
    Direct {
        /// Its sequence.
        seq: u64,
        /// What it says.
        offer: DirectOffer,
    },
    /// Messages of the contact are missing.
    Missing {
        /// The first one.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// A missing message has come.
    Found {
        /// Its sequence.
        seq: u64,
    },
    /// The contact has seen something else than what we sent.
    Fork,
    /// The contact has seen messages that this side does not know of: the store is an older copy. The driver
    /// begins a renewal.
    Behind,
    /// The contact has new keys after a rollback, ours or its own, and messages flow again.
    Renewed,
    /// The contact had keys made anew so often that its newest wish waits until it is due: see
    /// [`Contact::resume_renewal`](super::Contact::resume_renewal). Said once in a row of them.
    RenewalHeld,
    /// The contact lacks our messages from this sequence on, after a renewal or because its receipt shows a hole:
    /// hand them to [`Contact::resend`](super::Contact::resend) once more, each with its sequence,
    /// [`Content::Empty`] for those that are not in the log.
    Resend {
        /// The first sequence to send again.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// The contact deposits elsewhere by now: close this mailbox, then call
    /// [`Contact::mailbox_closed`](super::Contact::mailbox_closed).
    CloseMailbox {
        /// The Lkp.
        lkp: VerifyKey,
    },
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It opened.
    Opened(Output),
    /// It was received before; nothing changed.
    Duplicate,
    /// It does not open with the keys of now. Later keys may open it.
    Unreadable,
}

/// Why a content cannot be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Keys are not confirmed both ways (again).
    #[error("keys are not confirmed yet")]
    NotYet,
    /// The content is too long for one item.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The ratchet.
    #[error(transparent)]
    Ratchet(#[from] RatchetError),
}

impl From<SendError> for Error {
    fn from(e: SendError) -> Self {
        match e {
            SendError::NotYet => {
                Error::new(ErrorKind::Limit, "keys with this contact are not confirmed yet; try again later")
            }
            SendError::Wire(_) => {
                Error::new(ErrorKind::Limit, "the message is longer than one item can be; split it")
            }
            SendError::Ratchet(e) => e.into(),
        }
    }
}

/// What a machine can fail with, apart from bad input: then nothing must be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContactError {
    /// The source of randomness, or a bad key.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A structure cannot be encoded.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A stored lane list does not hold: the store is damaged.
    #[error(transparent)]
    Lanes(#[from] LaneError),
    /// An opening cannot be made.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// The ratchet's state does not allow the step.
    #[error(transparent)]
    Ratchet(#[from] RatchetError),
    /// A message of the machine's own cannot be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The call does not fit the contact's state.
    #[error("this contact is not established")]
    NotEstablished,
}

impl From<ContactError> for Error {
    fn from(e: ContactError) -> Self {
        match e {
            ContactError::Crypto(e) => e.into(),
            ContactError::Wire(e) => e.into(),
            ContactError::Lanes(e) => Error::new(
                ErrorKind::Damaged,
                "the store holds a damaged contact; restore a backup, or exchange cards again",
            )
            .with_source(e),
            ContactError::Opening(e) => e.into(),
            ContactError::Ratchet(e) => e.into(),
            ContactError::Send(e) => e.into(),
            ContactError::NotEstablished => {
                Error::new(ErrorKind::Usage, "the contact is not established yet; wait until it has answered")
            }
        }
    }
}
