//! What the tests of the store share: a filled store and what must be found in it.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use meow_core::crypto::Secret;
use meow_core::store::{BlobRecord, Charge, CloseBy, MailboxStore, NewDeposit, Quota, Registration, Write};
use meow_server::store::{SqliteMailboxStore, StoreOptions};

pub const NOW: u64 = 1_800_000_000;
pub const TOKEN: [u8; 32] = [0x70; 32];
pub const WIDE: Quota = Quota { mailbox_items: 1 << 30, mailbox_bytes: 1 << 40, total_bytes: 1 << 40 };

pub fn key() -> Secret {
    Secret::new([0x42; 32])
}

pub fn open(path: &Path) -> meow_core::Result<SqliteMailboxStore> {
    SqliteMailboxStore::open(path, &key(), StoreOptions::default())
}

pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub fn lkp(mailbox: u32) -> [u8; 32] {
    let mut lkp = [0x1c; 32];
    // Spread over the whole range, as public keys are.
    lkp[..4].copy_from_slice(&mailbox.wrapping_mul(0x9e37_79b9).to_be_bytes());
    lkp
}

pub fn registration(mailbox: u32) -> Registration {
    Registration {
        mailbox: lkp(mailbox),
        token_hash: TOKEN,
        close_hash: [0xc1; 32],
        counter: 1,
        charge: Charge::Free,
    }
}

pub fn register(mailbox: u32) -> Write {
    Write::Register(registration(mailbox))
}

pub fn deposit(mailbox: u32, number: u64, item: Vec<u8>) -> Write {
    let mut id = [0x1d; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Write::Deposit(NewDeposit {
        mailbox: lkp(mailbox),
        token_hash: TOKEN,
        id,
        expires: NOW + 30 * 86_400,
        item,
    })
}

/// An item that shows what it is.
pub fn body(number: u64, len: usize) -> Vec<u8> {
    let mut body = vec![number as u8; len];
    body[..8].copy_from_slice(&number.to_be_bytes());
    body
}

pub fn acknowledge(mailbox: u32, counter: u64, upto: u64) -> Write {
    Write::Acknowledge { mailbox: lkp(mailbox), counter, upto }
}

pub fn close(mailbox: u32, counter: u64) -> Write {
    Write::Close { mailbox: lkp(mailbox), counter, by: CloseBy::Lookup }
}

pub fn blob(mailbox: u32, counter: u64, content: Vec<u8>) -> Write {
    Write::Blob(BlobRecord { mailbox: lkp(mailbox), name: [1; 16], counter, expires: NOW + 86_400, content })
}

pub fn commit(store: &SqliteMailboxStore, batch: &[Write]) {
    store.commit(batch, &WIDE, NOW).unwrap();
}

/// The contents that wait in a mailbox.
pub fn waiting(store: &SqliteMailboxStore, mailbox: u32) -> meow_core::Result<Vec<Vec<u8>>> {
    let page = store.items(&lkp(mailbox), 0, usize::MAX, usize::MAX, 0, NOW)?;
    Ok(page.items.into_iter().map(|item| item.item).collect())
}

/// This test binary again, running only the ignored test of this name, with one argument in `MEOW_CHILD`.
pub fn child(test: &str, argument: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("MEOW_CHILD", argument).stdin(Stdio::null());
    command
}

/// What the parent handed to this child; none when the test was not started by its parent.
pub fn argument() -> Option<String> {
    std::env::var("MEOW_CHILD").ok()
}

/// Changes the tables behind the store's back.
pub fn edit(path: &Path, sql: &str) {
    let raw = rusqlite::Connection::open(path).unwrap();
    let hex: String = key().expose().iter().chain(b"meow mailboxes 1").map(|b| format!("{b:02x}")).collect();
    raw.execute_batch(&format!(
        "PRAGMA key = \"x'{hex}'\"; PRAGMA cipher_hmac_algorithm = HMAC_SHA256; {sql}"
    ))
    .unwrap();
}

/// The files of a store as a crash leaves them.
pub struct Remains {
    pub main: Vec<u8>,
    pub wal: Vec<u8>,
    pub log: Vec<u8>,
}

impl Remains {
    pub fn of(path: &Path) -> Self {
        let read = |suffix| fs::read(beside(path, suffix)).unwrap();
        Self { main: read(""), wal: read("-wal"), log: read("-log") }
    }

    pub fn put(&self, path: &Path) {
        for (suffix, bytes) in [("", &self.main), ("-wal", &self.wal), ("-log", &self.log)] {
            fs::write(beside(path, suffix), bytes).unwrap();
        }
        let _ = fs::remove_file(beside(path, "-shm"));
    }

    /// Opens what is left in another place, and counts the items of mailbox 1: all from the first one on.
    pub fn reopen(&self, path: &Path) -> meow_core::Result<usize> {
        self.put(path);
        let store = open(path)?;
        let items = waiting(&store, 1)?;
        for (n, item) in (0..).zip(&items) {
            assert!(*item == body(n, 900));
        }
        assert_eq!(store.stats()?.items, items.len() as u64);
        Ok(items.len())
    }
}
