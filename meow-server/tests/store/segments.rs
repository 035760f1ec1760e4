//! The log in segments: each is ended, folded alone, and its place written over, whatever comes in between.
use std::path::Path;

use crate::support::{
    NOW, Remains, acknowledge, beside, body, commit, deposit, edit, key, lkp, open, register, waiting,
};
use meow_core::ErrorKind;
use meow_core::store::MailboxStore;
use meow_server::store::{SqliteMailboxStore, StoreOptions};

/// Where segments begin: an eighth of the log's length.
const PLACE: usize = 64 << 10;

/// Four records end a segment; some thirty are in the log at once.
fn open_small(path: &Path) -> SqliteMailboxStore {
    let options = StoreOptions { fold_rows: 32, log_bytes: 8 * PLACE as u64, ..StoreOptions::default() };
    SqliteMailboxStore::open(path, &key(), options).unwrap()
}

#[test]
fn a49_a_crash_beside_any_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("live.db"), folder.path().join("copy.db"));
    let store = open_small(&path);
    commit(&store, &[register(1), register(2)]);
    // The second mailbox is emptied at once, but for its last item; the first one at the end.
    for n in 0..60 {
        commit(&store, &[deposit(1, n, body(n, 900)), deposit(2, n, body(n, 100))]);
        commit(&store, &[acknowledge(2, n + 2, n)]);
        let remains = Remains::of(&path);
        assert!(remains.log.len() <= 8 * PLACE);
        remains.put(&copy);
        let again = open_small(&copy);
        assert!(waiting(&again, 1).unwrap() == (0..=n).map(|n| body(n, 900)).collect::<Vec<_>>());
        assert_eq!(waiting(&again, 2).unwrap(), [body(n, 100)]);
        assert_eq!(again.stats().unwrap().items, n + 2);
        drop(again);
        assert_eq!(store.stats().unwrap().items, n + 2);
    }
    for upto in [7, 30, 60] {
        commit(&store, &[acknowledge(1, upto + 1, upto)]);
        Remains::of(&path).put(&copy);
        let left: Vec<_> = (upto..60).map(|n| body(n, 900)).collect();
        assert!(waiting(&open_small(&copy), 1).unwrap() == left && waiting(&store, 1).unwrap() == left);
    }
}

/// The head of a segment comes with its first group: a crash tears both, in any order.
#[test]
fn a49_a_torn_beginning_of_a_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("live.db"), folder.path().join("copy.db"));
    let store = open_small(&path);
    commit(&store, &[register(1)]);
    for n in 0..5 {
        commit(&store, &[deposit(1, n, body(n, 900))]);
    }
    let whole = Remains::of(&path);
    for kept in 0..7 {
        let mut log = whole.log.clone();
        for sector in (0..3).filter(|sector| kept & 1 << sector == 0) {
            log[PLACE + sector * 512..][..512].fill(0);
        }
        let torn = Remains { log, main: whole.main.clone(), wal: whole.wal.clone() };
        assert_eq!(torn.reopen(&copy).unwrap(), 4, "{kept:03b}");
        torn.put(&copy);
        let store = open_small(&copy);
        for n in [4, 5, 6] {
            commit(&store, &[deposit(1, n, body(n, 900))]);
        }
        // As it is left, twice, and after a clean stop.
        let (left, again) = (Remains::of(&copy), folder.path().join("again.db"));
        assert_eq!(left.reopen(&again).unwrap(), 7, "{kept:03b}");
        left.put(&again);
        let store_again = open_small(&again);
        commit(&store_again, &[deposit(1, 7, body(7, 900))]);
        assert_eq!(Remains::of(&again).reopen(&folder.path().join("third.db")).unwrap(), 8);
        drop(store);
        assert_eq!(waiting(&open(&copy).unwrap(), 1).unwrap().len(), 7);
    }
}

/// What is fetched in time goes round in the first places: the file stays small.
#[test]
fn what_is_fetched_gives_its_place_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    let store = open_small(&path);
    commit(&store, &[register(1)]);
    for n in 0..100 {
        commit(&store, &[deposit(1, n, body(n, 5_000)), acknowledge(1, n + 2, n)]);
    }
    assert!(Remains::of(&path).log.len() <= 2 * PLACE);
    assert_eq!(waiting(&store, 1).unwrap(), [body(99, 5_000)]);
    // Each id is known, wherever it is by now.
    for n in 0..100 {
        commit(&store, &[deposit(1, n, body(n, 5_000))]);
    }
    assert_eq!(store.stats().unwrap().items, 1);
}

