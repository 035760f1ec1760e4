//! Sending, receiving, and looking at what was exchanged.

use crate::support::{Running, World};

#[test]
fn two_people_meet_verify_and_talk() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = (world.person("alice", &relay), world.person("bob", &relay));

    let card = alice.json(["card", "new", "bob"]).done();
    let uri = card.record()["uri"].as_str().unwrap().to_owned();
    assert!(card.record()["expires_ms"].as_u64().unwrap() > 1_700_000_000_000);
    let taken = bob.json(["card", "take", &uri, "--as", "alice", "--greeting", "Bob here"]).done();
    assert_eq!(taken.record()["answered"], true);

    let events = alice.json(["receive", "--wait", "20"]).done();
    assert_eq!(events.events("greeting")[0]["text"], "Bob here");
    for person in [&bob, &alice] {
        person.run(["receive"]).done();
    }
    let (a, b) = (alice.json(["verify", "bob"]).done(), bob.json(["verify", "alice"]).done());
    assert_eq!(a.record()["safety_code"], b.record()["safety_code"]);
    assert_eq!(a.record()["verified"], false);
    assert_eq!(alice.json(["verify", "bob", "--confirm"]).done().record()["verified"], true);
    assert_eq!(alice.json(["contacts"]).done().record()["verified"], true);

    let sent = alice.json(["send", "bob", "hello"]).done();
    let id = sent.record()["id"].as_str().unwrap().to_owned();
    assert_eq!(sent.record()["delivery"], "stored");
    assert_eq!(alice.json(["status"]).done().record()["news"], 0, "only what `receive` prints");
    let got = bob.json(["receive", "--wait", "20"]).done();
    assert_eq!(got.texts(), ["hello"]);
    assert_eq!(got.events("message")[0]["contact"], "alice");
    assert!(bob.json(["receive"]).done().records.is_empty());
    alice.run(["receive"]).done();
    let status = alice.json(["status", &id]).done();
    assert!(["decrypted", "read"].contains(&status.record()["delivery"].as_str().unwrap()));
    assert_eq!(status.record()["text"], "hello");
}

#[test]
fn waiting_for_the_receipt_beside_a_receiver() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    let mut receiver = Running::start(&bob, ["receive", "--follow"]);
    let sent = alice.json(["send", "bob", "are you there?", "--wait", "decrypted", "--timeout", "60"]).done();
    assert!(["decrypted", "read"].contains(&sent.record()["delivery"].as_str().unwrap()));
    assert_eq!(receiver.event("message")["text"], "are you there?");
    assert_eq!(receiver.signal("TERM"), Some(0));

    // Nobody there to decrypt: safe, but not so far.
    let sent = alice.json(["send", "bob", "and now?", "--wait", "decrypted", "--timeout", "1"]).code(3);
    assert_eq!(sent.record()["delivery"], "stored");
}

#[test]
fn a_message_before_keys_are_confirmed_waits() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = (world.person("alice", &relay), world.person("bob", &relay));
    let uri = alice.run(["card", "new", "bob"]).done().out;
    bob.piped(["card", "take", "-", "--as", "alice"], uri.as_bytes()).done();
    let sent = bob.json(["send", "alice", "early"]).code(3);
    assert_eq!(sent.record()["delivery"], "queued");
    assert!(sent.record()["waiting"].as_str().unwrap().contains("not confirmed yet"), "{sent:?}");
    assert_eq!(bob.json(["status"]).done().record()["queued"], 1);
    for person in [&alice, &bob] {
        person.run(["receive"]).done();
    }
    assert_eq!(alice.json(["receive", "--wait", "20"]).done().texts(), ["early"]);
}

#[test]
fn text_from_standard_input_and_of_many_lines() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    alice.piped(["send", "bob", "-"], "one\nm9 two\n".as_bytes()).done();
    alice.run(["send", "bob", "--", "--not-an-option"]).done();
    let got = bob.run(["receive"]).done().out;
    let lines: Vec<&str> = got.lines().collect();
    assert!(lines[0].ends_with("Z alice: one"), "{got}");
    assert_eq!(lines[1], "    m9 two");
    assert!(lines[2].ends_with("alice: --not-an-option"), "{got}");
    assert_eq!(bob.log("alice")[0].1, "one\nm9 two");
}

#[test]
fn a_message_cannot_steer_the_terminal() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    let nasty = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\u{202e}txt";
    alice.run(["send", "bob", nasty]).done();
    for args in [["receive"].as_slice(), &["log", "alice"]] {
        let out = bob.run(args).done().out;
        assert!(out.contains("owned") && out.contains("\\u{1b}[2J") && out.contains("\\u{202e}"), "{out}");
        assert!(!out.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{out:?}");
    }
    assert_eq!(bob.log("alice")[0].1, nasty);
}

#[test]
fn the_log_is_limited_and_searched() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    for text in ["the first train", "a boat", "the last train"] {
        alice.run(["send", "bob", text]).done();
    }
    bob.run(["receive"]).done();
    bob.run(["send", "alice", "no train here"]).done();
    let texts = |args: &[&str]| -> Vec<String> {
        let run = bob.json(args).done();
        run.records.iter().map(|m| m["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&["log", "alice"]), ["the first train", "a boat", "the last train", "no train here"]);
    assert_eq!(texts(&["log", "alice", "--limit", "2"]), ["the last train", "no train here"]);
    assert_eq!(
        texts(&["log", "alice", "--search", "TRAI"]),
        ["the first train", "the last train", "no train here"]
    );
    assert_eq!(texts(&["log", "alice", "--search", "train", "--limit", "1"]), ["no train here"]);
    assert!(texts(&["log", "alice", "--search", "ship"]).is_empty());
}

#[test]
fn deliveries_are_printed_when_asked_for() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    let id = alice.json(["send", "bob", "one"]).done().record()["id"].clone();
    bob.run(["receive"]).done();
    let got = alice.json(["receive", "--deliveries"]).done();
    let rungs: Vec<&str> = got.events("delivery").iter().map(|e| e["delivery"].as_str().unwrap()).collect();
    assert!(rungs.starts_with(&["stored", "decrypted"]), "{rungs:?}");
    assert_eq!(got.events("delivery")[0]["id"], id);

    alice.run(["send", "bob", "two"]).done();
    bob.run(["receive"]).done();
    assert!(alice.json(["receive"]).done().records.is_empty());
}

#[test]
fn contacts_are_renamed_and_removed() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    alice.run(["contact", "rename", "bob", "Robert"]).done();
    alice.json(["send", "bob", "hi"]).failed(5, "not_found");
    bob.run(["send", "alice", "hi"]).done();
    assert_eq!(alice.json(["receive"]).done().events("message")[0]["contact"], "Robert");
    alice.run(["contact", "remove", "Robert"]).done();
    assert_eq!(alice.run(["contacts"]).done().out, "");
    alice.json(["log", "Robert"]).failed(5, "not_found");
}

#[test]
fn a_rotated_mailbox_keeps_every_message() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    bob.run(["send", "alice", "into the old one"]).done();
    assert_eq!(alice.json(["rotate", "bob"]).done().record()["announced"], true);
    bob.run(["receive"]).done();
    bob.run(["send", "alice", "into the new one"]).done();
    let got = alice.json(["receive"]).done();
    assert_eq!(got.texts(), ["into the old one", "into the new one"]);
}
