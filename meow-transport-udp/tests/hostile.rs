//! Servers that are not the one meant, peers that break off or break the framing, addresses that change or are forged.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/nat.rs"]
mod nat;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{PATIENCE, ask, echo, udp};
use meow_core::ErrorKind;
use meow_core::crypto::{SigningKey, SystemRandom};
use meow_core::request::fingerprint;
use meow_core::transport::{Addresses, Endpoint, Transport};
use meow_testkit::transport::here;
use meow_testkit::transport::names::Rebinding;
use meow_transport_udp::{ClientConfig, ServerConfig, Udp};
use nat::Nat;
use tokio::net::UdpSocket;
use tokio::time::timeout;

fn at(address: SocketAddr) -> Endpoint {
    format!("udp://{address}").parse().unwrap()
}

fn address(of: &Endpoint) -> SocketAddr {
    of.authority().parse().unwrap()
}

#[tokio::test]
async fn a44_an_address_that_is_not_permitted_is_not_dialled_whatever_it_is_called() {
    let server = echo(&udp(|_| {})).await;
    let port = address(&server).port();
    let mut config = ClientConfig::default();
    config.addresses = Addresses::public();
    let strict = Udp::new(config.clone(), ServerConfig::default());
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:7f00:1]", "[::1]"] {
        let endpoint: Endpoint = format!("udp://{host}:{port}").parse().unwrap();
        let e = strict.connect(&endpoint).await.map(drop).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{host}: {e}");
    }
    config.addresses = Addresses::public().and("127.0.0.1".parse().unwrap());
    assert_eq!(ask(&Udp::new(config, ServerConfig::default()), &server, b"x").await.unwrap(), b"x");
}

/// Whoever owns a name can have it lead elsewhere between the check and the dial. It is asked once for each connection.
#[tokio::test]
async fn a44_a_name_that_changes_its_answer_leads_nowhere_else() {
    let (good, bad): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), here::another().unwrap());
    let server = echo(&udp(|_| {})).await;
    let port = address(&server).port();
    let trap = std::net::UdpSocket::bind((bad, port)).unwrap();
    trap.set_nonblocking(true).unwrap();
    let name = Rebinding::new([vec![good], vec![bad], vec![bad, good]]);
    let dialled = async || {
        let mut config = ClientConfig::default();
        config.addresses = Addresses::public().and("127.0.0.1".parse().unwrap());
        config.names = name.names();
        let strict = Udp::new(config, ServerConfig::default());
        let answer = ask(&strict, &format!("udp://cat.example:{port}").parse().unwrap(), b"x").await;
        (answer.map_err(|e| e.kind()), name.asked())
    };
    assert_eq!(dialled().await, (Ok(b"x".to_vec()), 1));
    assert_eq!(dialled().await, (Err(ErrorKind::Refused), 2));
    assert_eq!(dialled().await, (Ok(b"x".to_vec()), 3));
    assert!(trap.recv(&mut [0; 16]).is_err(), "somebody dialled");
}

#[tokio::test]
async fn links_say_which_server_was_proved() {
    let skp = SigningKey::generate(&mut SystemRandom).unwrap();
    let want = fingerprint(&skp.public());
    let server = udp(|config| config.identity = Some(skp.clone()));
    let local = echo(&server).await;
    let link = Udp::default().connect(&local).await.unwrap();
    assert_eq!(link.peer.server, Some(want));
    assert!(!format!("{server:?} {link:?}").contains(&format!("{:?}", &skp.seed()[..4])));
    let other = echo(&udp(|_| {})).await;
    let link = Udp::default().connect(&other).await.unwrap();
    assert!(link.peer.server.is_some_and(|proved| proved != want));
}

