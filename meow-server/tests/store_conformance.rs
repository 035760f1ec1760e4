//! The embedded store passes the public suite.
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use meow_core::crypto::Secret;
use meow_server::store::{SqliteMailboxStore, StoreOptions};

fn place() -> impl Fn() -> meow_core::Result<SqliteMailboxStore> {
    let folder = tempfile::tempdir().unwrap();
    move || {
        let path = folder.path().join("mailboxes.db");
        SqliteMailboxStore::open(&path, &Secret::new([7; 32]), StoreOptions::default())
    }
}

meow_testkit::mailbox_store_suite!(place);
