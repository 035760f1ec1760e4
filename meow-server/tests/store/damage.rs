//! Damaged, foreign and newer files: errors that name the cause, never an empty mailbox.
use std::fs;
use std::path::Path;

use crate::support::{
    NOW, Remains, TOKEN, WIDE, acknowledge, beside, blob, body, close, commit, deposit, edit, key, lkp, open,
    register, waiting,
};
use meow_core::ErrorKind;
use meow_core::crypto::Secret;
use meow_core::store::{DepositOutcome, MailboxStore, PullOutcome, WriteOutcome};
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

/// Twelve commits, and what they left.
fn twelve(folder: &Path) -> Remains {
    let path = folder.join("live.db");
    let store = open(&path).unwrap();
    commit(&store, &[register(1)]);
    for n in 0..12 {
        commit(&store, &[deposit(1, n, body(n, 900))]);
    }
    Remains::of(&path)
}

/// Groups begin at multiples of it.
const SECTOR: usize = 512;
/// The head, and twelve groups of one item.
const USED: usize = SECTOR + 12 * 2 * SECTOR;

#[test]
fn a48_flipped_byte_in_the_log_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut remains = twelve(folder.path());
    let copy = folder.path().join("copy.db");
    assert_eq!(remains.reopen(&copy).unwrap(), 12, "recovery finds every commit");
    assert!(
        remains.log[USED..].iter().all(|byte| *byte == 0)
            && remains.log[USED - SECTOR..].iter().any(|byte| *byte != 0)
    );
    let mut refused = 0;
    for at in (0..USED + 4 * SECTOR).step_by(101) {
        remains.log[at] ^= 4;
        match remains.reopen(&copy) {
            // Only the very last group cannot be told from one that the crash tore; some bytes only fill up.
            Ok(items) => {
                assert!(items >= 11 && (items == 12 || at >= USED - 2 * SECTOR), "byte {at}: {items}")
            }
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Damaged, "byte {at}: {e:?}");
                assert!(at < USED - 2 * SECTOR, "byte {at}");
                refused += 1;
            }
        }
        remains.log[at] ^= 4;
    }
    assert!(refused > USED / 101 / 2, "{refused}");
}

/// SQLite drops a last transaction that does not hold: the log must not go with it.
#[test]
fn a48_flipped_byte_in_the_log_of_sqlite_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut remains = twelve(folder.path());
    let copy = folder.path().join("copy.db");
    let frame = PAGE + 24;
    let frames = (remains.wal.len() - 32) / frame;
    assert!(frames >= 3);
    for at in [3, 9, 17, 25].into_iter().chain((0..frames).map(|f| 32 + f * frame + (f * 1_237) % frame)) {
        remains.wal[at] ^= 4;
        match remains.reopen(&copy) {
            Ok(items) => assert_eq!(items, 12, "byte {at}"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::Damaged, "byte {at}: {e:?}"),
        }
        remains.wal[at] ^= 4;
    }
}

/// A log that ends early: by a crash in its last group, or cut off.
#[test]
fn a49_a_torn_end_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let whole = twelve(folder.path());
    let copy = folder.path().join("copy.db");
    let last = USED - 2 * SECTOR;
    // A disk writes whole sectors, in any order.
    for kept in [[false, false], [true, false], [false, true]] {
        let mut log = whole.log.clone();
        for (sector, _) in (0..).zip(kept).filter(|(_, kept)| !kept) {
            log[last + sector * SECTOR..][..SECTOR].fill(0);
        }
        let torn = Remains { log, main: whole.main.clone(), wal: whole.wal.clone() };
        assert_eq!(torn.reopen(&copy).unwrap(), 11, "{kept:?}");
        // The same place again, after a crash in which nothing was folded.
        let store = {
            torn.put(&copy);
            open(&copy).unwrap()
        };
        commit(&store, &[deposit(1, 11, body(11, 900)), deposit(1, 12, body(12, 900))]);
        assert_eq!(Remains::of(&copy).reopen(&folder.path().join("again.db")).unwrap(), 13);
        drop(store);
        assert_eq!(waiting(&open(&copy).unwrap(), 1).unwrap().len(), 13);
    }
    let mut cut = whole;
    cut.log.truncate(0);
    assert_eq!(cut.reopen(&copy).unwrap_err().kind(), ErrorKind::Damaged, "a log that is gone");
}

/// A batch that needs the tables and the log goes into the tables, after all that is in the log.
fn fold(store: &SqliteMailboxStore) {
    commit(store, &[register(99), acknowledge(99, 2, 0)]);
}

