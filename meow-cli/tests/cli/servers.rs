//! One's own servers: reachable, unreachable, and not the one that was meant.

use crate::support::World;

#[test]
fn servers_are_added_listed_and_removed() {
    let world = World::new();
    let (one, two) = (world.relay("one"), world.relay("two"));
    let alice = world.person("alice", &one);
    let with_invitation = format!("{}&invite=secret-code", two.reference);
    alice.run(["server", "add", &with_invitation]).done();
    let list = alice.json(["server", "list"]).done();
    let servers: Vec<&str> = list.records.iter().map(|s| s["server"].as_str().unwrap()).collect();
    assert_eq!(servers, [&one.reference, &two.reference]);
    assert!(!list.out.contains("secret-code"));
    alice.run(["server", "remove", one.url()]).done();
    alice.run(["server", "remove", two.fingerprint()]).done();
    assert_eq!(alice.run(["server", "list"]).done().out, "");
    alice.json(["server", "remove", one.url()]).failed(5, "not_found");
}

#[test]
fn whoever_moves_keeps_every_conversation_even_when_the_old_server_is_lost() {
    let world = World::new();
    let (mut one, two, three) = (world.relay("one"), world.relay("two"), world.relay("three"));
    let (alice, bob) = world.pair(&one);
    let moved = alice.json(["server", "move", one.url(), &two.reference]).code(3);
    assert_eq!(
        (&moved.record()["left"], &moved.record()["waiting"]),
        (&false.into(), &serde_json::json!([]))
    );
    let leaving = alice.json(["server", "list"]).done();
    assert!(leaving.records[0]["leaving"] == true && leaving.records[1]["leaving"] == false);
    bob.run(["receive"]).done();
    alice.run(["receive"]).done();
    let list = alice.json(["server", "list"]).done();
    assert_eq!((list.records.len(), list.records[0]["server"].as_str()), (1, Some(two.reference.as_str())));
    bob.run(["send", "alice", "at the new place"]).done();
    assert_eq!(alice.json(["receive"]).done().texts(), ["at the new place"]);
    // Bob's server dies.
    one.stop();
    bob.json(["server", "move", one.fingerprint(), &three.reference]).code(3);
    let lost = bob.json(["server", "move", "--lost", one.fingerprint(), &three.reference]).done();
    assert_eq!(lost.record()["left"], true);
    alice.run(["send", "bob", "are you there?"]).code(3);
    // The new keys are confirmed both ways before.
    let mut texts = Vec::new();
    for _ in 0..20 {
        alice.run(["receive"]);
        texts.extend(bob.json(["receive"]).done().texts().into_iter().map(str::to_owned));
        if !texts.is_empty() {
            break;
        }
    }
    assert_eq!(texts, ["are you there?"]);
    assert_eq!(bob.json(["server", "move", "nowhere", &three.reference]).code, Some(5));
}

#[test]
fn what_is_no_reference_is_wrong_usage() {
    let world = World::new();
    let relay = world.relay("relay");
    let alice = world.person("alice", &relay);
    for wrong in ["http://127.0.0.1", "nonsense", &format!("{}x", relay.reference)] {
        alice.json(["server", "add", wrong]).failed(2, "usage");
    }
    let reference = format!("pigeon://loft#skp={}", relay.fingerprint());
    let error = alice.json(["server", "add", &reference]).failed(2, "unknown_scheme");
    assert!(error.err.contains("http"), "names the known ones: {error:?}");
}

#[test]
fn another_server_at_the_address_is_not_trusted() {
    let world = World::new();
    let (right, wrong) = (world.relay("right"), world.relay("wrong"));
    let reference = format!("{}#skp={}", wrong.url(), right.fingerprint());
    let alice = world.nobody("alice");
    let run = alice.json(["init", "--server", &reference]).failed(9, "wrong_peer");
    assert!(run.record()["words"].as_str().unwrap().split(' ').count() == 24, "the words come first");
    alice.json(["server", "add", &reference]).failed(9, "wrong_peer");
    assert!(alice.json(["server", "list"]).done().records.is_empty());
}

#[test]
fn quic_carries_all_and_a_killed_relay_loses_nothing() {
    let world = World::new();
    let mut relay = world.relay_at("relay", "udp://127.0.0.1:0");
    assert!(relay.reference.starts_with("udp://127.0.0.1:"), "{}", relay.reference);
    let (alice, bob) = world.pair(&relay);
    alice.run(["send", "bob", "before"]).done();
    relay.stop();
    alice.json(["send", "bob", "meanwhile"]).code(3);
    relay.again();
    alice.run(["receive"]).done();
    assert_eq!(bob.json(["receive", "--wait", "20"]).done().texts(), ["before", "meanwhile"]);
    alice.run(["receive", "--wait", "20"]).done();
    let log = alice.log("bob");
    assert!(log.iter().all(|(outgoing, _, delivery)| *outgoing && delivery == "decrypted"), "{log:?}");
    // The handshake itself says which server it is.
    let other = world.relay_at("other", "udp://127.0.0.1:0");
    let reference = format!("{}#skp={}", other.url(), relay.fingerprint());
    alice.json(["server", "add", &reference]).failed(9, "wrong_peer");
}

#[test]
fn an_unreachable_server_keeps_nothing_from_being_queued() {
    let world = World::new();
    let mut relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    relay.stop();
    let sent = alice.json(["send", "bob", "later"]).code(3);
    assert_eq!(sent.record()["delivery"], "queued");
    assert!(!sent.record()["waiting"].as_str().unwrap().is_empty());
    assert_eq!(sent.err, "");
    let text = alice.run(["send", "bob", "and this"]).code(3).out;
    assert!(text.contains(" queued: "), "{text}");
    alice.json(["server", "add", &relay.reference]).failed(6, "unreachable");
    alice.json(["card", "new", "carol"]).failed(6, "unreachable");
    alice.json(["receive"]).failed(6, "unreachable");
    alice.json(["receive", "--wait", "1"]).failed(6, "unreachable");
    relay.again();
    alice.run(["receive"]).done();
    assert_eq!(bob.json(["receive", "--wait", "20"]).done().texts(), ["later", "and this"]);
    assert_eq!(alice.json(["status"]).done().record()["queued"], 0);
}
