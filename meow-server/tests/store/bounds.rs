//! Costs that must not depend on what is stored, or on whether a mailbox exists.
use std::path::Path;

use crate::support::{
    NOW, TOKEN, WIDE, acknowledge, beside, blob, body, close, commit, deposit, key, lkp, open, register,
    registration, waiting,
};
use meow_core::store::{
    Charge, CloseBy, MailboxStore, NewDeposit, RegisterOutcome, Registration, Write, WriteOutcome,
};
use meow_server::store::{SqliteMailboxStore, StoreOptions};

const OPEN: u32 = 1;
const EMPTY: u32 = 2;
const CLOSED: u32 = 3;
const MISSING: u32 = 4;

fn prepared(path: &Path) -> SqliteMailboxStore {
    let store = open(path).unwrap();
    commit(&store, &[register(OPEN), register(EMPTY), register(CLOSED), close(CLOSED, 2)]);
    commit(&store, &[deposit(OPEN, 1, body(1, 100)), blob(OPEN, 2, vec![7; 100])]);
    store
}

#[test]
fn a17_same_operations_for_missing_and_existing() {
    let folder = tempfile::tempdir().unwrap();
    let store = prepared(&folder.path().join("m.db"));
    // Begins the log.
    commit(&store, &[deposit(OPEN, 2, body(2, 100))]);
    let cost = |work: &dyn Fn()| {
        let before = store.operations();
        work();
        store.operations() - before
    };
    let same = |what: &str, costs: &[u64]| {
        assert!(costs.windows(2).all(|pair| pair.first() == pair.last()), "{what}: {costs:?}");
        assert!(costs.iter().all(|cost| *cost > 0));
    };
    for round in 0..2 {
        let pull = |m| cost(&|| drop(store.items(&lkp(m), 0, 10, 8_000, 10, NOW).unwrap()));
        same("pulls", &[EMPTY, CLOSED, MISSING].map(pull));
        let wrong = |m| {
            let write = Write::Deposit(NewDeposit {
                mailbox: lkp(m),
                token_hash: [0; 32],
                id: [0; 16],
                expires: NOW + 1,
                item: vec![1],
            });
            cost(&|| drop(store.commit(std::slice::from_ref(&write), &WIDE, NOW).unwrap()))
        };
        same("deposits with a wrong token", &[OPEN, EMPTY, CLOSED, MISSING].map(wrong));
        let fetch = |m, token: [u8; 32], name: [u8; 16]| {
            cost(&|| drop(store.blob(&lkp(m), &token, &name, NOW).unwrap()))
        };
        let (right, none) = ([1; 16], [9; 16]);
        let fetches = [
            fetch(OPEN, TOKEN, right),
            fetch(OPEN, TOKEN, none),
            fetch(OPEN, [0; 32], right),
            fetch(CLOSED, TOKEN, right),
            fetch(MISSING, TOKEN, right),
        ];
        same("blobs", &fetches);
        let write =
            |write: Write| cost(&|| drop(store.commit(std::slice::from_ref(&write), &WIDE, NOW).unwrap()));
        same("acknowledging", &[CLOSED, MISSING].map(|m| write(acknowledge(m, 99, 1))));
        let by_key = |m| write(Write::Close { mailbox: lkp(m), counter: 1, by: CloseBy::Key([0; 32]) });
        same("closing by a wrong key", &[OPEN, EMPTY, CLOSED, MISSING].map(by_key));
        if round == 0 {
            // The same once everything is folded, and the log has begun again.
            commit(&store, &[deposit(OPEN, 3, body(3, 100)), register(EMPTY)]);
            commit(&store, &[deposit(OPEN, 4, body(4, 100))]);
        }
    }
}

