//! Damaged, foreign and newer files: errors that name the cause, never an empty mailbox.
use std::fs;
use std::path::Path;

use crate::support::{
    NOW, TOKEN, WIDE, acknowledge, beside, blob, body, close, commit, deposit, key, lkp, open, register,
    waiting,
};
use meow_core::ErrorKind;
use meow_core::crypto::Secret;
use meow_core::store::{DepositOutcome, MailboxStore, WriteOutcome};
use meow_server::store::{SqliteMailboxStore, StoreOptions};

const PAGE: usize = 4096;
const MAILBOXES: u32 = 30;

/// Mailboxes with items, an overflowing item, blobs, remembered ids and closed ones.
fn fill(path: &Path) {
    let store = open(path).unwrap();
    commit(&store, &(0..MAILBOXES).map(register).collect::<Vec<_>>());
    let mut batch = Vec::new();
    for mailbox in 0..MAILBOXES {
        batch.extend((0..3).map(|n| deposit(mailbox, n, body(n, 700))));
    }
    batch.push(deposit(0, 9, body(9, 30_000)));
    batch.extend([blob(1, 2, body(1, 9_000)), acknowledge(2, 2, 3), close(3, 2), acknowledge(4, 2, 1)]);
    commit(&store, &batch);
    store.add_invite(&[5; 32], 3, NOW + 10).unwrap();
}

fn expected(mailbox: u32) -> Vec<Vec<u8>> {
    match mailbox {
        0 => [0, 1, 2].map(|n| body(n, 700)).into_iter().chain([body(9, 30_000)]).collect(),
        2 | 3 => Vec::new(),
        4 => [1, 2].map(|n| body(n, 700)).to_vec(),
        _ => [0, 1, 2].map(|n| body(n, 700)).to_vec(),
    }
}

/// Every access is right or an error of kind `Damaged`. Returns how many failed.
fn use_it(store: &SqliteMailboxStore, what: &str) -> usize {
    let mut failed = 0;
    let mut failure = |e: meow_core::Error| {
        assert_eq!(e.kind(), ErrorKind::Damaged, "{what}: {e:?}");
        failed += 1;
    };
    for mailbox in 0..MAILBOXES {
        match waiting(store, mailbox) {
            Ok(items) => assert!(
                items == expected(mailbox),
                "{what}: mailbox {mailbox} has items of {:?} bytes",
                items.iter().map(Vec::len).collect::<Vec<_>>()
            ),
            Err(e) => failure(e),
        }
    }
    match store.blob(&lkp(1), &TOKEN, &[1; 16], NOW) {
        Ok(content) => assert!(content == Some(body(1, 9_000)), "{what}: blob"),
        Err(e) => failure(e),
    }
    match store.stats() {
        Ok(stats) => assert_eq!((stats.mailboxes, stats.items), (29, 84), "{what}"),
        Err(e) => failure(e),
    }
    // Writes: a known id is confirmed, a new one stored, each or an error.
    let stored = WriteOutcome::Deposit(DepositOutcome::Stored);
    for mailbox in (0..MAILBOXES).filter(|m| *m != 3) {
        for (number, len) in [(0, 700), (100, 50)] {
            match store.commit(&[deposit(mailbox, number, body(number, len))], &WIDE, NOW) {
                Ok(outcomes) => {
                    assert_eq!(outcomes, std::slice::from_ref(&stored), "{what}: mailbox {mailbox}")
                }
                Err(e) => failure(e),
            }
        }
    }
    failed
}

#[test]
fn a48_flipped_byte_in_every_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.db");
    fill(&path);
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / PAGE;
    assert!(pages > 30 && whole.len().is_multiple_of(PAGE));
    assert!(!beside(&path, "-wal").exists(), "a clean stop leaves one file");
    assert_eq!(use_it(&open(&path).unwrap(), "whole"), 0);

    let mut noticed = 0;
    for page in 0..pages {
        // Somewhere else in each page: header, cells, free room, MAC.
        let offset = page * PAGE + (page * 1_237 + 11) % PAGE;
        let mut flipped = whole.clone();
        flipped[offset] ^= 1 << (page % 8);
        let path = folder.path().join(format!("{page}.db"));
        fs::write(&path, &flipped).unwrap();
        let what = format!("byte {offset} in page {page}");
        match open(&path) {
            Ok(store) => noticed += usize::from(use_it(&store, &what) > 0),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Damaged, "{what}: {e:?}");
                assert!(fs::read(&path).unwrap() == flipped, "the file is left as it is");
                noticed += 1;
            }
        }
        fs::remove_file(&path).unwrap();
    }
    // Free pages, and the invitations that this test does not use, can hold the rest.
    assert!(noticed + 12 >= pages, "only {noticed} of {pages} flips were noticed");
}

