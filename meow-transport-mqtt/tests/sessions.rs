//! What a session at the broker is for: who was away for a moment has missed nothing; who was away for long knows it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod common;

use std::time::Duration;

use common::gate::Gate;
use common::{Mosquitto, PATIENCE, ask, echo, insist, mqtt, serve};
use meow_core::ErrorKind;
use meow_core::transport::{Endpoint, Link, LinkReceiver, Transport};
use meow_testkit::mqtt::{Behaviour, Broker};
use meow_transport_mqtt::{ClientConfig, Mqtt, ServerConfig};
use tokio::time::{sleep, timeout};

/// The same server, reached by another way to its broker.
fn by(url: &str, server: &Endpoint) -> Endpoint {
    url.parse::<Endpoint>().unwrap().with_server(*server.server().unwrap())
}

async fn numbers(rx: &mut LinkReceiver, range: std::ops::Range<u32>) {
    for number in range {
        let frame = timeout(PATIENCE, rx.recv()).await.expect("a frame").unwrap().expect("no end");
        assert_eq!(frame, number.to_be_bytes().repeat(500), "in order, once");
    }
}

/// The far side is away while a link brings frames, for much longer than a connection takes; each side in turn.
async fn nothing_is_lost_while_one_side_is_away(address: std::net::SocketAddr) {
    let (servers, clients) = (Gate::before(address).await, Gate::before(address).await);
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &servers.url("cats")).await;
    let Link { mut tx, mut rx, .. } = mqtt.connect(&by(&clients.url("cats"), &local)).await.unwrap();
    let mut next = 0u32;
    for round in 0..4 {
        let away = if round % 2 == 0 { &servers } else { &clients };
        let first = next;
        for number in first..first + 6 {
            if number == first + 3 {
                away.shut();
            }
            tx.send(number.to_be_bytes().repeat(500).into()).await.unwrap();
        }
        next = first + 6;
        // What was sent lies with the broker, or with who sent it.
        sleep(Duration::from_millis(1200)).await;
        away.open();
        numbers(&mut rx, first..next).await;
    }
    tx.finish().await.unwrap();
    assert!(timeout(PATIENCE, rx.recv()).await.unwrap().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_one_side_is_away_is_not_lost() {
    let broker = Broker::start(Behaviour::default()).await.unwrap();
    nothing_is_lost_while_one_side_is_away(broker.address()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_one_side_is_away_is_not_lost_at_mosquitto() {
    let Some(mosquitto) = Mosquitto::start(None) else { return };
    nothing_is_lost_while_one_side_is_away(([127, 0, 0, 1], mosquitto.port).into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_expires_breaks_links_loudly_and_new_ones_come() {
    let Some(mosquitto) = Mosquitto::start(None) else { return };
    let servers = Gate::before(([127, 0, 0, 1], mosquitto.port).into()).await;
    let server = mqtt(|_, server| server.broker.session = Duration::from_secs(1));
    let local = echo(&server, &servers.url("cats")).await;
    let mut config = ClientConfig::default();
    config.broker.probe_interval = Duration::from_secs(2);
    config.broker.probe_timeout = Duration::from_secs(4);
    let client = Mqtt::new(config, ServerConfig::default());
    let to = by(&mosquitto.url("cats"), &local);
    let mut link = client.connect(&to).await.unwrap();
    link.tx.send("before".into()).await.unwrap();
    assert_eq!(link.rx.recv().await.unwrap().unwrap(), "before");
    servers.shut();
    // Mosquitto looks for expired sessions every second.
    sleep(Duration::from_secs(4)).await;
    servers.open();
    let sent = link.tx.send("into the void".into()).await;
    let lost = timeout(PATIENCE, link.rx.recv()).await.expect("the loss is noticed");
    assert!(sent.is_err() || lost.is_err(), "a frame that nobody got ended well");
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::Unreachable);
    insist(&client, &to, b"after").await;
}

/// Two clients and a server lose the broker at the same moment, again and again.
async fn all_come_back(address: std::net::SocketAddr, mut outage: impl AsyncFnMut(u32)) {
    let gates = [Gate::before(address).await, Gate::before(address).await, Gate::before(address).await];
    let server = mqtt(|_, _| {});
    let local = echo(&server, &gates[0].url("cats")).await;
    let clients = [mqtt(|_, _| {}), mqtt(|_, _| {})];
    let to = [by(&gates[1].url("cats"), &local), by(&gates[2].url("cats"), &local)];
    for round in 0..4u8 {
        let [one, other] = [[round; 20_000], [round + 100; 20_000]];
        tokio::join!(insist(&clients[0], &to[0], &one), insist(&clients[1], &to[1], &other));
        let before: Vec<usize> = gates.iter().map(Gate::attempts).collect();
        let mut held = Vec::new();
        for (client, to) in clients.iter().zip(&to) {
            let mut link = client.connect(to).await.unwrap();
            // In the middle of a message, as far as anybody can tell.
            let _ = link.tx.send(vec![round; 30_000].into()).await;
            held.push(link);
        }
        let began = std::time::Instant::now();
        outage(u32::from(round)).await;
        tokio::join!(insist(&clients[0], &to[0], b"back"), insist(&clients[1], &to[1], b"back"));
        // Pauses are at least 50, 100, 200, 400, 800, 1600 and then 2500 ms: so few attempts fit into this time. One that
        // came about, and one more, may lie before the first pause.
        let most = 9 + began.elapsed().as_millis() as usize / 2500;
        for (gate, before) in gates.iter().zip(before) {
            let attempts = gate.attempts() - before;
            assert!(attempts <= most, "{attempts} attempts in {:?}", began.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_two_clients_and_a_server_come_back_at_once_without_a_storm() {
    let mut broker = Some(Broker::start(Behaviour::default()).await.unwrap());
    let address = broker.as_ref().unwrap().address();
    all_come_back(address, async |round| {
        drop(broker.take());
        sleep(Duration::from_millis(u64::from(round) * 500)).await;
        broker = loop {
            match Broker::at(address, Behaviour::default()).await {
                Ok(broker) => break Some(broker),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_two_clients_and_a_server_come_back_to_mosquitto_at_once() {
    let Some(mut mosquitto) = Mosquitto::start(None) else { return };
    all_come_back(([127, 0, 0, 1], mosquitto.port).into(), async |round| {
        mosquitto.kill();
        sleep(Duration::from_millis(u64::from(round) * 400)).await;
        mosquitto.again();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_client_finds_the_server_by_the_text_of_its_reference() {
    let broker = Broker::start(Behaviour::default()).await.unwrap();
    for prefix in ["", "cats", "a/b c/d"] {
        let server = mqtt(|_, _| {});
        let listener =
            server.listen(&broker.url(&prefix.replace(' ', "%20")).parse().unwrap()).await.unwrap();
        let local = listener.local().clone();
        tokio::spawn(serve(listener));
        // All that somebody gets who has never been there, the two halves of a reference: no key, no topic, no time.
        let (text, fingerprint) = (local.expose().to_string(), *local.server().unwrap());
        let to = text.parse::<Endpoint>().unwrap().with_server(fingerprint);
        assert_eq!(ask(&Mqtt::default(), &to, b"hello").await.unwrap(), b"hello", "{text}");
        let lead = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let seen = broker.seen();
        let here = seen.iter().filter(|seen| seen.topic.starts_with(&lead)).count();
        assert!(here >= 4, "announcement, hello, answer, record");
    }
}

#[test]
fn no_time_of_day_is_asked_for() {
    let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains("SystemTime"), "{}: a client need not have a clock", path.display());
                read += 1;
            }
        }
    }
    assert!(read > 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_records_in_another_order_and_records_that_are_lost() {
    let mut behaviour = Behaviour::default();
    behaviour.swaps = true;
    let broker = Broker::start(behaviour).await.unwrap();
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    let Link { mut tx, mut rx, .. } = mqtt.connect(&local).await.unwrap();
    let sending = async {
        for number in 0..300u32 {
            tx.send(number.to_be_bytes().repeat(500).into()).await.unwrap();
        }
    };
    tokio::join!(sending, numbers(&mut rx, 0..300));
    // One record that never comes: what comes after it is not passed on, and the link does not end as if it were whole.
    broker.lose(1);
    for number in 300..310u32 {
        if tx.send(number.to_be_bytes().repeat(500).into()).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let mut came = 300u32;
    let end = loop {
        match timeout(PATIENCE, rx.recv()).await.expect("an end") {
            Ok(Some(frame)) => {
                assert_eq!(frame, came.to_be_bytes().repeat(500), "nothing is skipped");
                came += 1;
            }
            end => break end,
        }
    };
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Unreachable);
    assert!(came < 310);
    insist(&mqtt, &local, b"after").await;
}