/// Bytes that this thread has read from files so far.
#[cfg(target_os = "linux")]
fn bytes_read() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn opening_reads_no_more_when_more_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let cost = |items: u64| {
        let path = folder.path().join(format!("{items}.db"));
        let store = open(&path).unwrap();
        commit(&store, &(0..500).map(register).collect::<Vec<_>>());
        for from in (0..items).step_by(1_000) {
            let batch = (from..from + 1_000).map(|n| deposit((n % 500) as u32, n, body(n, 40)));
            commit(&store, &batch.collect::<Vec<_>>());
        }
        drop(store);
        assert!(!beside(&path, "-wal").exists(), "a clean stop leaves nothing to catch up with");
        let before = bytes_read();
        let store = open(&path).unwrap();
        let read = bytes_read() - before;
        assert_eq!(store.stats().unwrap().items, items);
        read
    };
    // scripts/soak opens a million.
    let items = std::env::var("MEOW_OPEN_ITEMS").map_or(100_000, |text| text.parse().unwrap());
    let (few, many) = (cost(1_000), cost(items));
    println!("opening read {few} bytes at 1,000 items and {many} at {items}");
    // Less than a page apart: the counter also counts how it is read.
    assert!(many.abs_diff(few) < 512, "{many} bytes were read at {items} items and {few} at 1,000");
}

/// An operator's command opens the store beside the running relay.
#[test]
fn two_processes_on_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    let relay = prepared(&path);
    let command = SqliteMailboxStore::open_beside(&path, &key(), StoreOptions::default()).unwrap();
    command.add_invite(&[1; 32], 1, NOW + 10).unwrap();
    // What only the log knows counts too.
    assert_eq!(command.stats().unwrap(), relay.stats().unwrap());
    commit(&relay, &[deposit(OPEN, 2, body(2, 100)), acknowledge(OPEN, 3, 1)]);
    assert_eq!(command.stats().unwrap(), relay.stats().unwrap());
    relay.expire(NOW, 10).unwrap();
    assert_eq!(command.stats().unwrap(), relay.stats().unwrap());
    // Mail is the other one's.
    let refused = command.commit(&[deposit(OPEN, 9, body(9, 100))], &WIDE, NOW).unwrap_err();
    assert!(refused.to_string().contains("another process"), "{refused}");
    assert!(waiting(&command, OPEN).is_err() && command.expire(NOW, 1).is_err());
    drop(command);
    let invited = Write::Register(Registration { charge: Charge::Invite([1; 32]), ..registration(9) });
    let made = relay.commit(&[invited], &WIDE, NOW).unwrap();
    assert_eq!(made, [WriteOutcome::Register(RegisterOutcome::Done)]);
    commit(&relay, &[deposit(OPEN, 2, body(2, 100)), deposit(OPEN, 3, body(3, 100))]);
    assert_eq!(waiting(&relay, OPEN).unwrap(), [body(2, 100), body(3, 100)]);
    assert_eq!(relay.stats().unwrap().items, 2);
    drop(relay);
    assert_eq!(waiting(&open(&path).unwrap(), OPEN).unwrap(), [body(2, 100), body(3, 100)]);
}

/// Ids of what was acknowledged do not pile up beyond their cap, however much goes through.
#[test]
fn remembered_ids_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    let options = StoreOptions { remember_max: 50, fold_rows: 20, ..StoreOptions::default() };
    let store = SqliteMailboxStore::open(&path, &key(), options).unwrap();
    commit(&store, &[register(1)]);
    for n in 0..400 {
        commit(&store, &[deposit(1, n, body(n, 20)), acknowledge(1, n + 2, n + 1)]);
    }
    store.expire(NOW, 1).unwrap();
    // Newest still known, oldest not any more.
    commit(&store, &[deposit(1, 399, body(399, 20))]);
    assert_eq!(waiting(&store, 1).unwrap().len(), 0);
    commit(&store, &[deposit(1, 0, body(0, 20))]);
    assert_eq!(waiting(&store, 1).unwrap().len(), 1);
    // What is left to forget a day later is what the cap allowed.
    let mut forgotten = 0;
    loop {
        match store.expire(NOW + 90_000, 1_000).unwrap() {
            0 => break,
            n => forgotten += n,
        }
    }
    assert!((50..=60).contains(&forgotten), "{forgotten}");
}
