//! What stands on standard error beside errors.

use serde_json::Value;

use crate::support::{Person, World};

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
