//! What stands on standard error beside errors: logs, and where a program listens.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::support::{Person, Running, World};

/// The messages of the log of a command, with their fields.
fn logged(person: &Person, args: &[&str]) -> Vec<Value> {
    let run = person.json(args);
    assert!(matches!(run.code, Some(0 | 3)), "{run:?}");
    run.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].clone()).collect()
}

fn says(lines: &[Value], what: &str) -> bool {
    lines.iter().any(|line| line["message"].as_str().unwrap().starts_with(what))
}

#[test]
fn logs_tell_how_things_went_and_nothing_of_whom() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, _bob) = world.pair(&relay);
    assert_eq!(logged(&alice, &["receive"]), Vec::<Value>::new());
    let lines = logged(&alice, &["-v", "receive"]);
    assert!(
        says(&lines, "a server is reached") && lines.iter().all(|line| line["scheme"] == "http"),
        "{lines:?}"
    );

    alice.run(["direct", "bob", "--allow"]).done();
    let lines = logged(&alice, &["-vv", "send", "bob", "a secret"]);
    assert!(says(&lines, "not dialled: "), "{lines:?}");
    let port = relay.url().trim_end_matches('/').rsplit_once(':').unwrap().1;
    let text = format!("{lines:?}");
    for never in ["bob", "secret", port, &relay.fingerprint()[..6]] {
        assert!(!text.contains(never), "{never} in {text}");
    }
}

#[test]
fn the_port_that_the_system_chose_is_told() {
    let world = World::new();
    let relay = world.relay("relay");
    let alice = world.person("alice", &relay);
    let listen = ["receive", "--follow", "--listen", "udp://127.0.0.1:0"];
    let first = |command: &mut std::process::Command| {
        let mut running = Running::of(command);
        let mut line = String::new();
        BufReader::new(running.child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        line
    };
    let chosen = |url: &str| {
        let port = url
            .strip_prefix("udp://127.0.0.1:")
            .and_then(|rest| rest.trim_end_matches('/').parse::<u16>().ok());
        assert!(port.is_some_and(|port| port != 0), "{url}");
    };
    let text = first(alice.command().args(listen));
    chosen(text.trim().strip_prefix("meow: listening at ").unwrap_or_else(|| panic!("{text}")));
    let object: Value = serde_json::from_str(&first(alice.command().arg("--json").args(listen))).unwrap();
    chosen(object["listening"].as_str().unwrap());
}
