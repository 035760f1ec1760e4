//! Batches: order, atomicity, durability.

use std::sync::Arc;
use std::thread;

use meow_core::store::{DepositOutcome, MailboxStore, PullOutcome, RegisterOutcome, Write, WriteOutcome};
use meow_core::{Error, ErrorKind, Result};

use super::{NOW, WIDE, deposit, lkp, open_mailbox, registration, waiting};

/// Writes of one batch see each other in order, and each has its own outcome.
///
/// # Errors
/// Of the store.
pub fn batches_apply_in_order<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    let batch = [
        Write::Deposit(deposit(1, 1, b"before there is a mailbox")),
        Write::Register(registration(1, 1)),
        Write::Deposit(deposit(1, 1, b"one")),
        Write::Deposit(deposit(1, 2, b"two")),
        Write::Acknowledge { mailbox: lkp(1), counter: 2, upto: 1 },
        Write::Acknowledge { mailbox: lkp(1), counter: 2, upto: 2 },
        Write::Deposit(deposit(1, 3, b"three")),
        Write::Register(registration(1, 1)),
    ];
    let outcomes = store.commit(&batch, &WIDE, NOW)?;
    let expected = [
        WriteOutcome::Deposit(DepositOutcome::Denied),
        WriteOutcome::Register(RegisterOutcome::Done),
        WriteOutcome::Deposit(DepositOutcome::Stored),
        WriteOutcome::Deposit(DepositOutcome::Stored),
        WriteOutcome::Pull(PullOutcome::Done),
        WriteOutcome::Pull(PullOutcome::Stale(2)),
        WriteOutcome::Deposit(DepositOutcome::Stored),
        WriteOutcome::Register(RegisterOutcome::Stale(2)),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(store.commit(&[], &WIDE, NOW)?, []);
    drop(store);
    assert_eq!(waiting(&open()?, 1)?, [(2, b"two".to_vec()), (3, b"three".to_vec())]);
    Ok(())
}

/// A refused write in a batch leaves its neighbours applied and itself without a trace, also after reopening.
///
/// # Errors
/// Of the store.
pub fn refusals_leave_no_trace<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    let mut wrong = deposit(1, 2, b"wrong token");
    wrong.token_hash = [0; 32];
    let batch = [
        Write::Deposit(deposit(1, 1, b"one")),
        Write::Deposit(wrong),
        Write::Deposit(deposit(9, 3, b"no mailbox")),
        Write::Deposit(deposit(1, 4, b"four")),
    ];
    store.commit(&batch, &WIDE, NOW)?;
    drop(store);
    let store = open()?;
    assert_eq!(waiting(&store, 1)?, [(1, b"one".to_vec()), (2, b"four".to_vec())]);
    assert_eq!(store.stats()?.items, 2);
    Ok(())
}

/// Several threads write and read at once: every confirmed deposit is there once, and numbers have no gap.
///
/// # Errors
/// Of the store.
pub fn many_writers<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    const WRITERS: u32 = 4;
    const EACH: u32 = 25;
    let store = Arc::new(open()?);
    open_mailbox(&*store, 1)?;
    let workers: Vec<_> = (0..WRITERS)
        .map(|w| {
            let store = Arc::clone(&store);
            thread::spawn(move || -> Result<()> {
                for n in 0..EACH {
                    let number = w * EACH + n;
                    let write = Write::Deposit(deposit(1, number, &number.to_be_bytes()));
                    let outcome = store.commit(&[write], &WIDE, NOW)?;
                    assert_eq!(outcome, [WriteOutcome::Deposit(DepositOutcome::Stored)]);
                    let seen = waiting(&*store, 1)?;
                    assert!(seen.iter().any(|item| item.1 == number.to_be_bytes()), "confirmed is readable");
                }
                Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| Error::new(ErrorKind::Bug, "a writer panicked"))??;
    }
    drop(store);
    let items = waiting(&open()?, 1)?;
    let numbers: Vec<u64> = items.iter().map(|item| item.0).collect();
    assert_eq!(numbers, (1..=u64::from(WRITERS * EACH)).collect::<Vec<_>>());
    let mut bodies: Vec<_> = items.into_iter().map(|item| item.1).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 100);
    Ok(())
}
