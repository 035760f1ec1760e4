//! What `meow policy` says of a policy.

use serde_json::Value;

use crate::support::World;

fn number(of: &Value, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_else(|| panic!("no {key} in {of}"))
}

#[test]
fn a_policy_states_expected_latency_and_bytes_also_before_it_is_set() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, _bob) = world.pair(&relay);
    let shown = alice.json(["policy", "bob"]).done().record().clone();
    let expected = shown["expected"].as_array().unwrap();
    let purposes: Vec<_> = expected.iter().map(|route| route["purpose"].as_str().unwrap()).collect();
    assert_eq!(purposes, ["send", "fetch"]);
    // The same words as those of the routes.
    let routes = alice.json(["route", "bob"]).done().records;
    assert_eq!(routes.len(), expected.len());
    for (route, stated) in routes.iter().zip(expected) {
        for key in ["purpose", "route", "server", "bytes_up", "bytes_down", "latency_ms"] {
            assert_eq!(route[key], stated[key], "{key}");
        }
        assert!(number(stated, "bytes_up") > 256 && number(stated, "bytes_down") > 0, "{stated}");
    }
    let text = alice.run(["policy", "bob"]).done().out;
    let bytes = [number(&expected[0], "bytes_up"), number(&expected[0], "bytes_down")];
    let line = format!("by server: a short text: about {} bytes out, {} in, ", bytes[0], bytes[1]);
    assert!(text.lines().any(|l| l.starts_with("# send to http") && l.contains(&line)), "{text}");

    // A policy about to be set: stated, and not set.
    let wider = ["--set", "padding=8192"];
    let tried = alice.json(["policy", "bob", wider[0], wider[1], "--dry-run"]).done().record().clone();
    assert_eq!((&tried["padding"], &shown["padding"]), (&8192.into(), &256.into()));
    let up = number(&tried["expected"][0], "bytes_up");
    assert!(up > bytes[0] + 7000, "{tried}");
    assert_eq!(alice.json(["policy", "bob"]).done().record(), &shown, "nothing was set");
    // Once it is set, the same is said of it.
    let set = alice.json(["policy", "bob", wider[0], wider[1]]).done().record().clone();
    assert_eq!(set, tried);
    // A route that does not work says so instead.
    let chain =
        alice.json(["policy", "bob", "--set", "routes=matriochka", "--dry-run"]).done().record().clone();
    for stated in chain["expected"].as_array().unwrap() {
        assert!(stated["problem"].as_str().unwrap().contains("`meow hop` adds"), "{stated}");
        assert!(stated.get("bytes_up").is_none(), "{stated}");
    }
    alice.json(["policy", "bob", "--set", "copies=none", "--dry-run"]).failed(2, "usage");
    let new = alice.json(["policy", "--new-contacts"]).done().record().clone();
    assert!(new.get("expected").is_none(), "{new}");
}

#[test]
fn what_direct_only_took_away_is_told_how_to_bring_back() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, _bob) = world.pair(&relay);
    let set = "meow policy bob --set routes=direct,server";
    let only = alice.run(["direct", "bob", "--only"]).done();
    assert!(only.out.contains("direct links only") && !only.out.contains(set), "{only:?}");
    assert!(only.out.contains("whether bob is online is not known"), "{only:?}");
    let allowed = alice.run(["direct", "bob", "--allow"]).done();
    assert!(allowed.out.contains("direct links only") && allowed.out.contains(set), "{allowed:?}");
    alice.run(set.split(' ').skip(1)).done();
    let allowed = alice.run(["direct", "bob", "--allow"]).done();
    assert!(allowed.out.contains("direct links preferred") && !allowed.out.contains(set), "{allowed:?}");
}
