use std::time::Duration;

use meow_client::{EventKind, Status};
use meow_core::ErrorKind;
use meow_core::card::CardFile;
use meow_core::delivery::Delivery;
use meow_core::policy::{Authenticity, Policy, Receipts};
use meow_core::store::Table;

use crate::support::{World, befriend, delivery, events, has, key, received, rows, send, sync};

#[tokio::test]
async fn two_people_meet_verify_and_talk() {
    let world = World::new().await;
    let (_, alice, _, bob) = world.pair().await;
    assert_eq!(alice.contact("bob").await.unwrap().status, Status::Established);
    let code = alice.contact("bob").await.unwrap().safety_code;
    assert!(code.is_some());
    assert_eq!(bob.contact("alice").await.unwrap().safety_code, code);
    alice.confirm_safety_code("bob").await.unwrap();
    assert!(alice.contact("bob").await.unwrap().verified);
    let seen = events(&alice).await;
    assert!(has(&seen, |e| *e == EventKind::Greeting("hello".into())));
    assert!(has(&seen, |e| *e == EventKind::Established));

    let id = send(&alice, "bob", "hi Bob").await;
    assert_eq!(delivery(&alice, id).await, Delivery::Queued);
    sync(&alice).await;
    assert_eq!(delivery(&alice, id).await, Delivery::Stored(1));
    sync(&bob).await;
    assert_eq!(received(&bob, "alice").await, ["hi Bob"]);
    sync(&alice).await;
    assert_eq!(delivery(&alice, id).await, Delivery::Decrypted);

    let policy = Policy { receipts: Receipts { decrypted: true, read: true }, ..Policy::default() };
    bob.weaken_policy("alice", policy, &key()).await.unwrap();
    let arrived = bob.log("alice", None, 10).await.unwrap().into_iter().find(|m| !m.outgoing).unwrap();
    bob.mark_read(arrived.id).await.unwrap();
    sync(&bob).await;
    sync(&alice).await;
    assert_eq!(delivery(&alice, id).await, Delivery::Read);
    let seen: Vec<_> = events(&alice).await.into_iter().map(|e| e.kind).collect();
    let rungs: Vec<_> = seen
        .iter()
        .filter_map(|e| if let EventKind::Delivery { delivery, .. } = e { Some(*delivery) } else { None })
        .collect();
    assert_eq!(rungs, [Delivery::Stored(1), Delivery::Decrypted, Delivery::Read]);
}

#[tokio::test]
async fn a_card_as_uri_fetches_its_key_from_the_server() {
    let world = World::new().await;
    let (a, b) = (world.user().await, world.user().await);
    let (alice, bob) = (a.open().await, b.open().await);
    let card = alice.new_card("bob", Duration::from_secs(60), &key()).await.unwrap();
    assert!(card.uri.starts_with("meow:") && card.uri.len() < 1000, "{}", card.uri.len());
    let card = CardFile::parse(card.uri.as_bytes()).unwrap();
    bob.take_card(&card, "alice", "", &key()).await.unwrap();
    for _ in 0..3 {
        sync(&bob).await;
        sync(&alice).await;
    }
    assert_eq!(bob.contact("alice").await.unwrap().status, Status::Established);
}

#[tokio::test]
async fn a_card_lasts_no_longer_than_its_key_is_kept() {
    let world = World::new().await;
    let alice = world.user().await.open().await;
    let month = Duration::from_secs(30 * 86_400);
    let error = alice.new_card("bob", month + Duration::from_secs(1), &key()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("keeps the key of a card for 30 days at most"), "{error}");
    assert!(alice.contacts().await.unwrap().is_empty());
    alice.new_card("bob", month, &key()).await.unwrap();
}

