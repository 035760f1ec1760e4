//! What clients ask of servers: sealed requests, their answers, and the server descriptor (spec, chapter
//! "Requests").

mod body;
mod clear;
mod descriptor;
mod open;
mod presence;
mod seal;

pub use body::{
    Acknowledge, Answer, BlobGet, BlobPut, CatalogGet, CatalogPage, Close, Deposit, Items, Listed,
    MAX_SUBNETS, MailItem, Pull, RefusalCode, Refused, Register, Request, RequestKind,
};
pub use clear::{ClearAnswer, ClearCode, DESCRIBE};
pub use descriptor::{Descriptor, Limits, MAX_ONWARD, SealingKey, SignedDescriptor, fingerprint};
pub use open::{ClientShare, Opened, ServerShare, SessionBy, SessionOpen};
pub use presence::{Found, Heard, Knock, Knocking, PresenceGet, Present, Presented, Seen, Showing};
pub use seal::{
    AnswerSealer, OpenedRequest, PendingAnswer, answer_class, key_number, seal_request, sealed_len,
};

/// Largest item that a deposit can carry, in bytes: the largest size class less [`ITEM_OVERHEAD`].
pub const MAX_ITEM: usize = 32_608;
/// What a packet adds to an item at most, in bytes.
pub const ITEM_OVERHEAD: usize = 160;
/// The lengths that items can have, in bytes: size class less [`ITEM_OVERHEAD`].
pub const ITEM_SIZES: [usize; 5] = [96, 352, 1888, 8032, MAX_ITEM];
/// What a deposit in a session adds to an item on a thin link, in bytes: tag, MAC, kind.
pub const THIN_ITEM_OVERHEAD: usize = 6 + 8 + 1;
/// The lengths that items for thin links have, in bytes: [`THIN_SIZES`](crate::wire::THIN_SIZES) less
/// [`THIN_ITEM_OVERHEAD`]. No other item has one of them.
pub const THIN_ITEM_SIZES: [usize; 3] = [45, 109, 221];
/// Largest blob that can be parked in a mailbox, in bytes.
pub const MAX_BLOB: usize = 32_000;
