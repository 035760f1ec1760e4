//! Cover traffic, as its user meets it.

use std::time::{Duration, Instant};

use crate::support::{Running, World};

#[test]
fn cover_traffic_is_set_explained_and_obeyed() {
    let world = World::new();
    let relay = world.relay("relay");
    let (alice, bob) = world.pair(&relay);
    let shown = alice.json(["policy", "bob", "--set", "cover=6/h", "--set", "padding=2048"]).done();
    let record = shown.record();
    assert_eq!(
        (&record["cover"], &record["loops"], &record["padding"]),
        (&"10m".into(), &"none".into(), &2048.into())
    );
    let shown = alice.json(["policy", "bob", "--set", "cover=10s", "--set", "padding=256"]).done();
    // As often as pauses and the round trip of a link allow; 512 bytes there, 256 back, each with its heads, and a word to
    // her own server for each.
    let number = |key: &str| shown.record()[key].as_u64().unwrap();
    let packets = number("cover_packets_per_day");
    assert!((16_000..=2 * 8640).contains(&packets), "{packets}");
    let bytes = [number("cover_bytes_up_per_day"), number("cover_bytes_down_per_day")];
    assert!(bytes.iter().all(|bytes| (packets * 300..packets * 1000).contains(bytes)), "{bytes:?}");
    let text = alice.run(["policy", "bob"]).done().out;
    assert!(text.contains(&format!("# cover traffic: about {packets} packets a day")), "{text}");
    // What is shown is what can be read.
    alice.piped(["policy", "bob", "--from", "-"], text.as_bytes()).done();
    let routes = alice.json(["route", "bob"]).done().records;
    let day = |route: &serde_json::Value| route["cover_packets_per_day"].as_u64().unwrap();
    assert_eq!(routes.iter().map(day).sum::<u64>(), packets);
    assert!(routes[0]["latency_ms"].as_u64().unwrap() >= 10_000, "{routes:?}");
    alice.json(["policy", "bob", "--set", "cover=9s"]).failed(2, "usage");
    alice.json(["policy", "bob", "--set", "loops=10m"]).failed(2, "usage");

    // It leaves at its moment, while the program runs: hardly in the next seconds, where a day has one.
    alice.json(["policy", "bob", "--set", "cover=1d"]).done();
    let sent = alice.json(["send", "bob", "hello"]).code(3);
    alice.json(["receive"]).done();
    let waits = alice.json(["status", sent.record()["id"].as_str().unwrap()]).done();
    assert!(waits.record()["waiting"].as_str().unwrap().contains("moment of cover traffic"), "{waits:#?}");
    alice.json(["policy", "bob", "--set", "cover=10s"]).done();
    let following = Running::start(&alice, ["receive", "--follow"]);
    let end = Instant::now() + Duration::from_secs(240);
    while !bob.json(["receive", "--wait", "10"]).texts().contains(&"hello") {
        assert!(Instant::now() < end, "it does not leave");
    }
    drop(following);
    let log = bob.log("alice");
    assert_eq!(log.len(), 1, "messages that say nothing are not shown: {log:?}");
}
