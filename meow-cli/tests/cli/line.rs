//! Over serial lines, with real processes on one line, or with no relay at all; a cable is pulled in the middle of a message and
//! plugged in again; nothing is lost, nothing comes twice.

use std::time::{Duration, Instant};

use meow_testkit::transport::line::Line;

use crate::support::{Person, Relay, Run, Running, World, befriend};

/// Long enough for a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A runtime for the line's tasks; all else here is processes.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// The reference of a relay as somebody writes it whose own device leads there.
fn by(line: &Line, station: usize, options: &str, relay: &Relay) -> String {
    format!("{}#skp={}", line.url(station, options), relay.fingerprint())
}

/// Runs a command, and pulls the cable of a station once so many more bytes are on the line.
fn while_pulled(line: &mut Line, station: usize, bytes: u64, person: &Person, args: &[&str]) -> Run {
    let until = line.carried() + bytes;
    let mut child = person.command().arg("--json").args(args).spawn().unwrap();
    let began = Instant::now();
    while line.carried() < until {
        assert!(child.try_wait().unwrap().is_none(), "{args:?} ended without a pull");
        assert!(began.elapsed() < PATIENCE, "nothing goes over the line");
        std::thread::sleep(Duration::from_millis(1));
    }
    line.unplug(station);
    std::thread::sleep(Duration::from_millis(300));
    line.plug(station).unwrap();
    Run::of_child(child)
}

/// A text that takes most of a second on the cable.
fn long(number: usize) -> String {
    format!("{number}: {}", "purr ".repeat(1000))
}

fn received(person: &Person, from: &str) -> Vec<String> {
    let log = person.log(from).into_iter().filter(|(outgoing, ..)| !outgoing);
    log.map(|(_, text, _)| text).collect()
}

/// Two people and a relay share a line in the way of TNCs; the relay's is unplugged while both have something under way.
#[test]
fn two_people_over_kiss_outlive_the_relays_cable() {
    const OPTIONS: &str = "?mode=kiss&rate=115200&preamble=0";
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut line = Line::paced(3, Some(115_200)).unwrap();
    let world = World::new();
    let listen = line.url(0, OPTIONS);
    let relay = world.relay_with("relay", &["--listen", &listen, "--admission", "open"]);
    let (alice, bob) = (world.nobody("alice"), world.nobody("bob"));
    for (station, person) in [(1, &alice), (2, &bob)] {
        person.run(["init", "--server", &by(&line, station, OPTIONS, &relay)]).done();
    }
    befriend(&alice, &bob);

    // Bob's program has his device all the time; what he says meanwhile is sent by it.
    let mut following = Running::start(&bob, ["receive", "--follow"]);
    let run = bob.json(["send", "alice", "in the meantime"]);
    assert!(matches!(run.code, Some(0 | 3)), "{run:?}");
    let run = while_pulled(&mut line, 0, 1500, &alice, &["send", "bob", &long(0)]);
    assert!(matches!(run.code, Some(0 | 3)), "{run:?}");
    let began = Instant::now();
    while received(&alice, "bob").is_empty() {
        assert!(began.elapsed() < PATIENCE, "{:?}", bob.log("alice"));
        alice.run(["receive", "--wait", "5"]);
    }
    assert_eq!(following.event("message")["text"], long(0).as_str());
    drop(following);
    bob.run(["receive"]);
    assert_eq!(received(&alice, "bob"), ["in the meantime"]);
    assert_eq!(received(&bob, "alice"), [long(0)]);
}

/// A message that was sent by direct links, and that the contact has decrypted.
fn went_by_cable(person: &Person, id: &str) {
    let began = Instant::now();
    loop {
        let run = person.json(["status", id]);
        let message = run.record();
        if message["delivery"] == "decrypted" {
            assert_eq!(message["way"], "direct", "{message}");
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{message}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Alice and Bob each have an end of one cable. A relay makes them acquainted, and tells both programs that their stores are the
/// newest copies; after that there is none.
#[test]
fn meow_direct_over_a_cable_needs_no_relay() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut line = Line::paced(2, Some(115_200)).unwrap();
    let ends = [line.url(0, ""), line.url(1, "")];
    let world = World::new();
    let mut relay = world.relay("relay");
    let (alice, bob) = (world.person("alice", &relay), world.person("bob", &relay));
    befriend(&alice, &bob);
    let both = [(&alice, "bob", &ends[0]), (&bob, "alice", &ends[1])];
    for (person, other, _) in both {
        person.run(["direct", other, "--allow", "--show"]).done();
    }
    // What each has to know to reach the other goes by the relay.
    for _ in 0..2 {
        for (person, ..) in both {
            person.run(["receive"]).done();
        }
    }
    for (person, other, end) in both {
        person.run(["direct", other, "--only", "--at", end]).done();
    }
    let follow =
        |person: &Person, end: &str| Running::start(person, ["receive", "--follow", "--listen", end]);
    let say = |person: &Person, to: &str, text: &str| {
        // While a program that runs has the device, it sends what another one has queued.
        let run = person.json(["send", to, text]);
        assert!(matches!(run.code, Some(0 | 3)), "{run:?}");
        run.record()["id"].as_str().unwrap().to_owned()
    };
    // Before the others start: two programs that open a device at the same moment are a race.
    let hello = say(&alice, "bob", "hello by cable");
    let (mut alices, mut bobs) = (follow(&alice, &ends[0]), follow(&bob, &ends[1]));
    assert_eq!(bobs.event("message")["text"], "hello by cable");
    went_by_cable(&alice, &hello);
    relay.stop();
    let answer = say(&bob, "alice", &long(1));
    assert_eq!(alices.event("message")["text"], long(1).as_str());
    went_by_cable(&bob, &answer);

    // The cable is pulled under a message: it waits, and goes over once the cable is back.
    let until = line.carried() + 1500;
    let again = say(&alice, "bob", &long(2));
    let began = Instant::now();
    while line.carried() < until {
        assert!(began.elapsed() < PATIENCE, "nothing goes over the line");
        std::thread::sleep(Duration::from_millis(1));
    }
    line.unplug(0);
    std::thread::sleep(Duration::from_millis(300));
    line.plug(0).unwrap();
    assert_eq!(bobs.event("message")["text"], long(2).as_str());
    went_by_cable(&alice, &again);
    drop((alices, bobs));
    let texts = |person: &Person, from: &str| received(person, from);
    assert_eq!(texts(&bob, "alice"), ["hello by cable".to_owned(), long(2)], "once, in order");
    assert_eq!(texts(&alice, "bob"), [long(1)]);
}
