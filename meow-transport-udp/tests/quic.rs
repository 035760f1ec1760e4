//! What QUIC is used for, and what it is not: each line of the binding that a peer can see.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "common/bare.rs"]
mod bare;
mod common;
#[path = "common/nat.rs"]
mod nat;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::{PATIENCE, ask, echo, udp};
use meow_core::ErrorKind;
use meow_core::crypto::{SigningKey, SystemRandom};
use meow_core::request::fingerprint;
use meow_core::transport::{Endpoint, Link, Transport};
use meow_transport_udp::{ClientConfig, ServerConfig, Udp};
use nat::Nat;
use rustls::client::Resumption;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

fn at(address: SocketAddr) -> Endpoint {
    format!("udp://{address}").parse().unwrap()
}

fn address(of: &Endpoint) -> SocketAddr {
    of.authority().parse().unwrap()
}

/// The first packet of a real client, caught before it gets anywhere.
async fn first_packet() -> Vec<u8> {
    let trap = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to_trap = at(trap.local_addr().unwrap());
    let dialing = tokio::spawn(async move { Udp::default().connect(&to_trap).await });
    let mut first = vec![0; 65_536];
    let (length, _) = timeout(PATIENCE, trap.recv_from(&mut first)).await.unwrap().unwrap();
    dialing.abort();
    first.truncate(length);
    first
}

