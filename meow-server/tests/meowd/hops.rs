//! The program as a hop: chains of real processes, killed and started again.

use std::path::Path;
use std::time::{Duration, Instant};

use meow_core::crypto::SystemRandom;
use meow_core::lane::ServerReference;
use meow_core::onion::{Delay, OnionClass, seal};
use meow_core::request::{Answer, ClearAnswer, DESCRIBE};
use meow_core::transport::Endpoint;
use meow_server::{Admission, Hop, RelayHandle};
use meow_testkit::mqtt::{Behaviour, Broker};
use meow_testkit::transport::line::Line;
use meow_transport_mqtt::Mqtt;
use meow_transport_serial::Serial;
use meow_transport_udp::Udp;

use crate::process::{Relay, said, transports};
use crate::support::client::items;
use crate::support::onion::{Chain, clear, step};
use crate::support::{Client, Owner, free_port};

fn free() -> String {
    format!("http://127.0.0.1:{}/", free_port())
}

/// A hop that may send to these on this machine.
async fn hop(url: &str, dir: &Path, to: &[&ServerReference]) -> Relay {
    let mut args = vec!["--hop".to_owned(), "--hop-allow".to_owned(), "127.0.0.0/8".to_owned()];
    for reference in to {
        args.extend(["--hop-to".to_owned(), reference.to_string()]);
    }
    args.extend(["--admission".to_owned(), "open".to_owned()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Relay::start_at(url, dir, &args).await
}

/// A relay inside this test, whose counts can be read.
async fn inside(url: &str, dir: &Path) -> RelayHandle {
    meow_server::Relay::builder()
        .transports(transports())
        .listen(url.parse().unwrap())
        .data(dir)
        .unwrap()
        .admission(Admission::Open)
        .hop(Hop::new(transports()).tags(dir.join("seen.tags")))
        .start()
        .await
        .unwrap()
}

async fn client(relay: &RelayHandle) -> Client {
    let endpoint: &Endpoint = &relay.local_endpoints()[0];
    Client::new(&transports(), endpoint, &relay.reference().fingerprint).await
}

fn taken(relay: &RelayHandle) -> u64 {
    relay.hop_counts().unwrap().taken
}

async fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(90);
    while !what() {
        assert!(Instant::now() < end, "it never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The sender dials the first process and no other; the mailbox's server hears from the second only.
#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_through_three_processes() {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let urls: Vec<_> = (0..3).map(|_| free()).collect();
    // A first start makes their keys, so that each can be told of the others.
    let mut references = Vec::new();
    for (url, dir) in urls.iter().zip(&dirs) {
        let relay = Relay::start_at(url, dir.path(), &[]).await;
        references.push(relay.reference.clone());
        relay.stop("TERM").await;
    }
    let [first, second, third] = [0, 1, 2].map(|i| &references[i]);
    let mut relays = Vec::new();
    for (i, to) in [vec![second], vec![first, third], vec![second]].into_iter().enumerate() {
        relays.push(hop(&urls[i], dirs[i].path(), &to).await);
    }
    let mut clients = Vec::new();
    for relay in &relays {
        clients.push(relay.client().await);
    }
    let chain = Chain::new(&clients.iter().collect::<Vec<_>>());
    let mut owner = Owner::new(&chain.last.server);
    assert_eq!(chain.ask(OnionClass::Small, owner.register(""), 0).await, Answer::Done);
    for n in 0..5u8 {
        let deposit = owner.deposit([n; 16], &[n; 96]);
        assert_eq!(chain.ask(OnionClass::Small, deposit, 0).await, Answer::Done);
    }
    let got = items(chain.ask(OnionClass::Large, owner.pull(0, 0), 3).await);
    assert_eq!(got.items.iter().map(|item| item.item[0]).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

/// Over HTTP, then QUIC, then a broker, then a line, and back.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_mixes_http_udp_mqtt_and_serial() {
    let broker = Broker::start(Behaviour::default()).await.unwrap();
    let line = Line::new(3).unwrap();
    let urls = [
        vec![free()],
        vec![format!("udp://127.0.0.1:{}", free_port())],
        // The third takes answers back over the line at which it dials the fourth.
        vec![broker.url("cats"), line.url(0, "")],
        vec![line.url(1, "")],
    ];
    let dirs: Vec<_> = urls.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    let mut references = Vec::new();
    for dir in &dirs {
        let relay = Relay::start(dir.path(), &[]).await;
        references.push(relay.reference.fingerprint);
        relay.stop("TERM").await;
    }
    let to = |url: &str, server: usize| ServerReference {
        url: url.parse().unwrap(),
        fingerprint: references[server],
        invite: None,
    };
    let neighbours = [
        vec![to(&urls[1][0], 1)],
        vec![to(&urls[0][0], 0), to(&urls[2][0], 2)],
        vec![to(&urls[1][0], 1), to(&urls[2][1], 3)],
        vec![to(&urls[3][0], 2)],
    ];
    let dialling = transports().with(Udp::default()).with(Mqtt::default()).with(Serial::new());
    let (mut relays, mut clients) = (Vec::new(), Vec::new());
    // The last one first: as long as it is alone on its line, others can ask there for its key.
    for (i, urls) in urls.iter().enumerate().rev() {
        let mut more: Vec<_> = urls.iter().skip(1).flat_map(|url| ["--listen", url]).collect();
        let named: Vec<_> = neighbours[i].iter().map(ServerReference::to_string).collect();
        more.extend(["--hop", "--hop-allow", "127.0.0.0/8", "--admission", "open"]);
        more.extend(named.iter().flat_map(|reference| ["--hop-to", reference]));
        relays.push(Relay::start_at(&urls[0], dirs[i].path(), &more).await);
        let at = if i == 3 { line.url(2, "") } else { urls[0].clone() };
        let at: Endpoint = at.parse().unwrap();
        let server = references[i];
        clients.insert(0, Client::new(&dialling, &at.with_server(server), &server).await);
    }
    // The client dials the first one only.
    let chain = Chain::new(&clients.iter().collect::<Vec<_>>());
    let mut owner = Owner::new(&chain.last.server);
    assert_eq!(chain.ask(OnionClass::Small, owner.register(""), 0).await, Answer::Done);
    assert_eq!(chain.ask(OnionClass::Small, owner.deposit([1; 16], &[1; 96]), 0).await, Answer::Done);
    let got = items(chain.ask(OnionClass::Large, owner.pull(0, 0), 3).await);
    assert_eq!((got.items.len(), &*got.items[0].item), (1, &[1; 96][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a04_a_hop_that_was_killed_sends_no_packet_twice() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (url, next) = (free(), inside(&free(), there.path()).await);
    let to = next.reference().clone();
    let mut relay = hop(&url, here.path(), &[&to]).await;
    let last = client(&next).await;
    let mut packets = Vec::new();
    for n in 1..=3 {
        let entry = relay.client().await;
        let route = [step(&entry, Delay::NONE), step(&last, Delay::NONE)];
        let packet = seal(OnionClass::Small, &route, &DESCRIBE, &mut SystemRandom).unwrap();
        assert_eq!(clear(&entry.exchange(packet.clone()).await.unwrap()), Some(ClearAnswer::Taken));
        packets.push(packet);
        until(|| taken(&next) == n).await;
        relay.kill().await;
        relay = hop(&url, here.path(), &[&to]).await;
        let entry = relay.client().await;
        for packet in &packets {
            assert_eq!(clear(&entry.exchange(packet.clone()).await.unwrap()), Some(ClearAnswer::Taken));
        }
    }
    // A fresh packet comes through, and nothing before it did.
    let entry = relay.client().await;
    let route = [step(&entry, Delay::NONE), step(&last, Delay::NONE)];
    let packet = seal(OnionClass::Small, &route, &DESCRIBE, &mut SystemRandom).unwrap();
    entry.exchange(packet).await.unwrap();
    until(|| taken(&next) >= 4).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((taken(&next), next.hop_counts().unwrap().replayed), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_waits_for_the_next_server_to_come_back() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let next_url = free();
    let next = inside(&next_url, there.path()).await;
    let (to, last) = (next.reference().clone(), client(&next).await);
    let relay = hop(&free(), here.path(), &[&to]).await;
    let entry = relay.client().await;
    next.shutdown().await;
    let route = [step(&entry, Delay::NONE), step(&last, Delay::NONE)];
    let packet = seal(OnionClass::Small, &route, &DESCRIBE, &mut SystemRandom).unwrap();
    assert_eq!(clear(&entry.exchange(packet).await.unwrap()), Some(ClearAnswer::Taken));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let next = inside(&next_url, there.path()).await;
    until(|| next.hop_counts().unwrap().delivered == 1).await;
}

/// The line is all that the log tells of packets: no address, no server, no key.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_at_the_end_what_became_of_packets_and_nothing_of_whose_they_were() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let next_url = free();
    let next = inside(&next_url, there.path()).await;
    let (to, last) = (next.reference().clone(), client(&next).await);
    let (named, dir) = (to.to_string(), here.path());
    let more = ["--hop", "--hop-allow", "127.0.0.0/8", "--hop-to", &named, "--log-format", "json"];
    let relay = Relay::start_at(&free(), dir, &more).await;
    let entry = relay.client().await;
    let packet = || {
        let route = [step(&entry, Delay::NONE), step(&last, Delay::NONE)];
        seal(OnionClass::Small, &route, &DESCRIBE, &mut SystemRandom).unwrap()
    };
    let sent = packet();
    for packet in [sent.clone(), sent, packet()] {
        assert_eq!(clear(&entry.exchange(packet).await.unwrap()), Some(ClearAnswer::Taken));
    }
    until(|| next.hop_counts().unwrap().delivered == 2).await;
    // A third has nowhere to go.
    next.shutdown().await;
    assert_eq!(clear(&entry.exchange(packet()).await.unwrap()), Some(ClearAnswer::Taken));
    let end = relay.stop("TERM").await;
    assert_eq!(end.code, 0, "{}", end.err);
    let lines: Vec<_> =
        end.err.lines().filter(|line| line.contains("what became of onion packets")).collect();
    let [line] = lines.as_slice() else { panic!("{}", end.err) };
    let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
    assert_eq!((&line["level"], &line["taken"], &line["replayed"]), (&"INFO".into(), &4.into(), &1.into()));
    // Each of the three that were new went on, or was under way when the relay stopped.
    let number = |key: &str| line[key].as_u64().unwrap();
    assert_eq!(number("forwarded") + number("stopped"), 3, "{line:?}");
    assert!(number("stopped") >= 1 && number("failed") == 0, "{line:?}");
    let counts = [
        "taken",
        "unreadable",
        "replayed",
        "delivered",
        "answered",
        "unawaited",
        "forwarded",
        "unknown",
        "crowded",
        "unnoted",
        "failed",
        "stopped",
    ];
    let frame = ["timestamp", "level", "message", "target"];
    for (key, value) in &line {
        assert!(frame.contains(&&**key) || (counts.contains(&&**key) && value.is_u64()), "{key}: {value}");
    }
    assert_eq!(line.len(), frame.len() + counts.len(), "{line:?}");
    assert!(!end.err.contains(&named) && !end.err.contains(&next_url), "{}", end.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_a_hop_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = ["run", "--data", dir.path().to_str().unwrap(), "--listen", "http://127.0.0.1:0"];
    let fingerprint = "A".repeat(43);
    let file = format!("file:///tmp/x#skp={fingerprint}");
    let line = format!("serial:///dev/ttyS0?odd=1#skp={fingerprint}");
    let password = format!("http://user:secret@example.org#skp={fingerprint}");
    for (more, text) in [
        (vec!["--hop-allow", "127.0.0.0/8"], "need --hop"),
        (vec!["--hop-tags", "9"], "need --hop"),
        (vec!["--hop", "--hop-tags", "0"], "the limit tags of a hop"),
        (vec!["--hop", "--hop-held", "0"], "the limit held of a hop"),
        (vec!["--hop", "--hop-server-share", "0"], "the limit server_share of a hop"),
        (vec!["--hop", "--hop-memory", "9TiB"], "the limit queue_bytes of a hop"),
        (vec!["--channel-rate", "0"], "channel-rate"),
        (vec!["--connections-per-address", "0"], "connections-per-address"),
        (vec!["--listener-rate", "0"], "the limit listener_rate"),
        (vec!["--listener-burst", "0"], "the limit listener_burst"),
        (vec!["--active-per-address", "0"], "the limit active_per_address"),
        (vec!["--hop", "--hop-allow", "127.0.0.1/8"], "not a network"),
        (vec!["--hop", "--hop-to", "http://example.org"], "fingerprint is missing"),
        (vec!["--hop", "--hop-to", &file], "cannot be sent on to file URLs"),
        (vec!["--hop", "--hop-to", &password], "user or password"),
        (vec!["--hop", "--hop-to", &line], "odd"),
        (vec!["--hop=maybe"], "maybe"),
    ] {
        let said = said(&[&run[..], &more].concat()).await;
        assert_eq!(said.code, 2, "{more:?}: {}", said.err);
        assert!(said.err.contains(text) && !said.err.contains("secret"), "{more:?}: {}", said.err);
    }
}
