//! The conformance suite of [`ClientStore`].
//!
//! Each check takes a function that opens the store at one place, empty at first. The function is called
//! several times, also while earlier values are still open: all of them hold the same content, as two
//! processes do. [`client_store_suite!`](crate::client_store_suite) makes a test of each check:
//!
//! ```ignore
//! fn place() -> impl Fn() -> meow_core::Result<MyStore> {
//!     let folder = tempfile::tempdir().unwrap();
//!     move || MyStore::open(folder.path())
//! }
//! meow_testkit::client_store_suite!(place);
//! ```
//!
//! The checks assert, and hand back the error of a store call that should have worked. What only a real crash
//! shows (durability, damage, a full disk) is for the store's own tests.

mod entries;
mod scan;
mod search;
mod txn;

pub use entries::{entries_are_kept, many_entries, tables_are_apart};
pub use scan::{scans_follow_after, scans_keep_to_the_prefix, scans_match_a_sorted_list};
pub use search::{search_finds_words, search_follows_changes, search_takes_any_text};
pub use txn::{
    failed_work_changes_nothing, handles_see_each_other, no_update_is_lost, panicked_work_changes_nothing,
    readers_see_one_state, reads_cannot_write, work_sees_its_own_changes,
};

use meow_core::store::{ClientStore, StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};

/// Makes a `#[test]` of each check. The argument names a function without arguments that returns a new, empty
/// place as `impl Fn() -> meow_core::Result<impl ClientStore>`.
#[macro_export]
macro_rules! client_store_suite {
    ($place:path) => {
        $crate::client_store_suite! { @tests $place:
            entries_are_kept tables_are_apart many_entries
            scans_keep_to_the_prefix scans_follow_after scans_match_a_sorted_list
            work_sees_its_own_changes failed_work_changes_nothing panicked_work_changes_nothing
            reads_cannot_write readers_see_one_state handles_see_each_other no_update_is_lost
            search_finds_words search_follows_changes search_takes_any_text
        }
    };
    (@tests $place:path: $($check:ident)*) => {$(
        #[test]
        fn $check() -> ::meow_core::Result<()> {
            $crate::client_store::$check($place())
        }
    )*};
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// The value of `read`'s work.
fn look<T>(store: &impl ClientStore, mut work: impl FnMut(&dyn StoreTxn) -> Result<T>) -> Result<T> {
    let mut seen = None;
    store.read(&mut |txn| {
        seen = Some(work(txn)?);
        Ok(())
    })?;
    seen.ok_or_else(|| Error::new(ErrorKind::Bug, "read returned well without running its work"))
}

fn put(store: &impl ClientStore, table: Table, entries: &[(&[u8], &[u8])]) -> Result<()> {
    store.write(&mut |txn| entries.iter().try_for_each(|(key, value)| txn.put(table, key, value)))
}

fn value(store: &impl ClientStore, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
    look(store, |txn| txn.get(table, key))
}

fn everything(store: &impl ClientStore, table: Table) -> Result<Entries> {
    look(store, |txn| txn.scan(table, b"", None, usize::MAX, false))
}
