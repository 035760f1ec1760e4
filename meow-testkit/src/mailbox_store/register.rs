//! Making mailboxes.

use meow_core::Result;
use meow_core::store::{Charge, DepositOutcome, MailboxStore, RegisterOutcome, Registration};

use super::{NOW, deposit, open_mailbox, put, register, registration};

/// A registration makes a mailbox; a higher counter renews its token, a lower or equal one is stale; all of it
/// survives reopening.
///
/// # Errors
/// Of the store.
pub fn register_and_renew<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    assert_eq!(store.stats()?.mailboxes, 0);
    assert_eq!(put(&store, deposit(1, 1, b"early"))?, DepositOutcome::Denied);
    assert_eq!(register(&store, registration(1, 5))?, RegisterOutcome::Done);
    assert_eq!(register(&store, registration(1, 5))?, RegisterOutcome::Stale(5), "the same again");
    assert_eq!(register(&store, registration(1, 4))?, RegisterOutcome::Stale(5));
    assert_eq!(put(&store, deposit(1, 1, b"first"))?, DepositOutcome::Stored);

    let renewed = Registration { token_hash: [9; 32], ..registration(1, 6) };
    assert_eq!(register(&store, renewed.clone())?, RegisterOutcome::Done);
    assert_eq!(put(&store, deposit(1, 2, b"old token"))?, DepositOutcome::Denied);
    let mut by_new = deposit(1, 3, b"new token");
    by_new.token_hash = [9; 32];
    assert_eq!(put(&store, by_new)?, DepositOutcome::Stored);
    assert_eq!(super::waiting(&store, 1)?, [(1, b"first".to_vec()), (2, b"new token".to_vec())]);
    drop(store);

    let store = open()?;
    assert_eq!(register(&store, renewed)?, RegisterOutcome::Stale(6), "counters survive reopening");
    assert_eq!(store.stats()?.mailboxes, 1, "renewing makes no second mailbox");
    // The whole range of counters is good.
    assert_eq!(register(&store, registration(1, u64::MAX - 1))?, RegisterOutcome::Done);
    assert_eq!(register(&store, registration(1, u64::MAX))?, RegisterOutcome::Done);
    assert_eq!(register(&store, registration(1, 1 << 63))?, RegisterOutcome::Stale(u64::MAX));
    Ok(())
}

/// An invitation is good for its uses, until it expires, across reopening; renewing a mailbox costs none.
///
/// # Errors
/// Of the store.
pub fn invitations<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let invited = |mailbox: u8, hash: u8| Registration {
        charge: Charge::Invite([hash; 32]),
        ..registration(mailbox, 1)
    };
    let store = open()?;
    assert_eq!(register(&store, invited(1, 1))?, RegisterOutcome::NotInvited, "unknown");
    store.add_invite(&[1; 32], 2, NOW + 10)?;
    assert_eq!(register(&store, invited(1, 1))?, RegisterOutcome::Done);
    assert_eq!(register(&store, invited(1, 1))?, RegisterOutcome::Stale(1), "a repeat takes no use");
    drop(store);

    let store = open()?;
    let renewed = Registration { counter: 2, ..invited(1, 1) };
    assert_eq!(register(&store, renewed)?, RegisterOutcome::Done, "renewing takes no use");
    assert_eq!(register(&store, invited(2, 1))?, RegisterOutcome::Done);
    assert_eq!(register(&store, invited(3, 1))?, RegisterOutcome::NotInvited, "used up");
    assert_eq!(store.stats()?.mailboxes, 2);

    store.add_invite(&[2; 32], 5, NOW)?;
    assert_eq!(register(&store, invited(4, 2))?, RegisterOutcome::NotInvited, "expired now");
    store.add_invite(&[3; 32], 0, NOW + 10)?;
    assert_eq!(register(&store, invited(4, 3))?, RegisterOutcome::NotInvited, "no uses");
    store.add_invite(&[3; 32], 1, NOW + 10)?;
    assert_eq!(register(&store, invited(4, 3))?, RegisterOutcome::Done, "set anew");
    open_mailbox(&store, 5)
}
