//! Parked blobs.

use meow_core::Result;
use meow_core::store::{
    BlobRecord, DepositOutcome, MailboxStore, PullOutcome, Quota, StoreStats, Write, WriteOutcome,
};

use super::{DAY, NOW, TOKEN, WIDE, commit_one, deposit, lkp, open_mailbox, put_within};

const STORED: WriteOutcome = WriteOutcome::Deposit(DepositOutcome::Stored);
const FULL: WriteOutcome = WriteOutcome::Deposit(DepositOutcome::Full);

fn record(mailbox: u8, counter: u64, name: u8, content: &[u8]) -> BlobRecord {
    BlobRecord {
        mailbox: lkp(mailbox),
        name: [name; 16],
        counter,
        expires: NOW + DAY,
        content: content.to_vec(),
    }
}

pub(super) fn park(
    store: &impl MailboxStore,
    mailbox: u8,
    counter: u64,
    name: u8,
    content: &[u8],
) -> Result<WriteOutcome> {
    commit_one(store, Write::Blob(record(mailbox, counter, name, content)), &WIDE)
}

pub(super) fn fetch(store: &impl MailboxStore, mailbox: u8, name: u8) -> Result<Option<Vec<u8>>> {
    store.blob(&lkp(mailbox), &TOKEN, &[name; 16], NOW)
}

/// A blob is there for the token until it expires, is replaced by its name, and obeys counters.
///
/// # Errors
/// Of the store.
pub fn blobs<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    let denied = WriteOutcome::Deposit(DepositOutcome::Denied);
    assert_eq!(park(&store, 1, 2, 1, b"early")?, denied, "no such mailbox");
    open_mailbox(&store, 1)?;
    let stale = WriteOutcome::Pull(PullOutcome::Stale(1));
    assert_eq!(park(&store, 1, 1, 1, b"stale")?, stale);
    assert_eq!(park(&store, 1, 2, 1, b"one")?, STORED);
    assert_eq!(park(&store, 1, 3, 2, b"two")?, STORED);
    assert_eq!(park(&store, 1, 4, 1, b"one, longer")?, STORED, "replaced");
    assert_eq!(store.stats()?, StoreStats { mailboxes: 1, items: 0, bytes: 14 });
    drop(store);
    let store = open()?;
    assert_eq!(fetch(&store, 1, 1)?.as_deref(), Some(&b"one, longer"[..]));
    assert_eq!(fetch(&store, 1, 2)?.as_deref(), Some(&b"two"[..]));
    assert_eq!(fetch(&store, 1, 3)?, None, "no such name");
    assert_eq!(fetch(&store, 2, 1)?, None, "no such mailbox");
    assert_eq!(store.blob(&lkp(1), &[0; 32], &[1; 16], NOW)?, None, "wrong token");
    assert_eq!(store.blob(&lkp(1), &TOKEN, &[1; 16], NOW + DAY)?, None, "expired");
    assert_eq!(park(&store, 1, 4, 1, b"replay")?, WriteOutcome::Pull(PullOutcome::Stale(4)));
    let large = vec![0x5a; 32_000];
    assert_eq!(park(&store, 1, 5, 2, &large)?, STORED);
    assert_eq!(fetch(&store, 1, 2)?, Some(large));
    Ok(())
}

/// Blobs count in the bytes of their mailbox and of the store, a replaced one by its new length; their number
/// is bounded like that of items. What is refused as full changes nothing.
///
/// # Errors
/// Of the store.
pub fn blobs_count_against_quotas<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    let quota = Quota { mailbox_items: 2, mailbox_bytes: 30, total_bytes: 40 };
    let park = |counter, name, content: &[u8]| {
        commit_one(&store, Write::Blob(record(1, counter, name, content)), &quota)
    };
    assert_eq!(park(2, 1, &[1; 20])?, STORED);
    assert_eq!(park(3, 2, &[2; 11])?, FULL);
    assert_eq!(park(3, 2, &[2; 10])?, STORED, "what was full took no counter");
    assert_eq!(put_within(&store, deposit(1, 1, b"x"), &quota)?, DepositOutcome::Full);
    assert_eq!(park(4, 1, &[3; 5])?, STORED, "smaller in its place");
    assert_eq!(park(5, 3, b"")?, FULL, "a third name");
    assert_eq!(put_within(&store, deposit(1, 1, &[4; 15]), &quota)?, DepositOutcome::Stored);
    assert_eq!(park(5, 1, &[5; 6])?, FULL);
    assert_eq!(fetch(&store, 1, 1)?, Some(vec![3; 5]));
    assert_eq!(store.stats()?, StoreStats { mailboxes: 1, items: 1, bytes: 30 });
    Ok(())
}