/// Crashes while the log goes into the tables: before, after, and again and again.
#[test]
fn a49_a_log_is_folded_once() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("live.db"), folder.path().join("copy.db"));
    let store = open(&path).unwrap();
    commit(&store, &[register(1), register(2)]);
    commit(&store, &(0..12).map(|n| deposit(1, n, body(n, 900))).collect::<Vec<_>>());
    commit(&store, &[deposit(2, 0, body(0, 50)), deposit(2, 1, body(1, 50)), acknowledge(2, 2, 1)]);
    let before = Remains::of(&path);
    fold(&store);
    let after = Remains::of(&path);
    commit(&store, &[acknowledge(1, 2, 3), deposit(1, 12, body(12, 900))]);
    let later = Remains::of(&path);
    // What was folded is still in the file, until something takes its place.
    assert!(before.log == after.log && before.log[..SECTOR] != later.log[..SECTOR]);
    let look = |remains: &Remains, first: u64, last: u64| {
        remains.put(&copy);
        for _ in 0..3 {
            // Opened, and left as it is: no time of day was told.
            let store = open(&copy).unwrap();
            let expected: Vec<_> = (first..=last).map(|n| body(n, 900)).collect();
            assert!(waiting(&store, 1).unwrap() == expected);
            assert_eq!(waiting(&store, 2).unwrap(), [body(1, 50)]);
            assert_eq!(store.stats().unwrap().items, last - first + 2);
        }
        // Ids are known, counters taken, numbers go on.
        let store = open(&copy).unwrap();
        let again = [deposit(2, 0, body(0, 50)), deposit(1, 4, body(4, 900)), acknowledge(2, 2, 0)];
        let outcomes = store.commit(&again, &WIDE, NOW).unwrap();
        let stored = WriteOutcome::Deposit(DepositOutcome::Stored);
        assert_eq!(outcomes, [stored.clone(), stored, WriteOutcome::Pull(PullOutcome::Stale(2))]);
        assert_eq!(store.items(&lkp(1), last + 1, 9, 9_999, 0, NOW).unwrap().items.len(), 0);
        commit(&store, &[deposit(1, 99, body(99, 900))]);
        assert_eq!(store.items(&lkp(1), last + 1, 9, 9_999, 0, NOW).unwrap().items[0].number, last + 2);
    };
    look(&before, 0, 11);
    look(&after, 0, 11);
    look(&later, 3, 12);
    // The tables name the next segment, and the crash came before its first group; or tore it.
    let Remains { main, wal, .. } = &later;
    let mut torn = before.log.clone();
    look(&Remains { main: main.clone(), wal: wal.clone(), log: torn.clone() }, 0, 11);
    torn[..SECTOR].fill(0x55);
    look(&Remains { main: main.clone(), wal: wal.clone(), log: torn }, 0, 11);
    // Tables that are older than the log.
    let old = Remains { main: before.main, wal: before.wal, log: later.log };
    old.put(&copy);
    assert_eq!(open(&copy).unwrap_err().kind(), ErrorKind::Damaged);
}

/// A mailbox of which nothing is pending is known by its tables alone once another one is registered: what counts it then repeats
/// no acknowledgement that the log still has.
#[test]
fn a49_a_mailbox_that_is_only_counted_after_an_acknowledgement() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("live.db"), folder.path().join("copy.db"));
    let store = open(&path).unwrap();
    commit(&store, &[register(1)]);
    commit(&store, &(0..5).map(|n| deposit(1, n, body(n, 900))).collect::<Vec<_>>());
    fold(&store);
    commit(&store, &[acknowledge(1, 2, 3)]);
    commit(&store, &[register(2)]);
    // As an owner does who opens a session.
    commit(&store, &[acknowledge(1, 3, 0)]);
    let look = |first: u64, last: u64| {
        Remains::of(&path).put(&copy);
        for store in [&store, &open(&copy).unwrap()] {
            let left: Vec<_> = (first..=last).map(|n| body(n, 900)).collect();
            assert!(waiting(store, 1).unwrap() == left);
            assert_eq!(store.stats().unwrap().items, last - first + 1);
        }
    };
    look(3, 4);
    commit(&store, &[deposit(1, 5, body(5, 900))]);
    look(3, 5);
    commit(&store, &[acknowledge(1, 4, 4)]);
    look(4, 5);
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
    edit(&path, "PRAGMA user_version = 4");
    let before = fs::read(&path).unwrap();
    let newer = open(&path).unwrap_err();
    assert_eq!(newer.kind(), ErrorKind::NewerVersion, "{newer:?}");
    assert!(fs::read(&path).unwrap() == before, "the file is left as it is");
    edit(&path, "PRAGMA user_version = 3");
    assert_eq!(use_it(&open(&path).unwrap(), "put back"), 0);
    edit(&path, "PRAGMA application_id = 7");
    assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::Usage);

    // A log without its file is not a new store.
    for log in ["-wal", "-log"] {
        let gone = folder.path().join(format!("gone{log}.db"));
        fs::write(beside(&gone, log), [0; 100]).unwrap();
        assert_eq!(open(&gone).unwrap_err().kind(), ErrorKind::Damaged);
    }
}
