//! Moving to another server: every conversation goes on, also where the old server is gone for good.

use std::time::Duration;

use meow_client::{Client, EventKind};
use meow_core::ErrorKind;
use meow_core::delivery::Delivery;
use meow_server::{Admission, Relay, RelayHandle};
use tempfile::TempDir;

use crate::support::*;

/// Another relay in the same world.
async fn other(world: &World, dir: &TempDir) -> RelayHandle {
    let builder = Relay::builder().transports(world.transports.clone());
    let builder = builder.listen("memory://other".parse().unwrap()).data(dir.path()).unwrap();
    builder.admission(Admission::Open).start().await.unwrap()
}

async fn servers(client: &Client) -> Vec<(String, bool)> {
    let all = client.servers().await.unwrap();
    all.iter().map(|s| (s.reference.url.to_string(), s.leaving)).collect()
}

/// Both sync until what they wait for is so, whatever problems there are on the way.
async fn rounds(clients: &[&Client], until: impl AsyncFn() -> bool) {
    for _ in 0..40 {
        if until().await {
            return;
        }
        for client in clients {
            client.sync(Duration::ZERO).await.unwrap();
        }
    }
    panic!("it does not come about");
}

#[tokio::test]
async fn a_move_keeps_every_conversation_and_what_is_under_way() {
    let mut world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let new = other(&world, &dir).await;
    let old = world.relay.as_ref().unwrap().reference().clone();
    let (_, alice, _, bob) = world.pair().await;
    // Somebody has not answered her card yet: he finds her all the same.
    let card = alice.new_card("carol", Duration::from_secs(3600), &key()).await.unwrap();
    send(&bob, "alice", "before she moves").await;
    sync(&bob).await;
    for (from, to, kind) in
        [(old.fingerprint, &old, ErrorKind::Usage), ([7; 32], new.reference(), ErrorKind::NotFound)]
    {
        assert_eq!(alice.move_server(from, to, false).await.unwrap_err().kind(), kind);
    }
    let report = alice.move_server(old.fingerprint, new.reference(), false).await.unwrap();
    assert!(!report.left, "Bob does not know yet");
    let waits: Vec<_> = report.waiting.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(waits, ["carol"]);
    let both = [("memory://relay/".to_owned(), true), ("memory://other/".to_owned(), false)];
    assert_eq!(servers(&alice).await, both);
    send(&bob, "alice", "before he knows").await;
    bob.move_server(old.fingerprint, new.reference(), false).await.unwrap();

    let carol = world.user().await.open().await;
    let card = meow_core::card::CardFile::parse(&card.file).unwrap();
    carol.take_card(&card, "alice", "hello", &key()).await.unwrap();
    let all = [&alice, &bob, &carol];
    rounds(&all, async || servers(&alice).await == both[1..] && servers(&bob).await == both[1..]).await;
    assert_eq!(received(&alice, "bob").await, ["before she moves", "before he knows"]);
    carol.move_server(old.fingerprint, new.reference(), false).await.unwrap();
    rounds(&all, async || servers(&carol).await == both[1..]).await;

    world.stop().await;
    let ids = [
        (&alice, send(&alice, "bob", "here").await),
        (&alice, send(&alice, "carol", "and here").await),
        (&bob, send(&bob, "alice", "too").await),
        (&carol, send(&carol, "alice", "too").await),
    ];
    rounds(&all, async || {
        let mut done = true;
        for (client, id) in &ids {
            done &= delivery(client, *id).await == Delivery::Decrypted;
        }
        done
    })
    .await;
}

#[tokio::test]
async fn a_move_away_from_a_server_that_is_down_waits_for_it_and_says_so() {
    let mut world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let new = other(&world, &dir).await;
    let old = world.relay.as_ref().unwrap().reference().fingerprint;
    let (a, alice, _, bob) = world.pair().await;
    drop(alice);
    let alice = a.open().await;
    world.stop().await;
    let report = alice.move_server(old, new.reference(), false).await.unwrap();
    assert_eq!(report.waiting.len(), 1);
    assert_eq!(report.waiting[0].1.kind(), ErrorKind::Unreachable, "{:?}", report.waiting);
    assert!(!alice.sync(Duration::ZERO).await.unwrap().problems.is_empty());
    // One that is used again is not left.
    world.start().await;
    rounds(&[&alice, &bob], async || servers(&alice).await == [("memory://other/".to_owned(), false)]).await;
    let id = send(&bob, "alice", "there you are").await;
    rounds(&[&alice, &bob], async || delivery(&bob, id).await == Delivery::Decrypted).await;
}

#[tokio::test]
async fn a_lost_server_is_left_with_new_keys_and_without_its_word() {
    let mut world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let new = other(&world, &dir).await;
    let old = world.relay.as_ref().unwrap().reference().fingerprint;
    let a = world.user().await;
    let b = User { disk: std::sync::Arc::default(), transports: world.transports.clone() };
    let (bob, _) = b.builder().create(&key()).await.unwrap();
    bob.add_server(new.reference()).await.unwrap();
    let alice = a.open().await;
    befriend(&alice, &bob).await;
    drop(alice);
    let alice = a.open().await;
    world.stop().await;
    let early = send(&bob, "alice", "is anybody there?").await;
    bob.sync(Duration::ZERO).await.unwrap();
    events(&alice).await;
    let report = alice.move_server(old, new.reference(), true).await.unwrap();
    assert!(report.waiting.is_empty() && report.left, "{report:?}");
    assert_eq!(servers(&alice).await, [("memory://other/".to_owned(), false)]);
    assert!(has(&events(&alice).await, |e| matches!(e, EventKind::MailboxGone { .. })));
    let late = send(&alice, "bob", "I moved").await;
    rounds(&[&alice, &bob], async || {
        delivery(&alice, late).await == Delivery::Decrypted
            && delivery(&bob, early).await == Delivery::Decrypted
    })
    .await;
    sync(&alice).await;
    assert_eq!(received(&alice, "bob").await, ["is anybody there?"]);
    assert_eq!(received(&bob, "alice").await, ["I moved"]);
}
