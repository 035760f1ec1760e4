//! What is asked inside a session: the mailbox and the right to it are known.

use serde::{Deserialize, Serialize};

use super::{SESSION_OVERHEAD, THIN_SESSION_OVERHEAD};
use crate::request::MAX_ITEM;
use crate::wire::{Blob, Fixed, Wire, WireError, is_thin_class, size_of_class};

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

impl SessionRequest {
    /// As [`from_wire`](Wire::from_wire), but an item stays in the memory that it came in.
    ///
    /// # Errors
    /// As [`from_wire`](Wire::from_wire).
    pub fn from_content(mut content: Vec<u8>) -> Result<Self, WireError> {
        match deposit_head(&content) {
            Some((answer, keep_secs, head)) if content.len() <= Self::MAX => {
                content.drain(..head);
                let item = Blob::new(content).map_err(|_| WireError::Invalid)?;
                Ok(Self { answer, kind: SessionKind::Deposit { keep_secs, item } })
            }
            _ => Self::from_wire(&content),
        }
    }
}

/// Answer, time to keep, and the length of what stands before the item, if this is a deposit whose item is all of the rest.
fn deposit_head(content: &[u8]) -> Option<(u8, u32, usize)> {
    let (head, item): ((u8, u32, u32, u32), _) = postcard::take_from_bytes(content).ok()?;
    let (answer, kind, keep_secs, len) = head;
    let mut again = [0; 16];
    let again = postcard::to_slice(&head, &mut again).ok()?;
    let sound = kind == 0 && item.len() == len as usize && content.starts_with(again);
    (sound && again.len() + item.len() == content.len()).then_some((answer, keep_secs, again.len()))
}

/// Bytes that an encoded answer can have at most in a session's packet of this index; `None` for no size of the table.
pub fn session_room(class: u8) -> Option<usize> {
    let overhead = if is_thin_class(class) { THIN_SESSION_OVERHEAD } else { SESSION_OVERHEAD };
    Some(size_of_class(class)? - overhead - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_read_as_its_encoding_is() {
        let deposit =
            |keep_secs, len| SessionKind::Deposit { keep_secs, item: Blob::new(vec![7; len]).unwrap() };
        let kinds = [
            deposit(0, 0),
            deposit(300, 1),
            deposit(u32::MAX, 127),
            deposit(1, 1888),
            SessionKind::Look { wait_secs: 50 },
            SessionKind::Acknowledge { counter: 9, upto: u64::MAX },
        ];
        for kind in kinds {
            let request = SessionRequest { answer: 3, kind };
            let content = request.to_wire().unwrap();
            assert_eq!(SessionRequest::from_content(content.clone()), Ok(request));
            // Every cut, every longer one, and other bytes at the beginning: the same verdict.
            let mut others: Vec<Vec<u8>> =
                (0..content.len().min(40)).map(|len| content[..len].to_vec()).collect();
            others.push([&content[..], &[0]].concat());
            for at in 0..content.len().min(12) {
                for bit in 0..8 {
                    let mut other = content.clone();
                    other[at] ^= 1 << bit;
                    others.push(other.clone());
                    other.insert(at, 0x80);
                    others.push(other);
                }
            }
            for other in others {
                assert_eq!(SessionRequest::from_content(other.clone()), SessionRequest::from_wire(&other));
            }
        }
        let long = SessionRequest { answer: 3, kind: deposit(0, MAX_ITEM) };
        let mut content = postcard::to_stdvec(&long).unwrap();
        assert_eq!(SessionRequest::from_content(content.clone()), SessionRequest::from_wire(&content));
        content.push(1);
        assert_eq!(SessionRequest::from_content(content.clone()), SessionRequest::from_wire(&content));
    }
}
