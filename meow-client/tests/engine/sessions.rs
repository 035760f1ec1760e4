//! Sessions with a real relay: opened, used, lost, refused, forgotten; and attacks 1, 2 and 37 on their counters.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use meow_client::{Client, EventKind};
use meow_core::identity::ContactId;
use meow_core::session::{Tag, session_tag};
use meow_core::store::Table;
use meow_server::RelayLimits;
use meow_transport::Transports;

use crate::rollback::{copy, snapshot};
use crate::support::*;
use crate::tap::Tap;

async fn world() -> (World, Tap) {
    world_with(RelayLimits::default()).await
}

async fn world_with(limits: RelayLimits) -> (World, Tap) {
    let tap = Tap::new();
    (World::with(Transports::new().with(tap.clone()), limits).await, tap)
}

/// How many packets were sealed to the server's key and in sessions.
fn counted(packets: &[Vec<u8>]) -> (usize, usize) {
    let of = |suite: u8| packets.iter().filter(|p| p[0] == suite && p.len() >= 256).count();
    (of(1), of(5))
}

/// Two talk, `n` texts each way, in turns.
async fn talk(alice: &Client, bob: &Client, n: usize, about: &str) {
    for i in 0..n {
        send(alice, "bob", &format!("{about} {i}")).await;
        send(bob, "alice", &format!("{about} {i} too")).await;
        for _ in 0..2 {
            sync(alice).await;
            sync(bob).await;
        }
    }
}

fn texts(about: &[(&str, usize)], suffix: &str) -> Vec<String> {
    about.iter().flat_map(|(about, n)| (0..*n).map(move |i| format!("{about} {i}{suffix}"))).collect()
}

/// Every counter of every session was used for one content only: a tag stands for session, direction and counter.
fn each_counter_once(packets: &[Vec<u8>]) {
    let mut by_tag: HashMap<Tag, &Vec<u8>> = HashMap::new();
    for packet in packets {
        if let Some(tag) = session_tag(packet) {
            let before = by_tag.insert(tag, packet);
            assert!(before.is_none_or(|before| before == packet), "one counter for two contents");
        }
    }
}

fn sessions_of(user: &User) -> HashSet<Vec<u8>> {
    let mut keys = HashSet::new();
    let store = user.disk.store.lock().unwrap().clone().unwrap();
    store
        .read(&mut |txn| {
            let rows = txn.scan(Table::Meta, b"session:", None, usize::MAX, false)?;
            keys.extend(rows.into_iter().map(|(key, _)| key));
            Ok(())
        })
        .unwrap();
    keys
}

#[tokio::test]
async fn a_conversation_goes_over_to_sessions() {
    let (world, tap) = world().await;
    let (a, alice, b, bob) = world.pair().await;
    talk(&alice, &bob, 2, "warm").await;
    tap.take();
    talk(&alice, &bob, 5, "hello").await;
    let packets = tap.take();
    let (to_key, in_session) = counted(&packets);
    assert_eq!(to_key, 0, "no public-key work is left");
    assert!(in_session >= 20 && packets.len() == in_session);
    each_counter_once(&packets);
    for user in [&a, &b] {
        assert_eq!(sessions_of(user).len(), 2, "one for each mailbox and role");
    }
    assert_eq!(received(&bob, "alice").await, texts(&[("warm", 2), ("hello", 5)], ""));
    assert_eq!(received(&alice, "bob").await, texts(&[("warm", 2), ("hello", 5)], " too"));
    // The next run goes on with them, once the store is proven current: one counted request to the key.
    drop(alice);
    let alice = a.open().await;
    send(&alice, "bob", "again").await;
    sync(&alice).await;
    let (to_key, in_session) = counted(&tap.take());
    assert!(to_key <= 2 && in_session >= 2, "{to_key} to the key, {in_session} in sessions");
    sync(&bob).await;
    assert_eq!(received(&bob, "alice").await.last().unwrap(), "again");
}

#[tokio::test]
async fn a_relay_that_forgot_the_sessions_loses_nothing() {
    let (mut world, tap) = world().await;
    let (_, alice, _, bob) = world.pair().await;
    let mut said = Vec::new();
    for about in ["one", "two", "three"] {
        talk(&alice, &bob, 3, about).await;
        said.push((about, 3));
        assert!(counted(&tap.take()).1 > 0);
        world.stop().await;
        world.start().await;
    }
    talk(&alice, &bob, 1, "last").await;
    said.push(("last", 1));
    assert_eq!(received(&bob, "alice").await, texts(&said, ""));
    assert_eq!(received(&alice, "bob").await, texts(&said, " too"));
    for client in [&alice, &bob] {
        assert!(!has(&events(client).await, |e| matches!(
            e,
            EventKind::RolledBack | EventKind::Missing { .. }
        )));
    }
}

