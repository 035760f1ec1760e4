//! Every example runs to its end and prints what it promises.

#![cfg(all(unix, feature = "http", feature = "udp", feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::SystemTime;

/// The program of an example: `cargo test` has built it, unless only this test was asked for.
fn program(name: &str) -> PathBuf {
    static BUILD: Once = Once::new();
    let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples");
    let program = folder.join(name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = newest(&root.join("examples")).max(newest(&root.join("src")));
    let built = fs::metadata(&program).and_then(|about| about.modified());
    if built.is_err() || built.unwrap() < sources {
        BUILD.call_once(|| {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--quiet", "--examples", "--all-features"]).current_dir(root);
            if folder.ends_with("release/examples") {
                build.arg("--release");
            }
            build.env("CARGO_TARGET_DIR", folder.parent().unwrap().parent().unwrap());
            assert!(build.status().unwrap().success(), "the examples do not build");
        });
    }
    program
}

fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let times = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => newest(&entry.path()),
        false => entry.metadata().unwrap().modified().unwrap(),
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Runs an example; each of these must begin a line of what it prints, in this order. `*` stands for anything.
#[track_caller]
fn prints(name: &str, expected: &[&str]) -> String {
    let done = Command::new(program(name)).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{name} failed\n{out}\n{err}");
    let mut lines = out.lines();
    for wanted in expected {
        let (start, end) = wanted.split_once('*').unwrap_or((wanted, ""));
        let found = lines.any(|line| line.starts_with(start) && line.ends_with(end));
        assert!(found, "{name} does not print {wanted:?} where it should:\n{out}");
    }
    out.into_owned()
}

const CHAT: [&str; 2] = ["message Alice: Hello Bob!", "message Bob: Hello Alice!"];

#[test]
fn quickstart() {
    let out = prints(
        "quickstart",
        &["relay   http://127.0.0.1:*", "card    meow:*", "code    *(the same on both sides)", CHAT[0]],
    );
    for rung in ["stored", "decrypted"] {
        assert!(out.lines().any(|l| l.starts_with("ladder") && l.contains(rung)), "no rung {rung}:\n{out}");
    }
    assert!(out.contains(CHAT[1]), "{out}");
}

#[test]
fn http() {
    prints("http", &["relay   http://127.0.0.1:*", CHAT[0], CHAT[1]]);
}

#[test]
fn https() {
    let dials = "dials   https://127.0.0.1:*";
    let expected = ["relay   https://127.0.0.1:*", dials, dials, CHAT[0], CHAT[1], dials, "eve     refused"];
    let out = prints("https", &expected);
    for secret in ["purr", "hiss", "guess"] {
        assert!(!out.contains(secret), "a password shows:\n{out}");
    }
}

#[test]
fn udp() {
    prints("udp", &["relay   udp://127.0.0.1:*", CHAT[0], CHAT[1]]);
}

#[cfg(feature = "mqtt")]
#[test]
fn mqtt() {
    let expected = ["relay   mqtt://127.0.0.1:*", CHAT[0], CHAT[1], "broker  * topics"];
    prints("mqtt", &expected);
}

#[cfg(feature = "serial")]
#[test]
fn serial() {
    prints("serial", &["relay   serial:///*", CHAT[0], CHAT[1]]);
}

#[test]
fn custom_transport() {
    prints("custom_transport", &["relay   unix:///*", CHAT[0], CHAT[1]]);
}

#[test]
fn custom_relay() {
    let expected = [
        "relay   memory://house/ udp://127.0.0.1:*",
        CHAT[0],
        CHAT[1],
        "alice   uses memory",
        "bob     uses udp",
        "eve     refused",
    ];
    prints("custom_relay", &expected);
}

#[test]
fn embed() {
    let expected = [
        "event   Friend says \"Are you there?\"",
        "asleep  0 event(s) waiting",
        "event   Friend says \"Good night\"",
        "again   0 event(s) waiting",
        "wrong   wrong_secret",
        "event   App says \"Good morning\"",
    ];
    prints("embed", &expected);
}
