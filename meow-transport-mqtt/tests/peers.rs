//! Peers that misbehave on a channel, before anybody knows who they are: what they cost is bounded, and others are served.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod common;

use std::time::Duration;

use common::peer::Peer;
use common::{PATIENCE, ask, echo, insist, mqtt, until};
use meow_core::transport::Transport;
use meow_testkit::mqtt::{Behaviour, Broker};
use meow_transport_mqtt::wire::{Item, ROOM};
use tokio::time::{sleep, timeout};

const MIB: usize = 1024 * 1024;

async fn broker() -> Broker {
    Broker::start(Behaviour::default()).await.unwrap()
}

/// Resident memory of this process, in bytes; 0 where the system does not tell.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Items of one kind, as many as a record holds.
fn full_of(item: &[u8]) -> Vec<u8> {
    item.repeat(ROOM / item.len())
}

/// One test, for it measures the memory of its process: three ways to make a server keep things for a stranger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_what_a_stranger_makes_a_server_keep_is_bounded() {
    let broker = broker().await;
    let mqtt = mqtt(|_, server| server.max_unread = 4 * MIB);
    let local = echo(&mqtt, &broker.url("cats")).await;
    assert_eq!(ask(&mqtt, &local, b"before").await.unwrap(), b"before");

    // Five million pings, and never a word that any answer arrived.
    let mut pinging = Peer::open(&broker, &local).await;
    let before = resident();
    let pings = full_of(&[9]);
    for round in 0..150 {
        pinging.send(&broker, &pings);
        if round % 10 == 0 {
            broker.forget_seen();
            assert_eq!(ask(&mqtt, &local, b"meanwhile").await.unwrap(), b"meanwhile");
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown} bytes for pings");

    // Links beyond every limit: each is refused, and the refusals are not taken.
    let mut opening = Peer::open(&broker, &local).await;
    let before = resident();
    let mut link = 0u32;
    for round in 0..100 {
        let mut items = Vec::new();
        while items.len() + 5 <= ROOM {
            Item::Open(link).write(&mut items);
            link += 1;
        }
        opening.send(&broker, &items);
        if round % 10 == 0 {
            broker.forget_seen();
            assert_eq!(ask(&mqtt, &local, b"meanwhile").await.unwrap(), b"meanwhile");
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown} bytes for {link} links that were refused");

    // Records that come early, on many channels: the first one never comes.
    let before = resident();
    let junk = full_of(&[9]);
    for _ in 0..40 {
        let peer = Peer::open(&broker, &local).await;
        for number in 1..100 {
            peer.send_as(&broker, number, &junk);
        }
        broker.forget_seen();
        assert_eq!(ask(&mqtt, &local, b"meanwhile").await.unwrap(), b"meanwhile");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes for records that came early");
    insist(&mqtt, &local, &[7; 30_000]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_a_peer_that_breaks_the_binding_loses_its_channel_and_nothing_else() {
    let broker = broker().await;
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    let mut held = mqtt.connect(&local).await.unwrap();
    let mut still = async |frame: &'static [u8]| {
        held.tx.send(frame.into()).await.unwrap();
        let back = timeout(PATIENCE, held.rx.recv()).await.expect("an answer").unwrap();
        assert_eq!(back.as_deref(), Some(frame));
    };
    still(b"before").await;
    let wrong: &[&[Item<'_>]] = &[
        &[Item::Open(1)],
        &[Item::Open(0), Item::Open(0)],
        &[Item::Finish(0)],
        &[Item::Credit(0, 1)],
        &[Item::Open(0), Item::Credit(0, 1)],
        &[Item::Open(0), Item::Credit(0, u32::MAX)],
        &[Item::Received(99)],
        &[Item::Received(u64::MAX)],
        &[Item::Data(7, b"for no link")],
    ];
    for items in wrong {
        let mut peer = Peer::open(&broker, &local).await;
        peer.say(&broker, items);
        peer.hears(&broker, |item| *item == Item::Close).await;
        still(b"meanwhile").await;
    }
    for items in [&[13][..], &[1, 0], &[2, 0, 0, 0, 0, 0, 0], &[0, 1]] {
        let mut peer = Peer::open(&broker, &local).await;
        peer.send(&broker, items);
        peer.hears(&broker, |item| *item == Item::Close).await;
    }
    // More than the window of a link, of which nobody has read anything.
    let unread = common::mqtt(|_, _| {}).listen(&broker.url("dogs").parse().unwrap()).await.unwrap();
    let mut peer = Peer::open(&broker, unread.local()).await;
    let frame = vec![1; 33_792];
    peer.say(&broker, &[Item::Open(0)]);
    peer.say(&broker, &[Item::Data(0, &frame)]);
    peer.say(&broker, &[Item::Data(0, &frame)]);
    peer.hears(&broker, |item| *item == Item::Close).await;
    // A number far ahead.
    let peer = Peer::open(&broker, &local).await;
    peer.send_as(&broker, 1 << 40, &[9]);
    peer.hears(&broker, |item| *item == Item::Close).await;
    still(b"after all").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_pings_are_answered_once_for_all_that_came_together() {
    let broker = broker().await;
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    let mut peer = Peer::open(&broker, &local).await;
    peer.send(&broker, &full_of(&[9]));
    peer.hears(&broker, |item| *item == Item::Pong).await;
    let pongs: usize = peer
        .heard(&broker)
        .iter()
        .flat_map(|(_, items)| meow_transport_mqtt::wire::Items::new(items))
        .filter(|item| matches!(item, Ok(Item::Pong)))
        .count();
    assert_eq!(pongs, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_who_only_opens_channels_keeps_nobody_out() {
    let broker = broker().await;
    let mqtt = mqtt(|_, server| {
        server.max_channels = 4;
        server.unused = Duration::from_millis(500);
    });
    let local = echo(&mqtt, &broker.url("cats")).await;
    let mut held = mqtt.connect(&local).await.unwrap();
    held.tx.send("held".into()).await.unwrap();
    assert_eq!(held.rx.recv().await.unwrap().unwrap(), "held");
    let mut peers = Vec::new();
    for _ in 0..12 {
        let peer = Peer::try_open(&broker, &local, Duration::from_millis(300)).await;
        peers.extend(peer);
        for peer in &mut peers {
            peer.say(&broker, &[Item::Ping]);
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert!(peers.len() >= 4, "the rest had no link for half a second, and gave way");
    // An honest newcomer gets in among them, and who is in has lost nothing.
    let newcomer = common::mqtt(|_, _| {});
    insist(&newcomer, &local, b"new").await;
    held.tx.send("still".into()).await.unwrap();
    assert_eq!(timeout(PATIENCE, held.rx.recv()).await.unwrap().unwrap().unwrap(), "still");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_a_hello_again_makes_no_second_channel_while_the_first_lives() {
    let broker = broker().await;
    let mqtt = mqtt(|_, server| server.max_channels = 3);
    let local = echo(&mqtt, &broker.url("cats")).await;
    let mut held = mqtt.connect(&local).await.unwrap();
    held.tx.send("held".into()).await.unwrap();
    assert_eq!(held.rx.recv().await.unwrap().unwrap(), "held");
    // A hello is a message of 128 bytes at an inbox; so is many a record. All of them a hundred times over.
    let hellos: Vec<_> = broker.seen().into_iter().filter(|seen| seen.payload.len() == 128).collect();
    for _ in 0..100 {
        for seen in &hellos {
            broker.leave(&seen.topic, seen.payload.clone(), false);
        }
    }
    // There is room for another one still.
    let other = common::mqtt(|_, _| {});
    until("another channel", || async { ask(&other, &local, b"other").await.is_ok() }).await;
    held.tx.send("still".into()).await.unwrap();
    assert_eq!(timeout(PATIENCE, held.rx.recv()).await.unwrap().unwrap().unwrap(), "still");
}
