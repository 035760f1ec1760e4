//! What one source may ask, as the operator sets it.

use std::fs;
use std::ops::RangeInclusive;
use std::time::Instant;

use meow_core::crypto::SystemRandom;
use meow_core::onion::{Delay, OnionClass, mark_relayed, seal};
use meow_core::request::{ClearAnswer, ClearCode, DESCRIBE};
use meow_testkit::mqtt::{Behaviour, Broker};
use meow_transport_mqtt::Mqtt;

use crate::process::{Relay, meowd, transports};
use crate::support::client::post_from;
use crate::support::onion::step;

/// How many got through, if so many do at once and so many more in each second that it took.
fn expected(burst: usize, rate: usize, began: Instant) -> RangeInclusive<usize> {
    burst..=burst + rate * (1 + began.elapsed().as_secs() as usize)
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_what_comes_through_a_broker_has_the_rate_that_is_set_in_each_place() {
    let broker = Broker::start(Behaviour::default()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let run = |more: &[&str]| {
        let mut command = meowd([&["run", "--data", data, "--listen", &broker.url("cats")], more].concat());
        command.env("MEOWD_LISTENER_BURST", "12");
        command
    };
    fs::write(dir.path().join("meowd.toml"), "listener-rate = 1\nlistener-burst = 6\n").unwrap();
    let mut by_file = run(&[]);
    by_file.env_remove("MEOWD_LISTENER_BURST");
    for (command, burst) in [(by_file, 6), (run(&[]), 12), (run(&["--listener-burst", "18"]), 18)] {
        let relay = Relay::ready(command).await;
        let at = relay.reference.url.clone().with_server(relay.reference.fingerprint);
        let client = transports().with(Mqtt::default());
        let began = Instant::now();
        let mut served = 0;
        for _ in 0..60 {
            let mut link = client.connect(&at).await.unwrap();
            link.tx.send(DESCRIBE.to_vec().into()).await.unwrap();
            link.tx.finish().await.unwrap();
            let answer = ClearAnswer::from_packet(&link.rx.recv().await.unwrap().unwrap()).unwrap();
            served += usize::from(answer != ClearAnswer::Refused(ClearCode::Busy));
        }
        let expected = expected(burst, 1, began);
        assert!(expected.contains(&served), "{served}, not {expected:?}");
        relay.stop("TERM").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_a_listed_server_has_the_share_that_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let listed = format!("http://192.0.2.7:9/#skp={}", "A".repeat(43));
    let args = ["--hop", "--hop-to", &listed, "--hop-server-share", "5", "--rate", "1", "--burst", "4"];
    let relay = Relay::start(dir.path(), &[&args[..], &["--trusted-proxy", "127.0.0.1"]].concat()).await;
    let to = relay.client().await;
    for (from, share) in [("192.0.2.7", 5), ("192.0.2.8", 1)] {
        let began = Instant::now();
        let mut taken = 0;
        for _ in 0..40 {
            let mut packet =
                seal(OnionClass::Small, &[step(&to, Delay::NONE)], b"junk", &mut SystemRandom).unwrap();
            mark_relayed(&mut packet);
            let answer = post_from(&to.endpoint, from, &packet).await;
            taken += usize::from(ClearAnswer::from_packet(&answer).unwrap() == ClearAnswer::Taken);
        }
        let expected = expected(4 * share, share, began);
        assert!(expected.contains(&taken), "{from}: {taken}, not {expected:?}");
    }
    relay.stop("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_a_hop_takes_as_many_packets_for_a_key_as_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--hop", "--hop-tags", "16", "--trusted-proxy", "127.0.0.1"];
    let relay = Relay::start(dir.path(), &args).await;
    let to = relay.client().await;
    let mut taken = [0; 4];
    // Two addresses of a network of 24 bits, one of 48 bits, and this machine.
    let from = ["192.0.2.1", "192.0.2.2", "2001:db8:1:2::3", "127.0.0.1"];
    for (from, taken) in from.iter().zip(&mut taken) {
        for _ in 0..20 {
            let packet =
                seal(OnionClass::Small, &[step(&to, Delay::NONE)], b"junk", &mut SystemRandom).unwrap();
            let answer = post_from(&to.endpoint, from, &packet).await;
            *taken += usize::from(ClearAnswer::from_packet(&answer).unwrap() == ClearAnswer::Taken);
        }
    }
    assert_eq!(taken.iter().sum::<usize>(), 16, "{taken:?}");
    assert!(taken[0] + taken[1] <= 3 && taken[2] >= 1, "{taken:?}");
    relay.stop("TERM").await;
}