#[tokio::test]
async fn listening_needs_a_key_and_a_free_port() {
    let any: Endpoint = "udp://127.0.0.1:0".parse().unwrap();
    assert_eq!(Udp::default().listen(&any).await.err().map(|e| e.kind()), Some(ErrorKind::Usage));
    let server = udp(|_| {});
    let listener = server.listen(&any).await.unwrap();
    let taken = server.listen(listener.local()).await;
    assert_eq!(taken.err().map(|e| e.kind()), Some(ErrorKind::System));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_of_one_server_share_a_connection_and_idle_ones_go() {
    let server = udp(|_| {});
    let nat = Nat::before(address(&echo(&server).await)).await;
    let mut config = ClientConfig::default();
    config.idle_timeout = Duration::from_millis(400);
    let client = Udp::new(config, ServerConfig::default());
    assert_eq!(ask(&client, &at(nat.local), b"one").await.unwrap(), b"one");
    let (first, mut links) = (nat.passed.load(Ordering::SeqCst), Vec::new());
    for _ in 0..20 {
        links.push(client.connect(&at(nat.local)).await.unwrap());
    }
    // A handshake of its own would cost each of them two packets at least.
    assert!(nat.passed.load(Ordering::SeqCst) - first < 20);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for mut link in links {
        link.tx.send("held".into()).await.unwrap();
        link.tx.finish().await.unwrap();
        assert_eq!(
            link.rx.recv().await.unwrap().as_deref(),
            Some(&b"held"[..]),
            "open links keep their connection"
        );
    }
    let quiet = async {
        loop {
            let before = nat.passed.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1500)).await;
            if nat.passed.load(Ordering::SeqCst) == before {
                return;
            }
        }
    };
    timeout(PATIENCE, quiet).await.expect("an unused connection is closed");
    assert_eq!(ask(&client, &at(nat.local), b"two").await.unwrap(), b"two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_address_changes_keeps_its_links() {
    let server = udp(|_| {});
    let nat = Nat::before(address(&echo(&server).await)).await;
    let client = Udp::default();
    let mut link = client.connect(&at(nat.local)).await.unwrap();
    for round in 0..5u8 {
        let frame = vec![round; 20_000];
        link.tx.send(frame.clone().into()).await.unwrap();
        let back = timeout(PATIENCE, link.rx.recv()).await.expect("an answer after the change");
        assert_eq!(back.unwrap().as_deref(), Some(&frame[..]));
        nat.rebind();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_retry_under_load_addresses_answer_before_anything_is_kept_for_them() {
    let server = udp(|config| config.retry_from = 0);
    let local = address(&echo(&server).await);
    // Honest clients get through the Retry.
    assert_eq!(ask(&Udp::default(), &at(local), b"hello").await.unwrap(), b"hello");
    // A first packet from somebody who gives a forged address: captured from a real client, and sent from elsewhere.
    let trap = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to_trap = at(trap.local_addr().unwrap());
    let dialing = tokio::spawn(async move { Udp::default().connect(&to_trap).await });
    let mut first = vec![0; 65_536];
    let (length, _) = timeout(PATIENCE, trap.recv_from(&mut first)).await.unwrap().unwrap();
    dialing.abort();
    let victim = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    victim.send_to(&first[..length], local).await.unwrap();
    let mut sent = 0;
    while let Ok(Ok((more, _))) = timeout(Duration::from_secs(1), victim.recv_from(&mut first)).await {
        sent += more;
    }
    assert!(sent > 0 && sent < length, "{sent} bytes went to an address that sent {length}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_limits_hold_and_others_are_served() {
    let server = udp(|config| {
        config.max_per_address = 2;
        config.max_links = 3;
    });
    let local = echo(&server).await;
    let clients: Vec<Udp> = (0..3).map(|_| udp(|_| {})).collect();
    let mut held = Vec::new();
    for client in &clients[..2] {
        held.push(client.connect(&local).await.unwrap());
    }
    let refused = clients[2].connect(&local).await.err().map(|e| e.kind());
    assert_eq!(refused, Some(ErrorKind::Unreachable), "a third connection of one address");
    for link in &mut held {
        link.tx.send("hold".into()).await.unwrap();
    }
    let more = [clients[0].connect(&local).await.unwrap(), clients[0].connect(&local).await.unwrap()];
    let waiting = clients[0].connect(&local);
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err(), "a fourth link waits");
    drop(more);
    timeout(PATIENCE, waiting).await.expect("and comes when another has ended").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_garbage_changes_nothing() {
    let server = udp(|_| {});
    let local = echo(&server).await;
    let mut link = Udp::default().connect(&local).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut dice = 1u32;
    for length in 0..1400usize {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (dice >> 24) as u8
            })
            .collect();
        socket.send_to(&bytes, address(&local)).await.unwrap();
    }
    link.tx.send("still there".into()).await.unwrap();
    let back = timeout(PATIENCE, link.rx.recv()).await.expect("an answer");
    assert_eq!(back.unwrap().as_deref(), Some(&b"still there"[..]));
    assert_eq!(ask(&Udp::default(), &local, b"new").await.unwrap(), b"new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_beyond_the_limit_end_the_link_unread() {
    // The client's idea of a frame is larger than the server's.
    let server = udp(|config| config.max_frame = 1000);
    let local = echo(&server).await;
    let mut link = Udp::default().connect(&local).await.unwrap();
    link.tx.send(vec![1; 1000].into()).await.unwrap();
    let back = timeout(PATIENCE, link.rx.recv()).await.unwrap();
    assert_eq!(back.unwrap().map(|frame| frame.len()), Some(1000));
    link.tx.send(vec![1; 1001].into()).await.unwrap();
    let seen = timeout(PATIENCE, link.rx.recv()).await.expect("an end");
    assert_eq!(seen.err().map(|e| e.kind()), Some(ErrorKind::Unreachable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_rapid_reset() {
    let server = udp(|config| config.max_links = 16);
    let local = echo(&server).await;
    let attacker = Udp::default();
    for n in 0..3000 {
        let mut link = timeout(PATIENCE, attacker.connect(&local)).await.expect("a place").unwrap();
        link.tx.send("reset".into()).await.unwrap();
        if n % 500 == 0 {
            // An honest client on a connection of its own is served meanwhile.
            let answer = timeout(PATIENCE, ask(&Udp::default(), &local, b"honest")).await;
            assert_eq!(answer.expect("an answer").unwrap(), b"honest");
        }
    }
    // What a reset leaves behind is let go: the places of that connection are there again. The library tells of an eighth of them
    // that are free only together with further ones.
    let mut all = Vec::new();
    for _ in 0..14 {
        all.push(timeout(PATIENCE, attacker.connect(&local)).await.expect("a place").unwrap());
    }
    for link in &mut all {
        link.tx.send("honest".into()).await.unwrap();
        assert_eq!(timeout(PATIENCE, link.rx.recv()).await.expect("an answer").unwrap().unwrap(), "honest");
    }
}

/// The program of a server is killed: nothing says goodbye. It comes back at the same place.
#[test]
fn whoever_was_connected_to_a_server_that_was_killed_learns_it_when_it_is_back() {
    let start =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (killed, client) = (start(), start());
    let skp = SigningKey::generate(&mut SystemRandom).unwrap();
    let server = udp(|config| config.identity = Some(skp.clone()));
    let local = killed.block_on(echo(&server));
    let mut config = ClientConfig::default();
    // Without a word from the server it would wait for an hour.
    config.silence_timeout = Duration::from_secs(3600);
    config.keep_alive = Duration::from_millis(300);
    let dialling = Udp::new(config, ServerConfig::default());
    let mut link = client.block_on(async {
        let mut link = dialling.connect(&local).await.unwrap();
        link.tx.send("before".into()).await.unwrap();
        assert_eq!(link.rx.recv().await.unwrap().as_deref(), Some(&b"before"[..]));
        link
    });
    killed.shutdown_timeout(Duration::from_secs(5));
    let again = start();
    let _listener = again.block_on(async {
        loop {
            // The system may take a moment to let go of the port.
            match server.listen(&local).await {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    client.block_on(async {
        let end = timeout(PATIENCE, link.rx.recv()).await.expect("an end");
        assert_eq!(end.err().map(|e| e.kind()), Some(ErrorKind::Unreachable));
        timeout(PATIENCE, dialling.connect(&local)).await.expect("another connection").unwrap();
    });
}