#[tokio::test]
async fn a37_a_process_that_is_killed_uses_no_counter_again() {
    let (world, tap) = world().await;
    let (a, mut alice, _, bob) = world.pair().await;
    talk(&alice, &bob, 2, "warm").await;
    for i in 0..6 {
        // Killed right after it reserved counters, which another run has used some of since: looks for mail leave no trace.
        drop(alice);
        alice = a.open().await;
        for _ in 0..2 {
            sync(&alice).await;
        }
        let after_reserving = snapshot(&a);
        let before = tap.sent.lock().unwrap().len();
        for _ in 0..i {
            sync(&alice).await;
        }
        assert!(counted(&tap.sent.lock().unwrap()[before..]).1 >= i, "counters are used");
        drop(alice);
        *a.disk.store.lock().unwrap() = Some(after_reserving);
        alice = a.open().await;
        send(&alice, "bob", &format!("message {i}")).await;
        sync(&alice).await;
        // And right after it used some of them.
        drop(alice);
        alice = a.open().await;
        sync(&alice).await;
        sync(&bob).await;
    }
    let packets = tap.take();
    assert!(counted(&packets).1 > 10);
    each_counter_once(&packets);
    assert_eq!(received(&bob, "alice").await, texts(&[("warm", 2), ("message", 6)], ""));
    assert!(!has(&events(&alice).await, |e| *e == EventKind::RolledBack));
}

#[tokio::test]
async fn a37_an_older_copy_of_the_store_uses_no_counter_of_its_sessions_again() {
    let (world, tap) = world().await;
    let (a, alice, _, bob) = world.pair().await;
    talk(&alice, &bob, 2, "warm").await;
    let old = snapshot(&a);
    assert!(!sessions_of(&a).is_empty());
    talk(&alice, &bob, 4, "lost").await;
    drop(alice);

    *a.disk.store.lock().unwrap() = Some(copy(&old));
    let alice = a.open().await;
    send(&alice, "bob", "after the restore").await;
    for _ in 0..6 {
        alice.sync(Duration::ZERO).await.unwrap();
        bob.sync(Duration::ZERO).await.unwrap();
    }
    assert!(has(&events(&alice).await, |e| *e == EventKind::RolledBack));
    talk(&alice, &bob, 2, "later").await;
    let packets = tap.take();
    each_counter_once(&packets);
    let mut all = texts(&[("warm", 2), ("lost", 4)], "");
    all.push("after the restore".into());
    all.extend(texts(&[("later", 2)], ""));
    assert_eq!(received(&bob, "alice").await, all);
}

#[tokio::test]
async fn a01_a_copy_that_runs_beside_its_original_is_found_out_and_nothing_is_lost() {
    let (world, tap) = world().await;
    let (a, alice, _, bob) = world.pair().await;
    talk(&alice, &bob, 2, "warm").await;
    let twin = User { disk: Default::default(), transports: a.transports.clone() };
    twin.disk.take_keys_of(&a.disk);
    *twin.disk.store.lock().unwrap() = Some(snapshot(&a));
    let other = twin.open().await;
    // Both go on. Whoever counts second is found out.
    talk(&alice, &bob, 1, "original").await;
    send(&other, "bob", "copy").await;
    for _ in 0..6 {
        other.sync(Duration::ZERO).await.unwrap();
        bob.sync(Duration::ZERO).await.unwrap();
    }
    assert!(has(&events(&other).await, |e| *e == EventKind::RolledBack));
    each_counter_once(&tap.take());
    let got = received(&bob, "alice").await;
    for text in ["warm 0", "warm 1", "original 0", "copy"] {
        assert_eq!(got.iter().filter(|t| *t == text).count(), 1, "{text} in {got:?}");
    }
}

#[tokio::test]
async fn a_relay_without_room_for_sessions_serves_all_the_same() {
    let mut openings = Vec::new();
    for sessions in [0, 1] {
        let mut limits = RelayLimits::default();
        limits.sessions = sessions;
        let (world, tap) = world_with(limits).await;
        let (_, alice, _, bob) = world.pair().await;
        talk(&alice, &bob, 6, "crowded").await;
        let packets = tap.take();
        assert!(sessions > 0 || counted(&packets).1 == 0);
        openings.push(packets.iter().filter(|p| p[0] == 1 && p.len() == 2048).count());
        assert_eq!(received(&bob, "alice").await, texts(&[("crowded", 6)], ""));
        assert_eq!(received(&alice, "bob").await, texts(&[("crowded", 6)], " too"));
    }
    // Who gets no session, or none that lasts, asks for none for a while.
    assert!(openings[1] <= openings[0] + 12, "{openings:?}");
}

#[tokio::test]
async fn sessions_end_with_their_mailbox_and_their_contact() {
    let (world, _) = world().await;
    let (a, alice, b, bob) = world.pair().await;
    talk(&alice, &bob, 3, "before").await;
    let before = sessions_of(&a);
    alice.rotate_mailbox("bob").await.unwrap();
    talk(&alice, &bob, 3, "after").await;
    for _ in 0..3 {
        sync(&alice).await;
        sync(&bob).await;
    }
    // Role 0, the owner's, stands after the prefix and the contact's id.
    let place = b"session:".len() + ContactId::from_bytes([0; 16]).as_bytes().len();
    let owners =
        |all: &HashSet<Vec<u8>>| all.iter().filter(|k| k[place] == 0).cloned().collect::<HashSet<_>>();
    let after = sessions_of(&a);
    assert_eq!((owners(&before).len(), owners(&after).len()), (1, 1));
    assert_ne!(owners(&before), owners(&after), "the one of the closed mailbox is gone");
    assert_eq!(received(&bob, "alice").await, texts(&[("before", 3), ("after", 3)], ""));
    assert!(!sessions_of(&b).is_empty());
    bob.remove_contact("alice").await.unwrap();
    assert!(sessions_of(&b).is_empty());
}