#[tokio::test]
async fn a10_a_card_taken_twice_makes_one_contact() {
    let world = World::new().await;
    let (a, b, c) = (world.user().await, world.user().await, world.user().await);
    let (alice, bob, carol) = (a.open().await, b.open().await, c.open().await);
    let card = alice.new_card("bob", Duration::from_secs(60), &key()).await.unwrap();
    let card = CardFile::parse(&card.file).unwrap();
    bob.take_card(&card, "alice", "", &key()).await.unwrap();
    assert_eq!(bob.take_card(&card, "again", "", &key()).await.unwrap_err().kind(), ErrorKind::AlreadyUsed);
    sync(&bob).await;
    carol.take_card(&card, "alice", "", &key()).await.unwrap();
    sync(&carol).await;
    for _ in 0..3 {
        sync(&alice).await;
        sync(&bob).await;
        sync(&carol).await;
    }
    assert_eq!(bob.contact("alice").await.unwrap().status, Status::Established);
    assert_eq!(carol.contact("alice").await.unwrap().status, Status::Confirming);
    assert!(has(&events(&alice).await, |e| *e == EventKind::Unreadable), "the second taker shows");
    assert_eq!(alice.contacts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn messages_wait_for_a_server_that_is_away() {
    let mut world = World::new().await;
    let (_, alice, _, bob) = world.pair().await;
    world.stop().await;
    let id = send(&alice, "bob", "later").await;
    let report = alice.sync(Duration::ZERO).await.unwrap();
    assert!(
        report.problems.iter().all(|p| p.kind() == ErrorKind::Unreachable) && !report.problems.is_empty()
    );
    assert_eq!(report.waiting.unwrap().kind(), ErrorKind::Unreachable);
    let waiting = alice.message(id).await.unwrap();
    assert_eq!(waiting.delivery, Delivery::Queued);
    assert!(waiting.waiting.is_some());
    world.start().await;
    sync(&alice).await;
    sync(&bob).await;
    assert_eq!(received(&bob, "alice").await, ["later"]);
    assert!(alice.message(id).await.unwrap().waiting.is_none());
}

#[tokio::test]
async fn running_clients_talk_by_themselves() {
    let world = World::new().await;
    let (_, alice, _, bob) = world.pair().await;
    let tasks = [alice.clone(), bob.clone()].map(|c| tokio::spawn(async move { c.run().await }));
    let id = send(&alice, "bob", "ping").await;
    let arrived = async {
        while received(&bob, "alice").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        send(&bob, "alice", "pong").await;
        while received(&alice, "bob").await.is_empty() || delivery(&alice, id).await < Delivery::Decrypted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), arrived).await.unwrap();
    alice.suspend();
    send(&bob, "alice", "while asleep").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(received(&alice, "bob").await, ["pong"]);
    alice.resume();
    let woke = async {
        while received(&alice, "bob").await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), woke).await.unwrap();
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_mailbox_moves_without_losing_a_message() {
    let world = World::new().await;
    let (_, alice, _, bob) = world.pair().await;
    send(&bob, "alice", "before").await;
    sync(&bob).await;
    alice.rotate_mailbox("bob").await.unwrap();
    send(&bob, "alice", "to the old one").await;
    sync(&bob).await;
    sync(&alice).await;
    sync(&bob).await;
    send(&bob, "alice", "to the new one").await;
    sync(&bob).await;
    sync(&alice).await;
    assert_eq!(received(&alice, "bob").await, ["before", "to the old one", "to the new one"]);
    sync(&alice).await;
    send(&bob, "alice", "still there").await;
    sync(&bob).await;
    sync(&alice).await;
    assert_eq!(received(&alice, "bob").await.len(), 4);
}

#[tokio::test]
async fn deniable_messages_once_both_want_them() {
    let world = World::new().await;
    let (_, alice, _, bob) = world.pair().await;
    let policy = Policy { authenticity: Authenticity::Deniable, ..Policy::default() };
    alice.set_policy("bob", policy.clone()).await.unwrap();
    bob.set_policy("alice", policy).await.unwrap();
    for i in 0..3 {
        send(&alice, "bob", &i.to_string()).await;
        sync(&alice).await;
        sync(&bob).await;
        sync(&alice).await;
    }
    assert_eq!(received(&bob, "alice").await, ["0", "1", "2"]);
}

#[tokio::test]
async fn two_clients_on_one_store_lose_and_double_nothing() {
    let world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    let twin = a.open().await;
    let (one, two) = (alice.clone(), twin.clone());
    let follow = tokio::spawn(async move { one.run().await });
    for i in 0..20 {
        send(&two, "bob", &format!("out {i}")).await;
        send(&bob, "alice", &format!("in {i}")).await;
        let (r, s) = tokio::join!(two.sync(Duration::ZERO), bob.sync(Duration::ZERO));
        r.unwrap();
        s.unwrap();
    }
    let settled = async {
        while received(&alice, "bob").await.len() < 20 || received(&bob, "alice").await.len() < 20 {
            bob.sync(Duration::ZERO).await.unwrap();
            two.sync(Duration::ZERO).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), settled).await.unwrap();
    let want = |p: &str| (0..20).map(|i| format!("{p} {i}")).collect::<Vec<_>>();
    assert_eq!(received(&alice, "bob").await, want("in"));
    assert_eq!(received(&bob, "alice").await, want("out"));
    assert!(!has(&events(&alice).await, |e| matches!(e, EventKind::RolledBack | EventKind::Fork)));
    follow.abort();
}

#[tokio::test]
async fn names_servers_and_removal() {
    let world = World::new().await;
    let (_, alice, _, bob) = world.pair().await;
    let taken = alice.new_card("bob", Duration::from_secs(60), &key()).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyUsed);
    alice.rename_contact("bob", "Robert").await.unwrap();
    assert_eq!(alice.contact("bob").await.unwrap_err().kind(), ErrorKind::NotFound);
    send(&alice, "Robert", "find the needle").await;
    assert_eq!(alice.search(None, "needle", 5).await.unwrap().len(), 1);
    assert_eq!(alice.search(Some("Robert"), "needle", 5).await.unwrap().len(), 1);
    assert!(alice.search(Some("Robert"), "needle", 0).await.unwrap().is_empty());
    assert_eq!(alice.search(Some("bob"), "needle", 5).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(alice.contact("Robert").await.unwrap().queued, 1);
    let last = send(&alice, "Robert", "the last one").await;
    assert_eq!(alice.latest("Robert", 1).await.unwrap()[0].id, last);
    assert_eq!(alice.unfinished().await.unwrap().len(), 2);
    alice.verify_store().await.unwrap();
    assert_eq!(alice.remove_contact("Robert").await.unwrap(), 0);
    assert!(alice.contacts().await.unwrap().is_empty());
    assert!(alice.search(None, "needle", 5).await.unwrap().is_empty());
    send(&bob, "alice", "are you there?").await;
    let report = bob.sync(Duration::ZERO).await.unwrap();
    assert_eq!(report.waiting.unwrap().kind(), ErrorKind::Refused);

    let mut wrong = world.relay.as_ref().unwrap().reference().clone();
    wrong.fingerprint[0] ^= 1;
    assert_eq!(alice.add_server(&wrong).await.unwrap_err().kind(), ErrorKind::WrongPeer);
    let own = alice.servers().await.unwrap();
    assert_eq!(own.len(), 1);
    alice.remove_server(own[0].reference.fingerprint).await.unwrap();
    let none = alice.new_card("x", Duration::from_secs(60), &key()).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Usage);
    befriend_again_fails_without_a_server(&bob, &alice).await;
}

