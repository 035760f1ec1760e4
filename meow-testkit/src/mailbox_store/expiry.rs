//! What has had its time.

use meow_core::Result;
use meow_core::store::{
    BlobRecord, Charge, DepositOutcome, MailboxStore, NewDeposit, PullOutcome, Quota, RegisterOutcome,
    Registration, StoreStats, Write,
};

use super::blob::fetch;
use super::{
    DAY, NOW, WIDE, acknowledge, commit_one, deposit, lkp, open_mailbox, put, put_within, register,
    registration, waiting,
};

fn brief(mailbox: u8, number: u32, item: &[u8]) -> NewDeposit {
    NewDeposit { expires: NOW + 10, ..deposit(mailbox, number, item) }
}

/// Items, blobs and invitations are gone at their second, seen or not, and sweeping frees their room.
///
/// # Errors
/// Of the store.
pub fn expired_goes<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    assert_eq!(put(&store, brief(1, 1, b"brief"))?, DepositOutcome::Stored);
    assert_eq!(put(&store, deposit(1, 2, b"long"))?, DepositOutcome::Stored);
    let blob = BlobRecord {
        mailbox: lkp(1),
        name: [1; 16],
        counter: 2,
        expires: NOW + 10,
        content: b"blob".to_vec(),
    };
    commit_one(&store, Write::Blob(blob), &WIDE)?;
    store.add_invite(&[1; 32], 1, NOW + 10)?;

    assert_eq!(store.expire(NOW + 9, 100)?, 0, "not yet");
    assert_eq!(waiting(&store, 1)?.len(), 2);
    let later = store.items(&lkp(1), 0, 100, 1000, 0, NOW + 10)?;
    assert_eq!(
        later.items.iter().map(|item| item.number).collect::<Vec<_>>(),
        [2],
        "hidden before the sweep"
    );
    assert!(store.expire(NOW + 10, 100)? >= 2);
    assert_eq!(store.expire(NOW + 10, 100)?, 0, "once");
    assert_eq!(store.stats()?, StoreStats { mailboxes: 1, items: 1, bytes: 4 });
    assert_eq!(waiting(&store, 1)?, [(2, b"long".to_vec())]);
    assert_eq!(fetch(&store, 1, 1)?, None);
    let invited = Registration { charge: Charge::Invite([1; 32]), ..registration(2, 1) };
    assert_eq!(register(&store, invited)?, RegisterOutcome::NotInvited);
    let two = Quota { mailbox_items: 2, ..WIDE };
    assert_eq!(put_within(&store, deposit(1, 3, b"room"), &two)?, DepositOutcome::Stored);
    assert_eq!(waiting(&store, 1)?.last().map(|item| item.0), Some(3));
    drop(store);
    let store = open()?;
    assert_eq!(store.stats()?, StoreStats { mailboxes: 1, items: 2, bytes: 8 });
    Ok(())
}

/// A sweep deletes at most as many rows as it may, and repeated sweeps reach everything. The ids of what was
/// acknowledged are forgotten at last, so that they do not pile up.
///
/// # Errors
/// Of the store.
pub fn expiry_is_bounded<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    open_mailbox(&store, 2)?;
    for n in 0..20 {
        assert_eq!(put(&store, brief(1, n, b"brief"))?, DepositOutcome::Stored);
        assert_eq!(put(&store, deposit(2, n, b"long"))?, DepositOutcome::Stored);
    }
    assert_eq!(store.expire(NOW + 10, 7)?, 7);
    assert_eq!(store.stats()?.items, 33);
    assert_eq!(store.expire(NOW + 10, 7)?, 7);
    assert_eq!(store.expire(NOW + 10, 7)?, 6);
    assert_eq!(store.stats()?, StoreStats { mailboxes: 2, items: 20, bytes: 80 });
    assert_eq!(acknowledge(&store, 2, 2, 20)?, PullOutcome::Done);
    assert_eq!(store.stats()?.items, 0);
    let far = NOW + 365 * DAY;
    let mut rounds = 0;
    while store.expire(far, 8)? > 0 {
        rounds += 1;
        assert!(rounds < 100, "sweeping comes to an end");
    }
    assert_eq!(store.expire(far, 8)?, 0);
    Ok(())
}
