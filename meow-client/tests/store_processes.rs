//! The encrypted store under real processes: several at once, killed ones, full and read-only disks.
//!
//! A child process is this test binary again, running one of the ignored tests at the end.

#![cfg(all(unix, feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use meow_client::store::SqliteClientStore;
use meow_core::crypto::{Random, Secret, SystemRandom};
use meow_core::store::{ClientStore, Table};
use meow_core::{ErrorKind, Result};

const PLACE: &str = "MEOW_TEST_PLACE";
const NOBODY: u32 = 65_534;
const INCREMENTS: u64 = 150;

fn key() -> Secret {
    Secret::new([7; 32])
}

fn number(bytes: Option<Vec<u8>>) -> u64 {
    bytes.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

/// Everything in the log, which must be numbered without a gap.
fn log_length(store: &SqliteClientStore) -> Result<u64> {
    let mut length = 0;
    store.read(&mut |txn| {
        let entries = txn.scan(Table::Log, b"", None, usize::MAX, false)?;
        for (n, (key, value)) in (0_u64..).zip(&entries) {
            assert_eq!(key.as_slice(), n.to_be_bytes());
            assert_eq!(value, &body(n));
        }
        length = entries.len() as u64;
        assert_eq!(number(txn.get(Table::Meta, b"length")?), length, "both changes or none");
        assert_eq!(txn.search_text("entry", usize::MAX)?.len() as u64, length);
        Ok(())
    })?;
    Ok(length)
}

fn body(n: u64) -> Vec<u8> {
    vec![n as u8; 200 + (n % 13) as usize * 500]
}

/// One message as the engine stores it: an entry, a counter, an index entry. Returns its number.
fn append(store: &SqliteClientStore) -> Result<u64> {
    let mut n = 0;
    store.write(&mut |txn| {
        n = number(txn.get(Table::Meta, b"length")?);
        txn.put(Table::Log, &n.to_be_bytes(), &body(n))?;
        txn.put(Table::Meta, b"length", &(n + 1).to_be_bytes())?;
        txn.index_text(&n.to_be_bytes(), &format!("entry {n}"))
    })?;
    Ok(n)
}

/// This binary, running one of the tests at the end.
fn child(test: &str, place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(PLACE, place);
    command
}

fn in_child() -> PathBuf {
    std::env::var_os(PLACE).unwrap().into()
}

/// Runs a child whose asserts are the test.
fn passes(mut command: Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
}

#[test]
fn two_processes_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteClientStore::create(&path, &key()).unwrap();
    let children: Vec<_> =
        (0..2).map(|_| child("child_increments", &path).stdout(Stdio::null()).spawn().unwrap()).collect();
    let mut seen = 0;
    for _ in 0..50 {
        append(&store).unwrap();
        store
            .read(&mut |txn| {
                let now = number(txn.get(Table::Meta, b"counter")?);
                assert!(now >= seen, "the counter never falls");
                seen = now;
                Ok(())
            })
            .unwrap();
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    store
        .read(&mut |txn| {
            assert_eq!(number(txn.get(Table::Meta, b"counter")?), 2 * INCREMENTS);
            Ok(())
        })
        .unwrap();
    assert_eq!(log_length(&store).unwrap(), 50);
    store.verify().unwrap();
}

#[test]
#[ignore = "the child of two_processes_lose_no_update"]
fn child_increments() {
    for round in 0..3 {
        // Opening and closing beside a writer is part of it.
        let store = SqliteClientStore::open(&in_child(), &key()).unwrap();
        for _ in 0..INCREMENTS / 3 {
            store
                .write(&mut |txn| {
                    let next = number(txn.get(Table::Meta, b"counter")?) + 1;
                    txn.put(Table::Meta, b"counter", &next.to_be_bytes())
                })
                .unwrap_or_else(|e| panic!("round {round}: {e:?}"));
        }
    }
}

/// POSIX locks go when the process closes any descriptor of the file: a second handle must not do that.
#[test]
fn a_second_handle_does_not_unlock_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteClientStore::create(&path, &key()).unwrap();
    append(&store).unwrap();
    let mut other = None;
    store
        .write(&mut |txn| {
            drop(SqliteClientStore::open(&path, &key())?);
            let mut writer = child("child_appends_once", &path).stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap().contains("opened")));
            std::thread::sleep(Duration::from_millis(100));
            assert!(writer.try_wait().unwrap().is_none(), "wrote beside another writer");
            other = Some((writer, lines));
            txn.put(Table::Meta, b"counter", &7_u64.to_be_bytes())
        })
        .unwrap();
    let (mut writer, lines) = other.unwrap();
    lines.for_each(drop);
    assert!(writer.wait().unwrap().success());
    assert_eq!(log_length(&store).unwrap(), 2);
}

#[test]
#[ignore = "the child of a_second_handle_does_not_unlock_the_first"]
fn child_appends_once() {
    let store = SqliteClientStore::open(&in_child(), &key()).unwrap();
    println!("opened");
    append(&store).unwrap();
}

