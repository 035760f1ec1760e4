//! The conformance suite of [`MailboxStore`].
//!
//! Each check takes a function that opens the store at one place, empty at first, and opens the same place
//! again after the earlier value was dropped. [`mailbox_store_suite!`](crate::mailbox_store_suite) makes a
//! test of each:
//!
//! ```ignore
//! fn place() -> impl Fn() -> meow_core::Result<MyStore> {
//!     let folder = tempfile::tempdir().unwrap();
//!     move || MyStore::open(folder.path())
//! }
//! meow_testkit::mailbox_store_suite!(place);
//! ```
//!
//! The checks assert, and hand back the error of a store call that should have worked.

mod batch;
mod blob;
mod close;
mod deposit;
mod expiry;
mod numbers;
mod page;
mod register;

pub use batch::{batches_apply_in_order, many_writers, refusals_leave_no_trace};
pub use blob::{blobs, blobs_count_against_quotas};
pub use close::{close_by_close_key, close_by_lookup_key, closed_is_for_good};
pub use deposit::{deposits_need_the_token, quotas_answer_full, same_deposit_is_stored_once};
pub use expiry::{expired_goes, expiry_is_bounded};
pub use numbers::{acknowledged_goes, counters_only_rise, numbers_are_never_reused};
pub use page::{pages_by_bytes, pages_by_items};
pub use register::{invitations, register_and_renew};

use meow_core::store::{
    Charge, DepositOutcome, MailboxStore, NewDeposit, Page, PullOutcome, Quota, RegisterOutcome,
    Registration, Write, WriteOutcome,
};
use meow_core::{Error, ErrorKind, Result};

/// Makes a `#[test]` of each check. The argument names a function without arguments that returns a new, empty
/// place as `impl Fn() -> meow_core::Result<impl MailboxStore>`.
#[macro_export]
macro_rules! mailbox_store_suite {
    ($place:path) => {
        $crate::mailbox_store_suite! { @tests $place:
            register_and_renew invitations
            deposits_need_the_token same_deposit_is_stored_once quotas_answer_full
            counters_only_rise numbers_are_never_reused acknowledged_goes
            pages_by_bytes pages_by_items
            close_by_lookup_key close_by_close_key closed_is_for_good
            blobs blobs_count_against_quotas
            expired_goes expiry_is_bounded
            batches_apply_in_order refusals_leave_no_trace many_writers
        }
    };
    (@tests $place:path: $($check:ident)*) => {$(
        #[test]
        fn $check() -> ::meow_core::Result<()> {
            $crate::mailbox_store::$check($place())
        }
    )*};
}

/// The suite's time of day, in Unix seconds.
pub(crate) const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;
const TOKEN: [u8; 32] = [0x70; 32];
const CLOSE: [u8; 32] = [0xc1; 32];

/// Limits that no check reaches by accident.
const WIDE: Quota = Quota { mailbox_items: 1_000_000, mailbox_bytes: 1 << 40, total_bytes: 1 << 40 };

/// The Lkp of the suite's mailbox of this number.
fn lkp(number: u8) -> [u8; 32] {
    [number; 32]
}

fn id(number: u32) -> [u8; 16] {
    let mut id = [0x1d; 16];
    id.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    id
}

fn registration(mailbox: u8, counter: u64) -> Registration {
    Registration {
        mailbox: lkp(mailbox),
        token_hash: TOKEN,
        close_hash: CLOSE,
        counter,
        charge: Charge::Free,
    }
}

fn deposit(mailbox: u8, number: u32, item: &[u8]) -> NewDeposit {
    NewDeposit {
        mailbox: lkp(mailbox),
        token_hash: TOKEN,
        id: id(number),
        expires: NOW + 30 * DAY,
        item: item.to_vec(),
    }
}

fn unexpected(what: &WriteOutcome) -> Error {
    Error::new(ErrorKind::Bug, format!("the store answered {what:?} to another kind of write"))
}

/// One write, with wide limits.
fn commit_one(store: &impl MailboxStore, write: Write, quota: &Quota) -> Result<WriteOutcome> {
    let mut outcomes = store.commit(&[write], quota, NOW)?;
    assert_eq!(outcomes.len(), 1, "one outcome for one write");
    outcomes.pop().ok_or_else(|| Error::new(ErrorKind::Bug, "no outcome"))
}

fn register(store: &impl MailboxStore, r: Registration) -> Result<RegisterOutcome> {
    match commit_one(store, Write::Register(r), &WIDE)? {
        WriteOutcome::Register(outcome) => Ok(outcome),
        other => Err(unexpected(&other)),
    }
}

/// A new mailbox, whose highest counter is 1.
fn open_mailbox(store: &impl MailboxStore, mailbox: u8) -> Result<()> {
    assert_eq!(register(store, registration(mailbox, 1))?, RegisterOutcome::Done);
    Ok(())
}

fn put_within(store: &impl MailboxStore, d: NewDeposit, quota: &Quota) -> Result<DepositOutcome> {
    match commit_one(store, Write::Deposit(d), quota)? {
        WriteOutcome::Deposit(outcome) => Ok(outcome),
        other => Err(unexpected(&other)),
    }
}

fn put(store: &impl MailboxStore, d: NewDeposit) -> Result<DepositOutcome> {
    put_within(store, d, &WIDE)
}

fn counted(store: &impl MailboxStore, write: Write) -> Result<PullOutcome> {
    match commit_one(store, write, &WIDE)? {
        WriteOutcome::Pull(outcome) => Ok(outcome),
        other => Err(unexpected(&other)),
    }
}

fn acknowledge(store: &impl MailboxStore, mailbox: u8, counter: u64, upto: u64) -> Result<PullOutcome> {
    counted(store, Write::Acknowledge { mailbox: lkp(mailbox), counter, upto })
}

/// Everything that waits in a mailbox.
fn all(store: &impl MailboxStore, mailbox: u8) -> Result<Page> {
    store.items(&lkp(mailbox), 0, usize::MAX, usize::MAX, 0, NOW)
}

/// The numbers and contents of everything that waits in a mailbox.
fn waiting(store: &impl MailboxStore, mailbox: u8) -> Result<Vec<(u64, Vec<u8>)>> {
    let page = all(store, mailbox)?;
    assert!(!page.more, "without limits nothing is left out");
    assert_eq!(page.next_len, None);
    Ok(page.items.into_iter().map(|item| (item.number, item.item)).collect())
}
