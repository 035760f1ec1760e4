//! What the engines need of storage. Implementations live outside; `meow-testkit` has a conformance suite
//! for each trait.

mod client;
mod mailbox;

pub use client::{ClientStore, MAX_SEARCH_WORDS, StoreTxn, Table};
pub use mailbox::{
    BlobRecord, Charge, CloseBy, DepositOutcome, MailboxStore, NewDeposit, Page, PullOutcome, Quota,
    RegisterOutcome, Registration, StoreStats, StoredItem, Write, WriteOutcome,
};
