//! Several processes on one home, signals, and crashes at the worst moment.

use std::fs;
use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::thread;

use meow::client::home::Home;
use meow::core::identity::{KeyFile, Unlock};
use meow::core::store::ClientStore;

use crate::support::{PASSWORD, Person, Run, Running, World};

#[test]
fn a_receiver_and_senders_share_a_home() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    let mut alices = Running::start(&alice, ["receive", "--follow"]);
    let mut bobs = Running::start(&bob, ["receive", "--follow"]);
    const EACH: usize = 5;
    thread::scope(|scope| {
        // Two senders on one home, beside its receiver.
        for sender in 0..2 {
            let alice = &alice;
            scope.spawn(move || {
                for n in 0..EACH {
                    alice.run(["send", "bob", &format!("{sender}:{n}")]).done();
                }
            });
        }
        scope.spawn(|| {
            for n in 0..EACH {
                bob.run(["send", "alice", &format!("b:{n}")]).done();
            }
        });
    });
    let mut at_bob: Vec<String> =
        (0..2 * EACH).map(|_| bobs.event("message")["text"].as_str().unwrap().to_owned()).collect();
    let at_alice: Vec<String> =
        (0..EACH).map(|_| alices.event("message")["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(at_alice, (0..EACH).map(|n| format!("b:{n}")).collect::<Vec<_>>());
    for sender in 0..2 {
        let own: Vec<&String> = at_bob.iter().filter(|t| t.starts_with(&sender.to_string())).collect();
        assert_eq!(
            own,
            (0..EACH).map(|n| format!("{sender}:{n}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
    }
    let logged: Vec<String> = bob.log("alice").into_iter().filter(|m| !m.0).map(|m| m.1).collect();
    assert_eq!(logged, at_bob);
    at_bob.sort();
    at_bob.dedup();
    assert_eq!(at_bob.len(), 2 * EACH);
    assert_eq!(alices.signal("INT"), Some(0));
    assert_eq!(bobs.signal("TERM"), Some(0));
    // Nothing is told twice.
    assert!(bob.json(["receive"]).done().texts().is_empty());
}

#[test]
fn a_receiver_notices_contacts_and_messages_of_other_processes() {
    let world = World::new();
    let mut relay = world.relay("relay");
    let (alice, bob) = (world.person("alice", &relay), world.person("bob", &relay));
    // Both follow before there is anybody to follow, and nobody else receives.
    let mut alices = Running::start(&alice, ["receive", "--follow"]);
    let mut bobs = Running::start(&bob, ["receive", "--follow"]);
    alice.run(["card", "new", "bob", "--out", "card"]).done();
    bob.run(["card", "take", "card", "--as", "alice"]).done();
    assert_eq!(alices.event("established")["contact"], "bob");
    assert_eq!(bobs.event("established")["contact"], "alice");
    // The new mailbox is polled by who did not make it.
    alice.run(["rotate", "bob"]).done();
    bob.run(["send", "alice", "moved"]).done();
    assert_eq!(alices.event("message")["text"], "moved");
    // What is queued while the relay is away goes out with the receiver.
    relay.stop();
    bob.run(["send", "alice", "later"]).code(3);
    relay.again();
    assert_eq!(alices.event("message")["text"], "later");
    for running in [alices, bobs] {
        assert_eq!(running.signal("TERM"), Some(0));
    }
}

/// Keeps everybody else from writing to a home, until told.
fn hold(person: &Person, held: mpsc::Sender<()>, release: mpsc::Receiver<()>) {
    let home = Home::new(&person.home);
    let keys = KeyFile::decode(&home.load_keys().unwrap().unwrap()).unwrap();
    let key = keys.unlock(Unlock::Password(PASSWORD.as_bytes())).unwrap().ukp().unwrap().store_key();
    let store = home.open_store(&key).unwrap();
    store
        .write(&mut |_| {
            held.send(()).unwrap();
            // A test that failed lets go too.
            let _ = release.recv();
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_kill_between_printing_and_confirming_repeats() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    alice.run(["send", "bob", "twice rather than never"]).done();
    // Fetches the message and leaves it for `receive`.
    bob.run(["doctor"]).done();
    assert_eq!(bob.json(["status"]).done().record()["news"], 1);

    let (held, is_held) = mpsc::channel();
    let (release, released) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| hold(&bob, held, released));
        is_held.recv().unwrap();
        // It prints, and cannot confirm.
        let mut receiver = Running::start(&bob, ["receive"]);
        assert_eq!(receiver.event("message")["text"], "twice rather than never");
        assert_eq!(receiver.signal("KILL"), None);
        release.send(()).unwrap();
    });
    assert_eq!(bob.json(["receive"]).done().texts(), ["twice rather than never"]);
    assert!(bob.json(["receive"]).done().texts().is_empty());
    assert_eq!(bob.log("alice").len(), 1);
}

#[test]
fn output_that_nobody_reads_confirms_nothing() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    alice.run(["send", "bob", "unread"]).done();
    let mut child = bob.command().args(["--json", "receive", "--wait", "20"]).spawn().unwrap();
    drop(child.stdout.take());
    let run = Run::of_child(child);
    assert_eq!((run.code, run.err.as_str()), (Some(1), ""));
    assert_eq!(bob.json(["receive"]).done().texts(), ["unread"]);
}

#[test]
fn a_receiver_finds_the_relay_again() {
    let world = World::new();
    let mut relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    let mut receiver = Running::start(&bob, ["receive", "--follow"]);
    alice.run(["send", "bob", "before"]).done();
    assert_eq!(receiver.event("message")["text"], "before");
    let mut complaints = BufReader::new(receiver.child.stderr.take().unwrap());
    relay.stop();
    let mut line = String::new();
    complaints.read_line(&mut line).unwrap();
    assert!(line.contains("\"unreachable\"") && line.contains("trying on"), "{line}");
    alice.run(["send", "bob", "during"]).code(3);
    // One that starts without the relay says so, and goes on.
    let mut second = bob.command().args(["--json", "receive", "--follow"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(second.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"unreachable\"") && line.contains("trying on"), "{line}");
    second.kill().unwrap();
    second.wait().unwrap();
    relay.again();
    alice.run(["receive"]).done();
    assert_eq!(receiver.event("message")["text"], "during");
    assert_eq!(receiver.signal("TERM"), Some(0));
}

#[test]
fn verbose_logs_keep_to_standard_error_and_name_nobody() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, _) = world.pair(&relay);
    let run = alice.run(["-vvv", "send", "bob", "a secret text"]).code(0);
    assert_eq!(run.out.lines().count(), 1, "{run:?}");
    for never in ["secret text", "bob", PASSWORD] {
        assert!(!run.err.contains(never), "{never} in {}", run.err);
    }
    let run = alice.json(["-vvv", "receive"]).code(0);
    let mut lines = BufReader::new(run.err.as_bytes()).lines().map(Result::unwrap);
    assert!(lines.all(|line| serde_json::from_str::<serde_json::Value>(&line).is_ok()), "{}", run.err);
}

#[test]
fn nothing_is_left_beside_the_home() {
    let world = World::new();
    let relay = world.relay("relay");
    let _people = world.pair(&relay);
    let mut left: Vec<String> = fs::read_dir(world.path("."))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["alice", "bob", "relay"]);
}
