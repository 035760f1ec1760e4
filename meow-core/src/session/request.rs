//! What is asked inside a session: the mailbox and the right to it are known.

use serde::{Deserialize, Serialize};

use super::{SESSION_OVERHEAD, THIN_SESSION_OVERHEAD};
use crate::request::MAX_ITEM;
use crate::wire::{Blob, Fixed, Wire, is_thin_class, size_of_class};

/// Who a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SessionRole {
    /// The mailbox's owner.
    Owner = 0,
    /// Who has its token.
    Depositor = 1,
}

/// The kind byte of an item that is deposited alone on a thin link, for as long as the server keeps items.
pub const ITEM_DEPOSIT: u8 = 0;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SessionKind {
    /// A depositor puts an item into the mailbox; its id is [`Deposit::item_id`](crate::request::Deposit::item_id).
    Deposit {
        /// As in a deposit outside of a session.
        keep_secs: u32,
        /// The sealed item.
        item: Blob<MAX_ITEM>,
    },
    /// The owner looks for items, without a counter and so without any effect.
    Look {
        /// As in a pull.
        wait_secs: u16,
    },
    /// The owner pulls, counted.
    Pull {
        /// The mailbox's counter, as in a pull outside of a session.
        counter: u64,
        /// As in a pull.
        acknowledge: u64,
        /// As in a pull.
        wait_secs: u16,
    },
    /// The owner acknowledges, counted.
    Acknowledge {
        /// The mailbox's counter.
        counter: u64,
        /// Items up to this number can go.
        upto: u64,
    },
    /// A depositor fetches a blob.
    BlobGet {
        /// The blob's name.
        name: Fixed<16>,
    },
}

impl SessionKind {
    /// Who may ask this.
    pub fn role(&self) -> SessionRole {
        match self {
            Self::Deposit { .. } | Self::BlobGet { .. } => SessionRole::Depositor,
            Self::Look { .. } | Self::Pull { .. } | Self::Acknowledge { .. } => SessionRole::Owner,
        }
    }
}

/// A request in a session and the size that its answer shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRequest {
    /// Index of the answer's size in the whole table ([`size_of_class`]).
    pub answer: u8,
    /// What is asked.
    pub kind: SessionKind,
}

impl Wire for SessionRequest {
    const MAX: usize = 32_768;
}

/// Bytes that an encoded answer can have at most in a session's packet of this index; `None` for no size of the table.
pub fn session_room(class: u8) -> Option<usize> {
    let overhead = if is_thin_class(class) { THIN_SESSION_OVERHEAD } else { SESSION_OVERHEAD };
    Some(size_of_class(class)? - overhead - 1)
}
