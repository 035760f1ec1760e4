//! What cover traffic costs.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use super::net::{Net, Relay};
use super::{settle, until};
use crate::support::World;

/// What cover traffic costs, by the packets that leave: each moment, and what `meow policy` says of one.
#[test]
#[ignore = "waits for some minutes: scripts/soak cover"]
fn cover_traffic_costs_what_is_stated() {
    let Some(mut net) = Net::new() else { return };
    let world = World::new();
    let (own, theirs) = (net.machine("m1", 11), net.machine("m2", 12));
    let (home, abroad) = (net.machine("home", 1), net.machine("abroad", 2));
    let relays = [("m1", &own), ("m2", &theirs)].map(|(name, on)| Relay::start(on, &world.path(name), &[]));
    let (alice, joe) = (world.nobody("alice"), world.nobody("joe"));
    home.meow(&alice, ["init", "--server", &relays[0].reference]).done();
    abroad.meow(&joe, ["init", "--server", &relays[1].reference]).done();
    let card = world.path("card");
    let card = card.to_str().unwrap();
    abroad.meow(&joe, ["card", "new", "alice", "--out", card]).done();
    home.meow(&alice, ["card", "take", card, "--as", "joe"]).done();
    until(|| {
        abroad.meow(&joe, ["receive"]);
        home.meow(&alice, ["receive"]);
        home.meow(&alice, ["contacts"])
            .records
            .iter()
            .all(|c| c["status"] == "established" && c["queued"] == 0)
    });
    // A session is opened by the second request of one run, once a day; that is reckoned with, and not waited for.
    home.cut(&[&theirs]);
    (0..3).for_each(|_| assert_eq!(home.meow(&alice, ["send", "joe", "hello"]).code, Some(3)));
    home.cut(&[]);
    home.meow(&alice, ["receive"]).done();
    for pause in ["10s", "30s"] {
        home.meow(&alice, ["policy", "joe", "--set", &format!("cover={pause}")]).done();
        let said = home.meow(&alice, ["route", "joe"]).done().records.remove(0);
        let said = |key: &str| said[key].as_f64().unwrap();
        let capture = home.watch(&world.path("."));
        let mut command = alice.command();
        command.args(["receive", "--follow"]);
        let mut following = home.command(&command).stdout(Stdio::null()).spawn().unwrap();
        let secs = std::env::var("MEOW_COVER_SECS").map_or(300, |secs| secs.parse().unwrap());
        std::thread::sleep(Duration::from_secs(secs));
        following.kill().unwrap();
        following.wait().unwrap();
        settle();
        let bytes = capture.bytes(&[&theirs]);
        // What carries an item, with its heads.
        let file = fs::read_to_string(&capture.file).unwrap();
        let moments = file.lines().filter(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let to = |end: &str| end.starts_with(&format!("{}.", theirs.address));
            matches!(words[..], [_, _, ">", end, "tcp", payload, ..] if to(end) && payload.parse().is_ok_and(|n: u64| n > 500))
        });
        let moments = moments.count() as f64;
        eprintln!("{pause}: {moments} moments, {bytes:?} bytes");
        for (key, bytes) in ["cover_bytes_up_per_day", "cover_bytes_down_per_day"].into_iter().zip(bytes) {
            let (said, measured) = (said(key) / said("cover_packets_per_day"), bytes as f64 / moments);
            eprintln!("{key}: {said:.0} for each, measured {measured:.0}");
            assert!(
                (said - measured).abs() * 10.0 <= measured,
                "{pause}, {key}: {said}, measured {measured}"
            );
        }
    }
}
