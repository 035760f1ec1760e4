//! The store under SIGKILL, on a full disk and on a read-only one: nothing confirmed is lost.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::{
    NOW, WIDE, argument, beside, body, child, commit, deposit, key, open, register, waiting,
};
use meow_core::ErrorKind;
use meow_core::store::MailboxStore;
use meow_server::store::{SqliteMailboxStore, StoreOptions};

const MAILBOXES: u64 = 8;

/// Each number belongs to one mailbox and shows in its item.
fn numbered(number: u64) -> meow_core::store::Write {
    deposit((number % MAILBOXES) as u32, number, body(number, 600))
}

/// How often each number is there.
fn found(store: &SqliteMailboxStore) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    for mailbox in 0..MAILBOXES {
        for item in waiting(store, mailbox as u32).unwrap() {
            let number = u64::from_be_bytes(item[..8].try_into().unwrap());
            assert!(item == body(number, 600) && number % MAILBOXES == mailbox);
            *found.entry(number).or_insert(0) += 1;
        }
    }
    found
}

fn all_once(store: &SqliteMailboxStore, confirmed: u64, what: &str) {
    let found = found(store);
    assert!(found.values().all(|times| *times == 1), "{what}: stored twice");
    for number in 0..confirmed {
        assert!(found.contains_key(&number), "{what}: {number} of {confirmed} was confirmed and is lost");
    }
    assert_eq!(store.stats().unwrap().items, found.len() as u64, "{what}");
}

/// Small bounds, so that folding and checkpoints happen often.
fn open_small(path: &Path) -> SqliteMailboxStore {
    let options = StoreOptions { fold_rows: 150, wal_pages: 64, ..StoreOptions::default() };
    SqliteMailboxStore::open(path, &key(), options).unwrap()
}

/// A small fixed sequence of pseudo-random numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
#[ignore = "the child of a49_killed_at_any_moment"]
fn child_that_deposits() {
    let Some(argument) = argument() else { return };
    let (start, path) = argument.split_once(' ').unwrap();
    let start: u64 = start.parse().unwrap();
    let store = open_small(Path::new(path));
    let mut dice = Dice(start);
    // What was in doubt when the last one died goes again, as a client would do it.
    let mut next = start.saturating_sub(100);
    loop {
        let end = next + 1 + dice.roll(48);
        commit(&store, &(next..end).map(numbered).collect::<Vec<_>>());
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nconfirmed {end}").unwrap();
        out.flush().unwrap();
        if dice.roll(20) == 0 {
            store.expire(NOW, 10).unwrap();
        }
        next = end;
    }
}

#[test]
#[ignore = "the child of a49_killed_at_any_moment"]
fn child_that_opens() {
    if let Some(path) = argument() {
        drop(open_small(Path::new(&path)));
    }
}

/// Runs a child, kills it after so long, and returns the last number that it confirmed.
fn run_and_kill(test: &str, argument: &str, millis: u64) -> Option<u64> {
    let mut child = child(test, argument).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        lines.filter_map(|line| line.strip_prefix("confirmed ")?.parse().ok()).last()
    });
    thread::sleep(Duration::from_millis(millis));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn a49_killed_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    let store = open_small(&path);
    commit(&store, &(0..MAILBOXES as u32).map(register).collect::<Vec<_>>());
    drop(store);
    let place = path.to_str().unwrap();
    let mut dice = Dice(49);
    let (mut confirmed, mut round) = (0, 0);
    // On a busy machine many children come to nothing before they are killed.
    while round < 16 || (confirmed <= 100 && round < 400) {
        let millis = 60 + dice.roll(150);
        confirmed = run_and_kill("crash::child_that_deposits", &format!("{confirmed} {place}"), millis)
            .map_or(confirmed, |last| confirmed.max(last));
        // Killed again, and again, while it recovers.
        for _ in 0..dice.roll(3) {
            run_and_kill("crash::child_that_opens", place, 5 + dice.roll(40));
        }
        if round % 4 == 3 {
            all_once(&open_small(&path), confirmed, &format!("round {round}"));
        }
        round += 1;
    }
    all_once(&open_small(&path), confirmed, "at the end");
    assert!(confirmed > 100, "the children came to something: {confirmed}");
}

#[test]
#[ignore = "the child of a48_disk_full"]
fn child_that_fills_the_disk() {
    let Some(path) = argument() else { return };
    let store = open(Path::new(&path)).unwrap();
    let mut confirmed = 0;
    let error = loop {
        match store.commit(&(confirmed..confirmed + 16).map(numbered).collect::<Vec<_>>(), &WIDE, NOW) {
            Ok(_) => confirmed += 16,
            Err(error) => break error,
        }
        assert!(confirmed < 100_000, "the limit was not met");
    };
    assert_eq!(error.kind(), ErrorKind::System, "{error:?}");
    assert!(error.to_string().contains("space"), "{error}");
    all_once(&store, confirmed, "while the disk is full");
    assert!(store.commit(&[numbered(confirmed)], &WIDE, NOW).is_err() || confirmed > 0);
    println!("\nconfirmed {confirmed}");
}

#[test]
fn a48_disk_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    let store = open(&path).unwrap();
    commit(&store, &(0..MAILBOXES as u32).map(register).collect::<Vec<_>>());
    drop(store);
    // A limit on the size of files stands for a full disk: writes fail in the same places.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 3000; exec \"$0\" \"$@\""]);
    let plain = child("crash::child_that_fills_the_disk", path.to_str().unwrap());
    limited.arg(plain.get_program()).args(plain.get_args()).env("MEOW_CHILD", &path);
    let output = limited.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let last = text.lines().filter_map(|line| line.strip_prefix("confirmed ")?.parse().ok()).next_back();
    let confirmed: u64 = last.unwrap();
    assert!(confirmed > 100);
    let store = open(&path).unwrap();
    all_once(&store, confirmed, "after space was freed");
    commit(&store, &[numbered(1_000_000)]);
    all_once(&store, confirmed, "and it goes on");
}

/// Both ways of being read-only: the file that is there, and the folder for one that is not.
fn expect_read_only(folder: &Path) {
    for name in ["there.db", "new.db"] {
        let error = open(&folder.join(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::System, "{name}: {error:?}");
        assert!(error.to_string().contains("permission"), "{name}: {error}");
    }
}

#[test]
#[ignore = "the child of a48_read_only"]
fn child_that_may_only_read() {
    if let Some(folder) = argument() {
        expect_read_only(Path::new(&folder));
    }
}

#[test]
fn a48_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("there.db");
    let store = open(&path).unwrap();
    commit(&store, &[register(1), deposit(1, 1, body(1, 600))]);
    drop(store);
    let before = fs::read(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    // Root may write everywhere, so the child becomes somebody else, who must be able to run this program.
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let program = folder.path().join("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
        let plain = child("crash::child_that_may_only_read", "");
        let mut other = Command::new(&program);
        other.args(plain.get_args()).env("MEOW_CHILD", folder.path()).uid(65_534).gid(65_534);
        let output = other.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    } else {
        fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
        expect_read_only(folder.path());
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(fs::read(&path).unwrap() == before, "the file is left as it is");
    assert!(!beside(&path, "-wal").exists());
    assert_eq!(waiting(&open(&path).unwrap(), 1).unwrap().len(), 1);
}