#[test]
fn a49_killed_at_random_moments() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(SqliteClientStore::create(&path, &key()).unwrap());
    let mut confirmed = 0;
    for round in 0..15 {
        let mut writer = child("child_appends", &path).stdout(Stdio::piped()).spawn().unwrap();
        let mut random = [0; 2];
        SystemRandom.fill(&mut random).unwrap();
        let patience = Duration::from_micros(u64::from(u16::from_le_bytes(random)) * 2);
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let id = writer.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(patience);
            writer.kill().unwrap();
            writer.wait().unwrap();
        });
        for line in lines {
            // The first one stands behind the test's name.
            if let Some((_, n)) = line.unwrap().split_once("stored ") {
                confirmed = n.parse::<u64>().unwrap() + 1;
            }
        }
        killer.join().unwrap();
        let store = SqliteClientStore::open(&path, &key()).unwrap();
        let length = log_length(&store).unwrap();
        assert!(
            length == confirmed || length == confirmed + 1,
            "round {round}, process {id} killed after {patience:?}: {confirmed} confirmed, {length} there"
        );
        confirmed = length;
    }
    assert!(confirmed > 0, "no writer lived long enough");
    SqliteClientStore::open(&path, &key()).unwrap().verify().unwrap();
}

#[test]
#[ignore = "the child of a49_killed_at_random_moments"]
fn child_appends() {
    let store = SqliteClientStore::open(&in_child(), &key()).unwrap();
    loop {
        let n = append(&store).unwrap();
        // One write call, so that a line is whole or absent.
        println!("stored {n}");
    }
}

/// Appends until it fails, as a disk without room makes it.
fn fill_up(store: &SqliteClientStore) -> (u64, meow_core::Error) {
    let mut length = log_length(store).unwrap();
    loop {
        match append(store) {
            Ok(n) => length = n + 1,
            Err(e) => return (length, e),
        }
        assert!(length < 100_000, "there is no end to this disk");
    }
}

#[test]
fn a48_disk_full() {
    // A small disk that only the child sees, and that goes with it. Who is not root is made root in there.
    let unshare = |args: &[&str]| {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.arg("--mount").args(args);
        command
    };
    if !unshare(&["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status().is_ok_and(|status| status.success()) {
        assert!(
            std::env::var_os("MEOW_REQUIRE_SERVICES").is_none(),
            "this machine lets nobody mount a small disk"
        );
        eprintln!("NOT RUN: this machine lets nobody mount a small disk");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let inner = child("child_fills_disk", folder.path());
    let mut outer = unshare(&["sh", "-c", r#"mount -t tmpfs -o size=3m tmpfs "$0" && exec "$@""#]);
    outer.arg(folder.path()).arg(inner.get_program()).args(inner.get_args()).env(PLACE, folder.path());
    passes(outer);
}

#[test]
#[ignore = "the child of a48_disk_full"]
fn child_fills_disk() {
    let place = in_child();
    let path = place.join("store.db");
    fs::write(place.join("ballast"), vec![0; 500_000]).unwrap();
    let store = SqliteClientStore::create(&path, &key()).unwrap();
    let (length, error) = fill_up(&store);
    assert_eq!(error.kind(), ErrorKind::System);
    assert!(error.to_string().contains("disk is full"), "{error}");
    assert!(length > 20, "{length}");
    assert_eq!(log_length(&store).unwrap(), length, "what was confirmed is there, and nothing else");
    assert_eq!(append(&store).unwrap_err().kind(), ErrorKind::System);
    drop(store);
    assert_eq!(log_length(&SqliteClientStore::open(&path, &key()).unwrap()).unwrap(), length);
    let second = SqliteClientStore::create(&place.join("second.db"), &key()).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::System);
    assert!(!place.join("second.db").exists(), "a store that exists is a whole one");

    fs::remove_file(place.join("ballast")).unwrap();
    let store = SqliteClientStore::open(&path, &key()).unwrap();
    assert_eq!(append(&store).unwrap(), length, "with room again, it goes on");
    store.verify().unwrap();
}

#[test]
fn a48_file_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(SqliteClientStore::create(&path, &key()).unwrap());
    let inner = child("child_meets_file_limit", &path);
    let mut outer = Command::new("sh");
    // In units of 512 bytes; without the trap the signal would end the process.
    outer
        .args(["-c", r#"trap "" XFSZ; ulimit -f 4000; exec "$@""#, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env(PLACE, &path);
    passes(outer);
    let store = SqliteClientStore::open(&path, &key()).unwrap();
    let length = log_length(&store).unwrap();
    assert!(length > 20, "{length}");
    assert_eq!(append(&store).unwrap(), length, "without the limit, it goes on");
    store.verify().unwrap();
}

#[test]
#[ignore = "the child of a48_file_too_large"]
fn child_meets_file_limit() {
    let store = SqliteClientStore::open(&in_child(), &key()).unwrap();
    let (length, error) = fill_up(&store);
    assert_eq!(error.kind(), ErrorKind::System);
    assert_eq!(log_length(&store).unwrap(), length);
}

#[test]
fn a48_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteClientStore::create(&path, &key()).unwrap();
    append(&store).unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(path.with_extension("db.id"), Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
    let mut command = child("child_cannot_write", &path);
    if rustix::process::geteuid().is_root() {
        // Permissions do not bind root.
        chown(folder.path(), Some(NOBODY), None).unwrap();
        command.uid(NOBODY);
    }
    passes(command);
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    assert!(fs::read(&path).unwrap() == whole);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(log_length(&SqliteClientStore::open(&path, &key()).unwrap()).unwrap(), 1);
}

#[test]
#[ignore = "the child of a48_read_only"]
fn child_cannot_write() {
    let path = in_child();
    let error = SqliteClientStore::open(&path, &key()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::System, "{error:?}");
    assert!(error.to_string().contains("permissions"), "{error}");
    let error = SqliteClientStore::create(&path.with_extension("other"), &key()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::System, "{error:?}");
}
