//! How links and connections end, and that nothing is held by what has ended.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/bare.rs"]
mod bare;
mod common;

use std::time::Duration;

use common::{PATIENCE, ask, echo, udp};
use meow_core::transport::Transport as _;
use meow_testkit::transport::medium::{LossyUdp, Medium as _};
use meow_transport_udp::Udp;
use quinn::ConnectionError;
use tokio::time::timeout;

fn anywhere() -> meow_core::transport::Endpoint {
    "udp://127.0.0.1:0".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_closing_listener_had_finished_arrives_though_packets_are_lost() {
    for seed in 0..5 {
        let medium = LossyUdp::new(200, seed);
        let mut listener = udp(|_| {}).listen(&anywhere()).await.unwrap();
        let local = medium.before(listener.local()).await.unwrap();
        let client = Udp::default();
        let mut near = timeout(PATIENCE, client.connect(&local)).await.unwrap().unwrap();
        near.tx.send("all of it".into()).await.unwrap();
        near.tx.finish().await.unwrap();
        let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().unwrap();
        assert_eq!(far.rx.recv().await.unwrap().unwrap(), "all of it");
        for n in 0..5 {
            far.tx.send(vec![n; 30_000].into()).await.unwrap();
        }
        far.tx.finish().await.unwrap();
        // Nobody holds the link any more, and most of what it sent is still under way.
        drop(far);
        let closing = tokio::spawn(async move { listener.close().await });
        for n in 0..5 {
            let frame = timeout(PATIENCE, near.rx.recv()).await.unwrap().unwrap().unwrap();
            assert_eq!(frame, vec![n; 30_000]);
        }
        assert!(timeout(PATIENCE, near.rx.recv()).await.unwrap().unwrap().is_none());
        timeout(PATIENCE, closing).await.unwrap().unwrap().unwrap();
    }
}

/// Streams that a client gives up before their answer is finished hold no place of those that it may have open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_what_was_given_up_gives_its_place_back() {
    let mut listener = udp(|config| config.max_links = 3).listen(&anywhere()).await.unwrap();
    let (local, client) = (listener.local().clone(), Udp::default());
    for _ in 0..50 {
        let mut near = timeout(PATIENCE, client.connect(&local)).await.unwrap().unwrap();
        near.tx.send("a".into()).await.unwrap();
        let mut far = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().unwrap();
        far.rx.recv().await.unwrap();
        drop(near);
        // The client is known to be gone; it is answered all the same, by nothing.
        timeout(PATIENCE, far.tx.closed()).await.unwrap();
        far.tx.finish().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_a_connection_that_nobody_uses_is_closed_however_alive_it_looks() {
    let server = udp(|config| config.idle_timeout = Duration::from_millis(300));
    let local = echo(&server).await;
    let idle = bare::connect(&bare::client(), local.authority().parse().unwrap()).await;
    let end = timeout(PATIENCE, idle.closed()).await.unwrap();
    assert!(matches!(end, ConnectionError::ApplicationClosed(_)), "{end}");
    // A link keeps it, for as long as it is open.
    let client = Udp::default();
    let mut link = client.connect(&local).await.unwrap();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        link.tx.send("still".into()).await.unwrap();
        assert_eq!(timeout(PATIENCE, link.rx.recv()).await.unwrap().unwrap().unwrap(), "still");
    }
    drop(link);
    // Who comes later dials anew.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(&client, &local, b"later").await.unwrap(), b"later");
}

#[tokio::test]
async fn closing_that_nobody_waited_for_goes_on_and_can_be_waited_for_again() {
    let mut listener = udp(|_| {}).listen(&anywhere()).await.unwrap();
    let (local, client) = (listener.local().clone(), Udp::default());
    let mut near = client.connect(&local).await.unwrap();
    near.tx.send("a".into()).await.unwrap();
    let mut far = listener.accept().await.unwrap().unwrap();
    assert!(timeout(Duration::from_millis(100), listener.close()).await.is_err(), "a link is open");
    assert!(timeout(Duration::from_millis(100), listener.close()).await.is_err(), "it still is");
    assert!(listener.accept().await.unwrap().is_none());
    far.tx.send("b".into()).await.unwrap();
    far.tx.finish().await.unwrap();
    assert_eq!(timeout(PATIENCE, near.rx.recv()).await.unwrap().unwrap().unwrap(), "b");
    near.tx.finish().await.unwrap();
    drop((far, near));
    timeout(PATIENCE, listener.close()).await.unwrap().unwrap();
    // The port is free.
    udp(|_| {}).listen(&local).await.unwrap();
}

/// Links that break while the server waits for their end leave something behind with their connection: after a thousand of them
/// it is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_links_that_are_broken_off_while_they_are_watched_wear_a_connection_out() {
    let mut listener = udp(|_| {}).listen(&anywhere()).await.unwrap();
    let address = listener.local().authority().parse().unwrap();
    let connection = bare::connect(&bare::client(), address).await;
    let mut served = 0;
    // One more may have come before the word that the server leaves.
    while let Ok((mut tx, mut rx)) = connection.open_bi().await {
        assert!(served < 1100, "the connection is kept");
        if tx.write_all(&[0, 0, 0, 1, 7]).await.is_err() {
            break;
        }
        let mut byte = [0];
        tokio::select! {
            far = listener.accept() => {
                let mut far = far.unwrap().unwrap();
                assert!(timeout(Duration::ZERO, far.tx.closed()).await.is_err());
                served += 1;
            }
            refused = rx.read(&mut byte) => assert!(refused.is_err()),
        }
        // What is broken off without being asked to keeps its entry.
        assert!(timeout(PATIENCE, rx.read(&mut [0])).await.unwrap().is_err());
    }
    assert_eq!(served, 1000);
    assert!(matches!(connection.closed().await, ConnectionError::ApplicationClosed(_)));
}

/// A client whose connection is left in that way takes another one, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_notices_nothing_of_a_connection_that_is_worn() {
    let mut listener = udp(|_| {}).listen(&anywhere()).await.unwrap();
    let (local, client) = (listener.local().clone(), Udp::default());
    let mut served = 0;
    while served < 1100 {
        let mut near = timeout(PATIENCE, client.connect(&local)).await.unwrap().unwrap();
        if near.tx.send("held".into()).await.is_err() {
            continue;
        }
        // Who opens a link at the very moment at which the server leaves is refused, and opens another one.
        let mut far = tokio::select! {
            far = listener.accept() => far.unwrap().unwrap(),
            refused = near.rx.recv() => {
                assert!(refused.is_err());
                continue;
            }
        };
        assert!(timeout(Duration::ZERO, far.tx.closed()).await.is_err());
        served += 1;
        drop(far);
        assert!(timeout(PATIENCE, near.rx.recv()).await.unwrap().is_err());
    }
}

#[test]
fn a_listener_that_is_dropped_outside_of_its_runtime_gives_its_port_back() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(udp(|_| {}).listen(&anywhere())).unwrap();
    let address = ("127.0.0.1", listener.local().port().unwrap());
    assert!(std::net::UdpSocket::bind(address).is_err());
    drop(listener);
    let patience = std::time::Instant::now() + PATIENCE;
    while std::net::UdpSocket::bind(address).is_err() {
        assert!(std::time::Instant::now() < patience, "the port is still taken");
        std::thread::sleep(Duration::from_millis(10));
    }
}
