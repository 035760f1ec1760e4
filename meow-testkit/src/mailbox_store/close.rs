//! Closing mailboxes for good.

use meow_core::Result;
use meow_core::store::{
    CloseBy, DepositOutcome, MailboxStore, PullOutcome, RegisterOutcome, Registration, StoreStats, Write,
    WriteOutcome,
};

use super::blob::{fetch, park};
use super::{CLOSE, acknowledge, counted, deposit, lkp, open_mailbox, put, register, registration, waiting};

fn close(store: &impl MailboxStore, mailbox: u8, counter: u64, by: CloseBy) -> Result<PullOutcome> {
    counted(store, Write::Close { mailbox: lkp(mailbox), counter, by })
}

/// The Lkp closes with a counter that is higher than those it used.
///
/// # Errors
/// Of the store.
pub fn close_by_lookup_key<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    open_mailbox(&store, 2)?;
    assert_eq!(put(&store, deposit(1, 1, b"a"))?, DepositOutcome::Stored);
    assert_eq!(put(&store, deposit(2, 1, b"b"))?, DepositOutcome::Stored);
    assert_eq!(close(&store, 3, 9, CloseBy::Lookup)?, PullOutcome::Denied, "no such mailbox");
    assert_eq!(close(&store, 1, 1, CloseBy::Lookup)?, PullOutcome::Stale(1));
    assert_eq!(waiting(&store, 1)?.len(), 1);
    assert_eq!(close(&store, 1, 2, CloseBy::Lookup)?, PullOutcome::Done);
    assert_eq!(close(&store, 1, 2, CloseBy::Lookup)?, PullOutcome::Done, "the answer was lost: again");
    assert_eq!(waiting(&store, 1)?, []);
    assert_eq!(waiting(&store, 2)?, [(1, b"b".to_vec())]);
    assert_eq!(store.stats()?, StoreStats { mailboxes: 1, items: 1, bytes: 1 });
    Ok(())
}

/// The close key closes whatever counters a thief of the Lkp used up and however he renewed the registration;
/// another key does not.
///
/// # Errors
/// Of the store.
pub fn close_by_close_key<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    let thief = Registration { close_hash: [0xbb; 32], ..registration(1, u64::MAX) };
    assert_eq!(register(&store, thief)?, RegisterOutcome::Done);
    assert_eq!(close(&store, 1, 5, CloseBy::Key([0xbb; 32]))?, PullOutcome::Denied, "the first hash holds");
    assert_eq!(close(&store, 2, 5, CloseBy::Key(CLOSE))?, PullOutcome::Denied, "no such mailbox");
    assert_eq!(close(&store, 1, 5, CloseBy::Key(CLOSE))?, PullOutcome::Done);
    assert_eq!(close(&store, 1, 5, CloseBy::Key(CLOSE))?, PullOutcome::Done, "again");
    assert_eq!(close(&store, 1, 6, CloseBy::Key([0xbb; 32]))?, PullOutcome::Denied, "still another key");
    assert_eq!(store.stats()?.mailboxes, 0);
    Ok(())
}

/// A closed mailbox takes nothing, gives nothing, and its key cannot be registered again, also after reopening.
///
/// # Errors
/// Of the store.
pub fn closed_is_for_good<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    assert_eq!(put(&store, deposit(1, 1, b"a"))?, DepositOutcome::Stored);
    let parked = park(&store, 1, 2, 1, b"blob")?;
    assert_eq!(parked, WriteOutcome::Deposit(DepositOutcome::Stored));
    assert_eq!(close(&store, 1, 3, CloseBy::Lookup)?, PullOutcome::Done);
    drop(store);
    let store = open()?;
    assert_eq!(register(&store, registration(1, 100))?, RegisterOutcome::Closed);
    assert_eq!(put(&store, deposit(1, 2, b"b"))?, DepositOutcome::Denied);
    assert_eq!(acknowledge(&store, 1, 100, 1)?, PullOutcome::Denied);
    assert_eq!(park(&store, 1, 100, 1, b"blob")?, WriteOutcome::Deposit(DepositOutcome::Denied));
    assert_eq!(fetch(&store, 1, 1)?, None);
    assert_eq!(waiting(&store, 1)?, []);
    assert_eq!(store.stats()?, StoreStats::default());
    Ok(())
}
