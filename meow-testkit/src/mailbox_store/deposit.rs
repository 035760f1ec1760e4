//! Storing items: the token, the same deposit again, quotas.

use meow_core::Result;
use meow_core::store::{DepositOutcome, MailboxStore, PullOutcome, Quota, StoreStats};

use super::{WIDE, acknowledge, deposit, lkp, open_mailbox, put, put_within, waiting};

/// Only the right token stores, and a missing mailbox answers like a wrong token and looks empty.
///
/// # Errors
/// Of the store.
pub fn deposits_need_the_token<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    let mut wrong = deposit(1, 1, b"x");
    wrong.token_hash = [0; 32];
    assert_eq!(put(&store, wrong)?, DepositOutcome::Denied);
    assert_eq!(put(&store, deposit(2, 1, b"x"))?, DepositOutcome::Denied);
    assert_eq!(waiting(&store, 1)?, []);
    assert_eq!(waiting(&store, 2)?, []);
    assert_eq!(store.stats()?, StoreStats { mailboxes: 1, items: 0, bytes: 0 });
    assert_eq!(put(&store, deposit(1, 1, b""))?, DepositOutcome::Stored, "an empty item is an item");
    let large = vec![0xa5; 32_608];
    assert_eq!(put(&store, deposit(1, 2, &large))?, DepositOutcome::Stored);
    drop(store);
    let store = open()?;
    assert_eq!(waiting(&store, 1)?, [(1, Vec::new()), (2, large)]);
    assert_eq!(store.stats()?, StoreStats { mailboxes: 1, items: 2, bytes: 32_608 });
    Ok(())
}

/// The same id in the same mailbox is confirmed without a second copy: in one batch, later, after reopening,
/// when the mailbox is full, and after it was acknowledged. In another mailbox it is another deposit.
///
/// # Errors
/// Of the store.
pub fn same_deposit_is_stored_once<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    open_mailbox(&store, 2)?;
    let twice = [deposit(1, 7, b"one"), deposit(1, 7, b"one")].map(meow_core::store::Write::Deposit);
    assert_eq!(store.commit(&twice, &WIDE, super::NOW)?.len(), 2);
    assert_eq!(put(&store, deposit(1, 7, b"one"))?, DepositOutcome::Stored);
    assert_eq!(put(&store, deposit(2, 7, b"two"))?, DepositOutcome::Stored);
    let none_left = Quota { mailbox_items: 1, ..WIDE };
    assert_eq!(put_within(&store, deposit(1, 7, b"one"), &none_left)?, DepositOutcome::Stored, "when full");
    drop(store);

    let store = open()?;
    assert_eq!(put(&store, deposit(1, 7, b"one"))?, DepositOutcome::Stored, "after reopening");
    assert_eq!(waiting(&store, 1)?, [(1, b"one".to_vec())]);
    assert_eq!(waiting(&store, 2)?, [(1, b"two".to_vec())]);
    assert_eq!(acknowledge(&store, 1, 2, 1)?, PullOutcome::Done);
    drop(store);

    let store = open()?;
    assert_eq!(put(&store, deposit(1, 7, b"one"))?, DepositOutcome::Stored, "after it was acknowledged");
    assert_eq!(waiting(&store, 1)?, []);
    assert_eq!(put(&store, deposit(1, 8, b"next"))?, DepositOutcome::Stored);
    assert_eq!(waiting(&store, 1)?, [(2, b"next".to_vec())]);
    Ok(())
}

/// Each quota answers `Full` at its exact bound and drops nothing; acknowledging makes room; the sums survive
/// reopening.
///
/// # Errors
/// Of the store.
pub fn quotas_answer_full<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    open_mailbox(&store, 2)?;
    let ten = [7; 10];
    let items = Quota { mailbox_items: 2, ..WIDE };
    assert_eq!(put_within(&store, deposit(1, 1, &ten), &items)?, DepositOutcome::Stored);
    assert_eq!(put_within(&store, deposit(1, 2, &ten), &items)?, DepositOutcome::Stored);
    assert_eq!(put_within(&store, deposit(1, 3, &ten), &items)?, DepositOutcome::Full);
    assert_eq!(put_within(&store, deposit(2, 1, &ten), &items)?, DepositOutcome::Stored, "per mailbox");
    drop(store);

    let store = open()?;
    let bytes = Quota { mailbox_bytes: 29, ..WIDE };
    assert_eq!(put_within(&store, deposit(1, 3, &ten), &bytes)?, DepositOutcome::Full);
    assert_eq!(put_within(&store, deposit(1, 3, &ten[..9]), &bytes)?, DepositOutcome::Stored, "to the byte");
    assert_eq!(put_within(&store, deposit(1, 4, b"x"), &bytes)?, DepositOutcome::Full);
    let total = Quota { total_bytes: 40, ..WIDE };
    assert_eq!(put_within(&store, deposit(2, 2, b"x"), &total)?, DepositOutcome::Stored);
    assert_eq!(put_within(&store, deposit(2, 3, b"x"), &total)?, DepositOutcome::Full, "in all mailboxes");
    assert_eq!(store.stats()?, StoreStats { mailboxes: 2, items: 5, bytes: 40 });
    assert_eq!(waiting(&store, 1)?.len(), 3, "nothing was dropped");

    assert_eq!(acknowledge(&store, 1, 2, 1)?, PullOutcome::Done);
    assert_eq!(put_within(&store, deposit(1, 4, &ten), &total)?, DepositOutcome::Stored, "room again");
    let numbers: Vec<u64> = waiting(&store, 1)?.iter().map(|item| item.0).collect();
    assert_eq!(numbers, [2, 3, 4]);
    assert!(store.items(&lkp(1), 4, 10, 1000, 0, super::NOW)?.items.is_empty());
    Ok(())
}