#[test]
fn a48_flipped_byte_in_the_log_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.db");
    let store = open(&path).unwrap();
    commit(&store, &[register(1)]);
    for n in 0..12 {
        commit(&store, &[deposit(1, n, body(n, 900))]);
    }
    // What a crash leaves: the files as they are while the store is in use.
    let main = fs::read(&path).unwrap();
    let log = fs::read(beside(&path, "-wal")).unwrap();
    drop(store);

    let copy = folder.path().join("copy.db");
    let reopen = |log: &[u8]| {
        fs::write(&copy, &main).unwrap();
        fs::write(beside(&copy, "-wal"), log).unwrap();
        let _ = fs::remove_file(beside(&copy, "-shm"));
        open(&copy).map(|store| waiting(&store, 1).unwrap().len())
    };
    assert_eq!(reopen(&log).unwrap(), 12, "recovery finds every commit");
    let frame = PAGE + 24;
    let frames = (log.len() - 32) / frame;
    assert!(frames > 24);
    let mut refused = 0;
    for at in [3, 9, 17, 25].into_iter().chain((0..frames).map(|f| 32 + f * frame + (f * 1_237) % frame)) {
        let mut flipped = log.clone();
        flipped[at] ^= 4;
        match reopen(&flipped) {
            // Only the very last commit cannot be told from one that the crash tore.
            Ok(items) => assert!(items >= 11, "byte {at}: {items} items"),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Damaged, "{e:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > frames / 2);
    // A torn end is no damage: what was confirmed before it is there.
    for cut in [log.len() - 1, log.len() - PAGE, log.len() - frame - 100] {
        assert!(reopen(&log[..cut]).unwrap() >= 11);
    }
}

#[test]
fn wrong_key_is_told_from_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    fill(&path);
    let whole = fs::read(&path).unwrap();
    let with = |key: &Secret| SqliteMailboxStore::open(&path, key, StoreOptions::default());
    let wrong = with(&Secret::new([1; 32])).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::WrongSecret, "{wrong:?}");
    assert!(fs::read(&path).unwrap() == whole, "the file is left as it is");
    assert_eq!(use_it(&with(&key()).unwrap(), "after a wrong key"), 0);

    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    match open(&path) {
        Ok(store) => assert!(use_it(&store, "cut in half") > 0),
        Err(e) => assert_eq!(e.kind(), ErrorKind::Damaged, "{e:?}"),
    }
    for rest in [0, 100] {
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&path, suffix));
        }
        fs::write(&path, &whole[..rest]).unwrap();
        let cut = open(&path).unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::Damaged, "{rest} bytes: {cut:?}");
        assert_eq!(fs::read(&path).unwrap().len(), rest);
    }
}

#[test]
fn newer_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    fill(&path);
    let edit = |sql: &str| {
        let raw = rusqlite::Connection::open(&path).unwrap();
        let hex: String =
            key().expose().iter().chain(b"meow mailboxes 1").map(|b| format!("{b:02x}")).collect();
        raw.execute_batch(&format!(
            "PRAGMA key = \"x'{hex}'\"; PRAGMA cipher_hmac_algorithm = HMAC_SHA256; {sql}"
        ))
        .unwrap();
    };
    edit("PRAGMA user_version = 2");
    let before = fs::read(&path).unwrap();
    let newer = open(&path).unwrap_err();
    assert_eq!(newer.kind(), ErrorKind::NewerVersion, "{newer:?}");
    assert!(fs::read(&path).unwrap() == before, "the file is left as it is");
    edit("PRAGMA user_version = 1");
    assert_eq!(use_it(&open(&path).unwrap(), "put back"), 0);
    edit("PRAGMA application_id = 7");
    assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::Usage);

    // A log without its file is not a new store.
    let gone = folder.path().join("gone.db");
    fs::write(beside(&gone, "-wal"), [0; 100]).unwrap();
    assert_eq!(open(&gone).unwrap_err().kind(), ErrorKind::Damaged);
}
