//! `meow doctor` on what is whole and what is broken.

use std::fs;

use meow::{Client, Content};

use crate::support::{Run, World};

#[track_caller]
fn bad(run: &Run) -> Vec<&str> {
    run.records.iter().filter(|c| c["ok"] == false).map(|c| c["check"].as_str().unwrap()).collect()
}

#[test]
fn all_well() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, _) = world.pair(&relay);
    let run = alice.json(["doctor"]).done();
    let checks: Vec<&str> = run.records.iter().map(|c| c["check"].as_str().unwrap()).collect();
    assert_eq!(checks, ["identity", "store", "server", "mail", "queue"]);
    assert!(bad(&run).is_empty());
    assert!(alice.run(["doctor"]).done().out.lines().all(|line| line.starts_with("ok ")));
}

#[test]
fn a_card_that_waits_for_its_answer_is_well() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = (world.person("alice", &relay), world.person("bob", &relay));
    let uri = alice.run(["card", "new", "bob"]).done().out;
    alice.run(["send", "bob", "once you are there"]).code(3);
    alice.run(["doctor"]).done();
    bob.run(["card", "take", uri.trim(), "--as", "alice"]).done();
    bob.run(["send", "alice", "before keys are confirmed"]).code(3);
    bob.run(["doctor"]).done();
    // Nor does what waits keep anybody from receiving.
    bob.run(["receive"]).done();
}

#[test]
fn a_server_that_is_gone() {
    let world = World::new();
    let mut relay = world.relay("relay");
    let (alice, _) = world.pair(&relay);
    relay.stop();
    let run = alice.json(["doctor"]).code(1);
    assert!(bad(&run).contains(&"server") && bad(&run).contains(&"mail"), "{run:?}");
    let server = run.records.iter().find(|c| c["check"] == "server").unwrap();
    assert_eq!(server["error"], "unreachable");
}

#[test]
fn another_server_in_its_place() {
    let world = World::new();
    let mut relay = world.relay("relay");
    let alice = world.person("alice", &relay);
    relay.stop();
    fs::remove_dir_all(world.path("relay")).unwrap();
    let url = relay.url().trim_end_matches('/').to_owned();
    let _other = world.relay_at("relay", &url);
    let run = alice.json(["doctor"]).code(1);
    let server = run.records.iter().find(|c| c["check"] == "server").unwrap();
    assert_eq!(server["error"], "wrong_peer");
}

#[test]
fn no_server_at_all() {
    let world = World::new();
    let alice = world.nobody("alice");
    alice.run(["init"]).done();
    assert_eq!(bad(&alice.json(["doctor"]).code(1)), ["servers"]);
}

#[test]
fn messages_that_are_stuck() {
    let world = World::new();
    let mut relay = world.relay("relay");
    let (alice, _) = world.pair(&relay);
    let send = async |client: Client| client.send("bob", Content::text(0, "old").unwrap()).await.unwrap();
    let stored = alice.days_ago(8, send).to_string();
    alice.run(["receive"]).done();
    assert_eq!(alice.json(["status", &stored]).done().record()["delivery"], "stored");
    let queued = alice.days_ago(1, send).to_string();
    relay.stop();
    let run = alice.json(["doctor"]).code(1);
    let stuck = |id: &String| run.records.iter().find(|c| c["about"] == **id).unwrap()["message"].as_str();
    assert!(stuck(&stored).unwrap().contains("has not fetched it"), "{run:?}");
    assert!(stuck(&queued).unwrap().contains("waits since"), "{run:?}");
}

#[test]
fn what_does_not_open() {
    let world = World::new();
    let alice = world.nobody("alice");
    assert_eq!(bad(&alice.json(["doctor"]).code(5)), ["identity"]);
    alice.run(["init"]).done();
    let mut thief = alice.clone();
    thief.password = "wrong".into();
    assert_eq!(bad(&thief.json(["doctor"]).code(4)), ["identity"]);
    // The last page: no everyday command would look at it.
    let store = alice.home.join("store.db");
    let mut bytes = fs::read(&store).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    fs::write(&store, &bytes).unwrap();
    let run = alice.json(["doctor"]).code(8);
    assert_eq!(run.records.last().unwrap()["error"], "damaged");
}
