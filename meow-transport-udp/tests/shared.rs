//! One socket for dialling and listening: what a server sees is what others can dial.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use meow_core::ErrorKind;
use meow_core::crypto::{SigningKey, SystemRandom};
use meow_core::transport::{Endpoint, Link, Transport};
use meow_transport_udp::{ClientConfig, ServerConfig, Udp};
use tokio::time::timeout;

fn udp() -> Udp {
    let (mut client, mut server) = (ClientConfig::default(), ServerConfig::default());
    client.from_listener = true;
    server.identity = Some(SigningKey::generate(&mut SystemRandom).unwrap());
    server.drain = Duration::from_millis(100);
    Udp::new(client, server)
}

/// Both ends of a link that `from` dials.
async fn dialled(from: &Udp, to: &Endpoint, listener: &mut meow_core::transport::Listener) -> (Link, Link) {
    let (near, far) = tokio::join!(
        async {
            let mut link = from.connect(to).await.unwrap();
            link.tx.send(vec![1].into()).await.unwrap();
            link
        },
        async { timeout(Duration::from_secs(60), listener.accept()).await.unwrap().unwrap().unwrap() }
    );
    (near, far)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_dialled_where_a_server_saw_it() {
    let (relay, client, contact) = (udp(), udp(), udp());
    let at: Endpoint = "udp://127.0.0.1:0".parse().unwrap();
    let mut serving = relay.listen(&at).await.unwrap();
    let there = serving.local().clone();
    // Dialled before it listens: that connection is not used any more afterwards.
    let (_near, before) = dialled(&client, &there, &mut serving).await;
    let mut listening = client.listen(&at).await.unwrap();
    let here = listening.local().clone();
    let (_near, seen) = dialled(&client, &there, &mut serving).await;
    assert_ne!(before.peer.port, here.port());
    assert_eq!(seen.peer.port, here.port());
    // Both dial each other at once; each side gets a link of either's.
    let mut other = contact.listen(&at).await.unwrap();
    let place = here.clone().with_port(seen.peer.port.unwrap());
    let elsewhere = other.local().clone();
    let ((_a, mut b), (_c, mut d)) =
        tokio::join!(dialled(&contact, &place, &mut listening), dialled(&client, &elsewhere, &mut other));
    assert_eq!(b.peer.port, elsewhere.port());
    for link in [&mut b, &mut d] {
        assert_eq!(link.rx.recv().await.unwrap().unwrap(), vec![1]);
    }
    // Once it listens no more, it dials from elsewhere again.
    listening.close().await.unwrap();
    let (_near, after) = dialled(&client, &there, &mut serving).await;
    assert_ne!(after.peer.port, here.port());
}

/// What a forged address costs whoever has it.
#[tokio::test(start_paused = true)]
async fn a28_a_silent_place_gets_no_more_than_three_packets_of_a_dialler() {
    let victim = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    victim.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let at: Endpoint = format!("udp://{}", victim.local_addr().unwrap()).parse().unwrap();
    let dialler = udp();
    assert!(dialler.connect_sparingly(&at).await.is_err());
    let mut sizes = Vec::new();
    let mut buffer = [0; 4096];
    // The farewell may yet have to leave.
    tokio::time::sleep(Duration::from_secs(600)).await;
    while let Ok((size, _)) = victim.recv_from(&mut buffer) {
        sizes.push(size);
    }
    // What led to it, a sealed reach in its request, has 2,048 bytes.
    assert_eq!(sizes, [1200, 1200], "a hello and a farewell");
    let name = at.to_string().replace("127.0.0.1", "localhost").parse().unwrap();
    assert_eq!(dialler.connect_sparingly(&name).await.map(|_| ()).unwrap_err().kind(), ErrorKind::Usage);
}

/// Where somebody is there after all, the connection is one like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_dialled_sparingly() {
    let (dialler, other) = (udp(), udp());
    let mut listening = other.listen(&"udp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let here = listening.local().clone();
    let mut near = dialler.connect_sparingly(&here).await.unwrap();
    near.tx.send(vec![1].into()).await.unwrap();
    let mut far = timeout(Duration::from_secs(60), listening.accept()).await.unwrap().unwrap().unwrap();
    assert_eq!(far.rx.recv().await.unwrap().unwrap(), vec![1]);
    let (_near, _far) = dialled(&dialler, &here, &mut listening).await;
}
