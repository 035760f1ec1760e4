//! Passwords: where they come from, and changing them.

use std::fs;

use crate::support::{PASSWORD, World};

#[test]
fn a_wrong_password_opens_nothing() {
    let world = World::new();
    let alice = world.nobody("alice");
    alice.run(["init"]).done();
    let mut thief = alice.clone();
    thief.password = "wrong".into();
    for args in [&["contacts"][..], &["send", "bob", "hi"], &["password"], &["receive"]] {
        thief.json(args).failed(4, "wrong_secret");
    }
    alice.run(["contacts"]).done();
}

#[test]
fn an_empty_password_is_refused() {
    let world = World::new();
    let mut alice = world.nobody("alice");
    alice.password = String::new();
    alice.json(["init"]).failed(2, "usage");
    assert!(!alice.home.exists());
    fs::write(world.path("pw"), "\n").unwrap();
    alice.json(["--password-file", "pw", "init"]).failed(2, "usage");
    assert!(!alice.home.exists());
}

#[test]
fn a_password_file_counts_more_than_the_environment() {
    let world = World::new();
    let alice = world.nobody("alice");
    fs::write(world.path("pw"), "from a file\r\n").unwrap();
    alice.run(["--password-file", "pw", "init"]).done();
    alice.json(["contacts"]).failed(4, "wrong_secret");
    alice.run(["contacts", "--password-file", "pw"]).done();
    alice.json(["contacts", "--password-file", "missing"]).failed(5, "not_found");
    fs::write(world.path("long"), "x".repeat(2000)).unwrap();
    alice.json(["contacts", "--password-file", "long"]).failed(2, "usage");
}

#[test]
fn without_a_terminal_the_error_says_what_to_set() {
    let world = World::new();
    let alice = world.nobody("alice");
    alice.run(["init"]).done();
    // A session of its own has no terminal.
    let mut command = std::process::Command::new("setsid");
    command.arg("--wait").arg(crate::support::meow()).args(["--json", "contacts"]).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("MEOW_HOME", &alice.home);
    let run = crate::support::Run::of(command.output().unwrap()).failed(2, "usage");
    assert!(run.err.contains("MEOW_PASSWORD") && run.err.contains("--password-file"), "{run:?}");
}

#[test]
fn the_password_changes() {
    let world = World::new();
    let relay = world.relay("relay");
    let (mut alice, bob) = world.pair(&relay);
    let changed = alice.command().args(["--json", "password"]).env("MEOW_NEW_PASSWORD", "new one").output();
    crate::support::Run::of(changed.unwrap()).done();
    alice.json(["contacts"]).failed(4, "wrong_secret");
    alice.password = "new one".into();
    bob.run(["send", "alice", "still there?"]).done();
    assert_eq!(alice.json(["receive"]).done().texts(), ["still there?"]);
    // The root is under the new password too.
    alice.run(["card", "new", "carol"]).done();

    fs::write(world.path("pw"), PASSWORD).unwrap();
    alice.run(["password", "--new-password-file", "pw"]).done();
    alice.password = PASSWORD.into();
    alice.run(["contacts"]).done();
}