/// The tables say how many groups an ended segment has: not even its last one is taken for torn.
#[test]
fn a48_flipped_byte_in_a_segment_that_was_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("live.db"), folder.path().join("copy.db"));
    let store = open_small(&path);
    commit(&store, &[register(1)]);
    for n in 0..12 {
        commit(&store, &[deposit(1, n, body(n, 900))]);
    }
    let mut remains = Remains::of(&path);
    // Three segments of a head and four groups.
    let used = 512 + 4 * 1024;
    let mut refused = 0;
    for place in [0, PLACE, 2 * PLACE] {
        for at in (place..place + used).step_by(97) {
            remains.log[at] ^= 8;
            match remains.reopen(&copy) {
                Ok(items) => {
                    assert!(items == 12 || items == 11 && at >= 2 * PLACE + used - 1024, "byte {at}: {items}")
                }
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Damaged, "byte {at}: {e:?}");
                    refused += 1;
                }
            }
            remains.log[at] ^= 8;
        }
        // Gone altogether.
        let whole = remains.log[place..place + used].to_vec();
        remains.log[place..place + used].fill(0);
        match remains.reopen(&copy) {
            // As if a crash had come before its first group.
            Ok(items) => assert!(items == 8 && place == 2 * PLACE, "{place}: {items}"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::Damaged, "{place}: {e:?}"),
        }
        remains.log[place..place + used].copy_from_slice(&whole);
    }
    assert!(refused > 3 * used / 97 / 2, "{refused}");
    assert_eq!(remains.reopen(&copy).unwrap(), 12);
}

/// What expires in the log goes, and what is younger stays there.
#[test]
fn what_expires_is_folded_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    let store = open_small(&path);
    commit(&store, &[register(1)]);
    let brief = |n: u64| match deposit(1, n, body(n, 900)) {
        meow_core::store::Write::Deposit(d) => {
            meow_core::store::Write::Deposit(meow_core::store::NewDeposit { expires: NOW + 10, ..d })
        }
        other => other,
    };
    for n in 0..20 {
        commit(&store, &[if n % 5 == 4 { brief(n) } else { deposit(1, n, body(n, 900)) }]);
    }
    assert_eq!(store.expire(NOW + 9, 100).unwrap(), 0);
    assert_eq!(store.expire(NOW + 10, 3).unwrap(), 3);
    assert_eq!(store.expire(NOW + 10, 3).unwrap(), 1);
    let page = store.items(&lkp(1), 0, 100, 100_000, 0, NOW).unwrap();
    let numbers: Vec<_> = page.items.iter().map(|item| item.number).collect();
    assert_eq!(numbers, (1..=20).filter(|n| n % 5 != 0).collect::<Vec<_>>());
    drop(store);
    assert_eq!(open(&path).unwrap().stats().unwrap().items, 16);
}

/// A store of version 2 had one log in one piece, which a crash left there.
#[test]
fn the_log_of_version_2_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("live.db"), folder.path().join("old.db"));
    let store = open(&path).unwrap();
    commit(&store, &[register(1)]);
    for n in 0..12 {
        commit(&store, &[deposit(1, n, body(n, 900))]);
    }
    Remains::of(&path).put(&old);
    edit(
        &old,
        "ALTER TABLE totals ADD COLUMN log BLOB; UPDATE totals SET log = (SELECT salt FROM segment); \
         DROP TABLE segment; PRAGMA user_version = 2",
    );
    let store = open(&old).unwrap();
    assert!(beside(&old, ".v2").exists(), "the way back");
    assert_eq!(waiting(&store, 1).unwrap().len(), 12);
    commit(&store, &[deposit(1, 3, body(3, 900)), deposit(1, 12, body(12, 900))]);
    assert_eq!(Remains::of(&old).reopen(&folder.path().join("again.db")).unwrap(), 13);
    commit(&store, &[acknowledge(1, 2, 12)]);
    drop(store);
    assert_eq!(waiting(&open(&old).unwrap(), 1).unwrap(), [body(12, 900)]);
}