#[tokio::test]
async fn a_contact_goes_while_its_server_is_away() {
    let mut world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    send(&alice, "bob", "sealed").await;
    sync(&alice).await;
    sync(&bob).await;
    sync(&alice).await;
    send(&alice, "bob", "never sealed").await;
    world.stop().await;
    assert_eq!(alice.remove_contact("bob").await.unwrap(), 1);
    assert!(alice.contacts().await.unwrap().is_empty());
    for table in [Table::Contacts, Table::Names, Table::Log, Table::Outbox, Table::Items] {
        assert_eq!(rows(&a, table), 0, "{}", table.name());
    }
    // The mailbox stays open, and known, until its server says otherwise.
    let away = alice.sync(Duration::ZERO).await.unwrap();
    assert_eq!(away.problems.len(), 1, "{:?}", away.problems);
    world.start().await;
    let back = alice.sync(Duration::ZERO).await.unwrap();
    assert!(back.problems.is_empty(), "{:?}", back.problems);
    assert_eq!(rows(&a, Table::Mailboxes), 0);
    send(&bob, "alice", "are you there?").await;
    assert_eq!(bob.sync(Duration::ZERO).await.unwrap().waiting.unwrap().kind(), ErrorKind::Refused);
}

async fn befriend_again_fails_without_a_server(bob: &meow_client::Client, alice: &meow_client::Client) {
    let card = bob.new_card("new", Duration::from_secs(60), &key()).await.unwrap();
    let card = CardFile::parse(&card.file).unwrap();
    assert_eq!(alice.take_card(&card, "bob", "", &key()).await.unwrap_err().kind(), ErrorKind::Usage);
}

#[tokio::test]
async fn events_come_again_until_they_are_confirmed() {
    let world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    events(&alice).await;
    send(&bob, "alice", "once").await;
    sync(&bob).await;
    sync(&alice).await;
    let first = alice.next_event().await.unwrap();
    drop(alice);
    let alice = a.open().await;
    let again = alice.next_event().await.unwrap();
    assert_eq!(first, again);
    alice.confirm_events(again.number).await.unwrap();
    assert!(alice.events(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn twins_befriend_in_both_directions() {
    let world = World::new().await;
    let (a, b) = (world.user().await, world.user().await);
    let (alice, bob) = (a.open().await, b.open().await);
    befriend(&alice, &bob).await;
    // The same two people once more, under other names: other identities, nothing shared.
    let card = bob.new_card("alice 2", Duration::from_secs(60), &key()).await.unwrap();
    let card = CardFile::parse(&card.file).unwrap();
    alice.take_card(&card, "bob 2", "", &key()).await.unwrap();
    for _ in 0..3 {
        sync(&alice).await;
        sync(&bob).await;
    }
    let codes: Vec<_> = alice.contacts().await.unwrap().into_iter().map(|c| c.safety_code).collect();
    assert_eq!(codes.len(), 2);
    assert_ne!(codes[0], codes[1]);
}
