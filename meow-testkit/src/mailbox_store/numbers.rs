//! Item numbers and request counters.

use meow_core::Result;
use meow_core::store::{DepositOutcome, MailboxStore, PullOutcome, StoreStats};

use super::{acknowledge, deposit, open_mailbox, put, waiting};

/// A counter that was used, or a lower one, is stale and changes nothing, also after reopening.
///
/// # Errors
/// Of the store.
pub fn counters_only_rise<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    assert_eq!(put(&store, deposit(1, 1, b"kept"))?, DepositOutcome::Stored);
    assert_eq!(acknowledge(&store, 1, 1, 1)?, PullOutcome::Stale(1), "the registration took 1");
    assert_eq!(acknowledge(&store, 1, 10, 0)?, PullOutcome::Done, "acknowledges nothing, takes the counter");
    assert_eq!(acknowledge(&store, 1, 10, 1)?, PullOutcome::Stale(10));
    assert_eq!(acknowledge(&store, 2, 10, 1)?, PullOutcome::Denied, "no such mailbox");
    drop(store);
    let store = open()?;
    for counter in 0..=10 {
        assert_eq!(acknowledge(&store, 1, counter, 1)?, PullOutcome::Stale(10), "replayed after a restart");
    }
    assert_eq!(waiting(&store, 1)?, [(1, b"kept".to_vec())]);
    assert_eq!(acknowledge(&store, 1, u64::MAX, u64::MAX)?, PullOutcome::Done);
    assert_eq!(waiting(&store, 1)?, []);
    Ok(())
}

/// Numbers start at 1, rise by arrival in each mailbox, and are not used again after everything was
/// acknowledged and the store was reopened.
///
/// # Errors
/// Of the store.
pub fn numbers_are_never_reused<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    open_mailbox(&store, 2)?;
    for n in 1..=3 {
        assert_eq!(put(&store, deposit(1, n, b"a"))?, DepositOutcome::Stored);
        assert_eq!(put(&store, deposit(2, n, b"b"))?, DepositOutcome::Stored);
    }
    let numbers = |store: &S, mailbox| -> Result<Vec<u64>> {
        Ok(waiting(store, mailbox)?.into_iter().map(|item| item.0).collect())
    };
    assert_eq!(numbers(&store, 1)?, [1, 2, 3]);
    assert_eq!(numbers(&store, 2)?, [1, 2, 3]);
    // More than was ever given: only what there is goes, and later numbers are not swallowed.
    assert_eq!(acknowledge(&store, 1, 2, 1_000)?, PullOutcome::Done);
    drop(store);
    let store = open()?;
    assert_eq!(put(&store, deposit(1, 4, b"later"))?, DepositOutcome::Stored);
    assert_eq!(waiting(&store, 1)?, [(4, b"later".to_vec())]);
    assert_eq!(numbers(&store, 2)?, [1, 2, 3]);
    Ok(())
}

/// Acknowledging deletes what is numbered up to the bound, in its own mailbox only, once.
///
/// # Errors
/// Of the store.
pub fn acknowledged_goes<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    open_mailbox(&store, 2)?;
    for n in 1..=5 {
        assert_eq!(put(&store, deposit(1, n, &[1; 100]))?, DepositOutcome::Stored);
    }
    assert_eq!(put(&store, deposit(2, 1, b"other"))?, DepositOutcome::Stored);
    assert_eq!(acknowledge(&store, 1, 2, 3)?, PullOutcome::Done);
    assert_eq!(acknowledge(&store, 1, 3, 3)?, PullOutcome::Done, "again, nothing more goes");
    let left: Vec<u64> = waiting(&store, 1)?.iter().map(|item| item.0).collect();
    assert_eq!(left, [4, 5]);
    assert_eq!(store.stats()?, StoreStats { mailboxes: 2, items: 3, bytes: 205 });
    drop(store);
    let store = open()?;
    assert_eq!(waiting(&store, 1)?.len(), 2);
    assert_eq!(waiting(&store, 2)?.len(), 1);
    assert_eq!(store.stats()?, StoreStats { mailboxes: 2, items: 3, bytes: 205 });
    Ok(())
}