/// Whether a server answers a first packet with Retry; its sender never says anything again.
async fn gets_retry(server: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&first_packet().await, server).await.unwrap();
    let mut answer = vec![0; 65_536];
    timeout(PATIENCE, socket.recv_from(&mut answer)).await.expect("an answer").unwrap();
    // The second bit may be either, so that nobody relies on it (RFC 9287).
    assert_eq!(answer[0] & 0x80, 0x80, "a long header");
    // RFC 9000, section 17.2: type 0 is Initial, type 3 is Retry.
    match answer[0] >> 4 & 3 {
        0 => false,
        3 => true,
        kind => panic!("a packet of type {kind}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_retry_is_sent_under_load_and_not_by_an_idle_server() {
    let server = udp(|config| config.retry_from = 4);
    let local = echo(&server).await;
    for half_open in 0..4 {
        assert!(!gets_retry(address(&local)).await, "{half_open} open");
    }
    assert!(gets_retry(address(&local)).await, "four half-open connections are a load");
    assert_eq!(ask(&Udp::default(), &local, b"honest").await.unwrap(), b"honest");
    // Half-open connections are given up, and nobody is asked any more.
    let server = udp(|config| {
        config.retry_from = 1;
        config.handshake_timeout = Duration::from_millis(300);
    });
    let local = echo(&server).await;
    assert!(!gets_retry(address(&local)).await);
    let idle = async {
        while gets_retry(address(&local)).await {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, idle).await.expect("an idle server again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_forged_addresses_do_not_take_all_seats_of_their_owner() {
    let server = udp(|config| config.max_per_address = 8);
    let local = echo(&server).await;
    let mut asked = 0;
    for _ in 0..12 {
        asked += usize::from(gets_retry(address(&local)).await);
    }
    assert_eq!(asked, 10, "a quarter of the seats, and no more without an answer");
    // Whoever owns the address has the rest.
    let clients: Vec<Udp> = (0..6).map(|_| Udp::default()).collect();
    for client in &clients {
        assert_eq!(ask(client, &local, b"owner").await.unwrap(), b"owner");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_prove_a_server_key_is_refused() {
    let limits = || Arc::new(bare::transport());
    let (one, other) = [0, 1].map(|_| SigningKey::generate(&mut SystemRandom).unwrap()).into();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = bare::tls().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let wrong = [
        ("a key of which it has no secret", bare::serving(bare::raw_key(&one, &other), bare::ALPN, limits())),
        ("a certificate", bare::serving(certificate, bare::ALPN, limits())),
        ("another protocol", bare::serving(bare::raw_key(&one, &one), b"h3", limits())),
    ];
    for (what, server) in wrong {
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                drop(incoming.await);
            }
        });
        let to = at(server.local_addr().unwrap());
        let e = Udp::default().connect(&to).await.map(drop).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::WrongPeer, "{what}: {e:?}");
    }
    // The same server with its own key passes, and the link says which key it was.
    let server = bare::serving(bare::raw_key(&one, &one), bare::ALPN, limits());
    let to = at(server.local_addr().unwrap());
    tokio::spawn(async move { server.accept().await.unwrap().await.unwrap().closed().await });
    let link = Udp::default().connect(&to).await.unwrap();
    assert_eq!(link.peer.server, Some(fingerprint(&one.public())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_streams_of_one_connection() {
    let server = bare::server();
    let to = at(server.local_addr().unwrap());
    let client = Udp::default();
    let dialling = tokio::spawn(async move {
        let mut links = Vec::new();
        for number in 0..20u8 {
            let mut link = client.connect(&to).await.unwrap();
            link.tx.send(vec![number; 10].into()).await.unwrap();
            links.push(link);
        }
        links
    });
    let connection = timeout(PATIENCE, server.accept()).await.unwrap().unwrap().await.unwrap();
    for number in 0..20u8 {
        let (_, mut rx) = timeout(PATIENCE, connection.accept_bi()).await.expect("a stream").unwrap();
        let mut frame = [0; 14];
        rx.read_exact(&mut frame).await.unwrap();
        assert_eq!(
            frame[..],
            [&[0, 0, 0, 10][..], &[number; 10]].concat(),
            "of link {number}, and of no other"
        );
    }
    let links = dialling.await.unwrap();
    assert_eq!(links.len(), 20);
    let more = timeout(Duration::from_millis(300), async {
        tokio::select! {
            _ = connection.accept_bi() => "stream",
            _ = server.accept() => "connection",
        }
    });
    assert!(more.await.is_err(), "nothing else was opened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_can_be_sent_before_the_handshake_and_nothing_is_remembered() {
    let local = echo(&udp(|_| {})).await;
    let config = bare::client_with(Resumption::in_memory_sessions(8));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    for _ in 0..3 {
        let connecting = endpoint.connect_with(config.clone(), address(&local), "meow").unwrap();
        // It would be Ok with a ticket of an earlier connection.
        let connecting = connecting.into_0rtt().map(drop).expect_err("no early data");
        let connection = connecting.await.unwrap();
        let (mut tx, mut rx) = connection.open_bi().await.unwrap();
        tx.write_all(&[0, 0, 0, 1, 7]).await.unwrap();
        let mut back = [0; 5];
        // Tickets would come with the first answers.
        rx.read_exact(&mut back).await.unwrap();
        assert_eq!(back, [0, 0, 0, 1, 7]);
        connection.close(0u32.into(), b"");
    }
}

/// A link on which nobody says anything, and what its ends are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_link_lives_on_by_signs_of_life_and_a_dead_one_is_noticed() {
    let (alive, silence) = (Duration::from_millis(400), Duration::from_secs(3));
    let server = udp(|config| config.silence_timeout = silence);
    let local = echo(&server).await;
    let nat = Nat::before(address(&local)).await;
    let mut config = ClientConfig::default();
    (config.keep_alive, config.silence_timeout) = (alive, silence);
    let client = Udp::new(config, ServerConfig::default());
    let mut link = client.connect(&at(nat.local)).await.unwrap();
    for _ in 0..2 {
        sleep(2 * silence).await;
        link.tx.send("still here".into()).await.unwrap();
        let back = timeout(PATIENCE, link.rx.recv()).await.expect("an answer");
        assert_eq!(back.unwrap().unwrap(), "still here");
    }
    // The way is cut. Both sides notice, long before anybody's patience ends.
    nat.cut();
    let e = timeout(PATIENCE, link.rx.recv()).await.expect("the silence is noticed").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unreachable);
    timeout(PATIENCE, link.tx.closed()).await.expect("so is it by who sends");
    // Another connection is made, not the dead one used again.
    nat.mend();
    assert_eq!(ask(&client, &at(nat.local), b"again").await.unwrap(), b"again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_address_changes_in_mid_message_loses_nothing() {
    let local = echo(&udp(|_| {})).await;
    let nat = Nat::before(address(&local)).await;
    let Link { mut tx, mut rx, .. } = Udp::default().connect(&at(nat.local)).await.unwrap();
    let sending = async {
        for number in 0..150u8 {
            tx.send(vec![number; 33_000].into()).await.unwrap();
        }
        tx.finish().await.unwrap();
    };
    let receiving = async {
        for number in 0..150u8 {
            let frame = timeout(PATIENCE, rx.recv()).await.expect("a frame").unwrap().unwrap();
            assert!(frame.len() == 33_000 && frame.iter().all(|byte| *byte == number));
            // A frame takes more than twenty packets: some of the next ones are under way.
            if number % 25 == 12 {
                nat.rebind();
            }
        }
        assert!(rx.recv().await.unwrap().is_none());
    };
    tokio::join!(sending, receiving);
    assert!(nat.sources() >= 6, "the server saw the client come from six places");
}
