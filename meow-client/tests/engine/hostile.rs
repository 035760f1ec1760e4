//! Servers that lose, close, renumber and flood; futures that are dropped; clocks that jump.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meow_client::{Client, Clock, EventKind};
use meow_core::delivery::Delivery;
use meow_core::message::Content;
use meow_core::policy::{Authenticity, Policy, Receipts};
use meow_core::request::{Answer, Items, MailItem, RequestKind};
use meow_core::store::Table;
use meow_core::wire::{Blob, List};
use meow_core::{ErrorKind, Retry};

use crate::lying::liar;
use crate::rollback::{copy, snapshot};
use crate::support::{User, World, befriend, delivery, events, has, key, received, rows, send, sync};

const HOUR: u64 = 60 * 60 * 1000;

/// A clock that tests set.
#[derive(Clone)]
pub(crate) struct SetClock(Arc<AtomicU64>);

impl SetClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_800_000_000_000)))
    }
    pub(crate) fn set(&self, change: impl Fn(u64) -> u64) {
        self.0.store(change(self.0.load(Ordering::SeqCst)), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

async fn open(user: &User, clock: &SetClock) -> Client {
    user.builder().clock(clock.clone()).open(&key()).await.unwrap()
}

/// Steps of both, whatever problems they report.
async fn rounds(alice: &Client, bob: &Client, count: usize) {
    for _ in 0..count {
        alice.sync(Duration::ZERO).await.unwrap();
        bob.sync(Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_lost_its_mail_gets_the_mailboxes_again_and_the_mail_comes_again() {
    let mut world = World::new().await;
    let (_, alice, _, bob) = world.pair().await;
    let id = send(&bob, "alice", "lost with the server").await;
    sync(&bob).await;
    assert_eq!(delivery(&bob, id).await, Delivery::Stored(1));
    world.stop().await;
    for entry in std::fs::read_dir(world.dir.path().join("relay")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.file_name().is_some_and(|n| n.to_string_lossy().contains("mail")) {
            std::fs::remove_file(path).unwrap();
        }
    }
    world.start().await;
    rounds(&alice, &bob, 6).await;
    send(&bob, "alice", "after").await;
    send(&alice, "bob", "after too").await;
    rounds(&alice, &bob, 3).await;
    assert_eq!(received(&alice, "bob").await, ["lost with the server", "after"]);
    assert_eq!(received(&bob, "alice").await, ["after too"]);
    let seen = events(&alice).await;
    assert!(has(&seen, |e| matches!(e, EventKind::MailboxReopened { .. })));
    assert!(has(&seen, |e| *e == EventKind::Renewed));
    assert!(!has(&seen, |e| matches!(e, EventKind::MailboxGone { .. } | EventKind::Fork)));
    sync(&alice).await;
    sync(&bob).await;
}

#[tokio::test]
async fn a_mailbox_that_a_thief_closed_is_replaced_and_the_contact_told() {
    let world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    let copy = snapshot(&a);
    let thief = User { disk: Arc::default(), transports: world.transports.clone() };
    thief.disk.take_keys_of(&a.disk);
    *thief.disk.store.lock().unwrap() = Some(copy);
    send(&bob, "alice", "closed away").await;
    sync(&bob).await;
    thief.open().await.remove_contact("bob").await.unwrap();
    rounds(&alice, &bob, 8).await;
    send(&bob, "alice", "after").await;
    rounds(&alice, &bob, 3).await;
    assert_eq!(received(&alice, "bob").await, ["closed away", "after"]);
    let gone = events(&alice).await;
    assert_eq!(gone.iter().filter(|e| matches!(e.kind, EventKind::MailboxGone { .. })).count(), 1);
    sync(&alice).await;
    sync(&bob).await;
}

#[tokio::test]
async fn a37_nothing_is_sealed_before_the_store_is_proven_current() {
    let world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    send(&bob, "alice", "read me").await;
    sync(&bob).await;
    sync(&alice).await;
    let message = alice.log("bob", None, 10).await.unwrap().remove(0);
    drop(alice);
    let alice = a.open().await;
    let before = rows(&a, Table::Outbox);
    let policy = Policy {
        authenticity: Authenticity::Deniable,
        receipts: Receipts { decrypted: true, read: true },
        ..Policy::default()
    };
    alice.weaken_policy("bob", policy, &key()).await.unwrap();
    alice.mark_read(message.id).await.unwrap();
    assert_eq!(rows(&a, Table::Outbox), before, "no server was asked yet");
    sync(&alice).await;
    rounds(&bob, &alice, 2).await;
    let sent = bob.log("alice", None, 10).await.unwrap().remove(0);
    assert_eq!(sent.delivery, Delivery::Read);
}

#[tokio::test]
async fn a37_a_second_restore_within_the_hour_uses_no_key_twice() {
    let world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    let old = snapshot(&a);
    send(&alice, "bob", "one").await;
    sync(&alice).await;
    drop(alice);
    *a.disk.store.lock().unwrap() = Some(old);
    let clock = SetClock::new();
    let alice = open(&a, &clock).await;
    rounds(&alice, &bob, 5).await;
    // Renewed a moment ago; and again a copy, a message that the copy does not know, and back to the copy.
    let old = snapshot(&a);
    send(&alice, "bob", "two").await;
    sync(&alice).await;
    drop(alice);
    *a.disk.store.lock().unwrap() = Some(old);
    let alice = open(&a, &clock).await;
    let id = send(&alice, "bob", "three").await;
    let report = alice.sync(Duration::ZERO).await.unwrap();
    let mut reasons = report.problems.iter().chain(&report.waiting);
    let pause = reasons.find(|p| p.kind() == ErrorKind::Limit).unwrap();
    assert!(matches!(pause.retry(), Retry::After(_)));
    assert_eq!(delivery(&alice, id).await, Delivery::Queued);
    clock.set(|now| now + 2 * HOUR);
    rounds(&alice, &bob, 6).await;
    let got = received(&bob, "alice").await;
    assert!(got.contains(&"two".to_owned()) && got.contains(&"three".to_owned()), "{got:?}");
    assert!(!has(&events(&bob).await, |e| *e == EventKind::Fork));
}

#[tokio::test]
async fn a_message_that_nobody_fetches_raises_the_alarm_once() {
    let world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    drop(alice);
    let clock = SetClock::new();
    let alice = open(&a, &clock).await;
    let fetched = send(&alice, "bob", "fetched").await;
    sync(&alice).await;
    rounds(&bob, &alice, 1).await;
    let id = send(&alice, "bob", "never fetched").await;
    sync(&alice).await;
    clock.set(|now| now + 23 * HOUR);
    sync(&alice).await;
    let stalled = |id| move |e: &EventKind| matches!(e, EventKind::Stalled { id: other, .. } if *other == id);
    assert!(!has(&events(&alice).await, stalled(id)));
    clock.set(|now| now + 2 * HOUR);
    sync(&alice).await;
    sync(&alice).await;
    let seen = events(&alice).await;
    assert_eq!(seen.iter().filter(|e| stalled(id)(&e.kind)).count(), 1);
    assert!(!has(&seen, stalled(fetched)));
}

#[tokio::test]
async fn a50_clocks_that_jump_by_two_days_hold_nothing_up() {
    let world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    drop(alice);
    let clock = SetClock::new();
    let alice = open(&a, &clock).await;
    let days = 48 * HOUR;
    let jumps: [fn(u64, u64) -> u64; 4] = [u64::saturating_add, u64::saturating_sub, |_, _| 0, |now, _| now];
    for (i, jump) in jumps.iter().enumerate() {
        clock.set(|now| jump(now, days));
        send(&alice, "bob", &format!("a {i}")).await;
        send(&bob, "alice", &format!("b {i}")).await;
        sync(&alice).await;
        sync(&bob).await;
        sync(&alice).await;
    }
    let want = |p: &str| (0..jumps.len()).map(|i| format!("{p} {i}")).collect::<Vec<_>>();
    assert_eq!(received(&bob, "alice").await, want("a"));
    assert_eq!(received(&alice, "bob").await, want("b"));
    let bad =
        |e: &EventKind| matches!(e, EventKind::RolledBack | EventKind::Missing { .. } | EventKind::Fork);
    assert!(!has(&events(&alice).await, bad) && !has(&events(&bob).await, bad));
}

#[tokio::test]
async fn a49_dropped_futures_lose_and_double_nothing() {
    let world = World::new().await;
    let (_, alice, _, bob) = world.pair().await;
    for i in 0..40 {
        send(&alice, "bob", &format!("a {i}")).await;
        send(&bob, "alice", &format!("b {i}")).await;
        let patience = Duration::from_micros(i * 400);
        // Dropped wherever it is.
        let _ = tokio::time::timeout(patience, alice.sync(Duration::ZERO)).await;
        let _ = tokio::time::timeout(patience, bob.run()).await;
    }
    rounds(&alice, &bob, 6).await;
    let want = |p: &str| (0..40).map(|i| format!("{p} {i}")).collect::<Vec<_>>();
    assert_eq!(received(&bob, "alice").await, want("a"));
    assert_eq!(received(&alice, "bob").await, want("b"));
    let bad = |e: &EventKind| matches!(e, EventKind::RolledBack | EventKind::Fork | EventKind::Unreadable);
    assert!(!has(&events(&alice).await, bad) && !has(&events(&bob).await, bad));
}

#[tokio::test]
async fn what_only_the_protocol_says_cannot_be_sent() {
    let world = World::new().await;
    let (_, alice, _, bob) = world.pair().await;
    let forged = alice.send("bob", Content::Mode { deniable: true }).await.unwrap_err();
    assert_eq!(forged.kind(), ErrorKind::Usage);
    let long = Content::Unknown { kind: 999, body: Blob::new(vec![0; 32_000]).unwrap() };
    assert_eq!(alice.send("bob", long).await.unwrap_err().kind(), ErrorKind::Limit);
    send(&alice, "bob", "the queue is not blocked").await;
    rounds(&alice, &bob, 2).await;
    assert_eq!(received(&bob, "alice").await.len(), 1);
}

fn junk(numbers: impl Iterator<Item = u64>) -> List<MailItem, 256> {
    let item = |number: u64| MailItem { number, item: Blob::new(number.to_be_bytes().to_vec()).unwrap() };
    List::new(numbers.map(item).collect()).unwrap()
}

/// Bob's mailbox at a server that answers pulls as the test says; every `upto` that Bob acknowledges there is noted.
async fn bob_at(
    world: &World,
    answer: impl Fn(u64) -> Items + Send + Sync + 'static,
) -> (User, Client, Arc<Mutex<Vec<u64>>>) {
    let (a, b) = (world.user().await, world.user().await);
    let (alice, bob) = (a.open().await, b.open().await);
    befriend(&alice, &bob).await;
    let (pulls, acknowledged) = (AtomicU64::new(0), Arc::new(Mutex::new(Vec::new())));
    let noted = acknowledged.clone();
    let handler = move |kind: &RequestKind| match kind {
        RequestKind::Pull(pull) => {
            noted.lock().unwrap().push(pull.acknowledge);
            Answer::Items(answer(pulls.fetch_add(1, Ordering::SeqCst)))
        }
        RequestKind::Acknowledge(done) => {
            noted.lock().unwrap().push(done.upto);
            Answer::Done
        }
        _ => Answer::Done,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let server = liar(&world.transports, "scripted", stop, handler).await;
    bob.add_server(&server).await.unwrap();
    bob.remove_server(world.relay.as_ref().unwrap().reference().fingerprint).await.unwrap();
    bob.rotate_mailbox("alice").await.unwrap();
    events(&bob).await;
    (b, bob, acknowledged)
}

#[tokio::test]
async fn a_flood_of_junk_makes_one_event_a_batch_and_takes_little_room() {
    let world = World::new().await;
    let (b, bob, _) = bob_at(&world, |pull| Items {
        items: junk(pull * 200 + 1..=pull * 200 + 200),
        more: pull < 3,
        need: 0,
    })
    .await;
    bob.sync(Duration::ZERO).await.unwrap();
    let told = events(&bob).await.iter().filter(|e| e.kind == EventKind::Unreadable).count();
    assert!((1..=6).contains(&told), "{told}");
    assert!(rows(&b, Table::Items) <= 64 + 50, "{}", rows(&b, Table::Items));
}

#[tokio::test]
async fn a_server_that_always_has_more_and_gives_nothing_is_left() {
    let world = World::new().await;
    let (_, bob, _) = bob_at(&world, |_| Items { items: List::default(), more: true, need: 200 }).await;
    let report =
        tokio::time::timeout(Duration::from_secs(20), bob.sync(Duration::ZERO)).await.unwrap().unwrap();
    assert!(report.problems.iter().any(|p| p.kind() == ErrorKind::Malformed));
}

#[tokio::test]
async fn a_server_that_renumbers_cannot_have_unseen_mail_acknowledged() {
    let world = World::new().await;
    let (_, bob, acknowledged) = bob_at(&world, |pull| match pull {
        n if n % 2 == 0 => Items { items: junk(7..=8), more: true, need: 0 },
        _ => Items { items: junk(3..=3), more: false, need: 0 },
    })
    .await;
    let report = bob.sync(Duration::ZERO).await.unwrap();
    assert!(report.problems.iter().any(|p| p.kind() == ErrorKind::Malformed));
    assert!(acknowledged.lock().unwrap().iter().all(|upto| [0, 8].contains(upto)));
}

#[tokio::test]
async fn a37_a_copy_that_is_one_request_old_is_noticed() {
    let world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    let old = snapshot(&a);
    // One message, and one counted request.
    send(&alice, "bob", "the other timeline").await;
    sync(&alice).await;
    drop(alice);
    *a.disk.store.lock().unwrap() = Some(old);
    let alice = a.open().await;
    events(&alice).await;
    send(&alice, "bob", "this timeline").await;
    rounds(&alice, &bob, 6).await;
    assert!(has(&events(&alice).await, |e| *e == EventKind::RolledBack));
    assert_eq!(received(&bob, "alice").await, ["the other timeline", "this timeline"]);
}

#[tokio::test]
async fn a27_strangers_get_no_receipt_and_contacts_one_a_batch() {
    let world = World::new().await;
    let (_, alice, _, bob) = world.pair().await;
    for i in 0..10 {
        send(&bob, "alice", &format!("probe {i}")).await;
    }
    sync(&bob).await;
    sync(&alice).await;
    let report = bob.sync(Duration::ZERO).await.unwrap();
    assert_eq!(report.fetched, 1, "ten messages, one receipt");
    let quiet = alice.sync(Duration::ZERO).await.unwrap();
    assert_eq!((quiet.fetched, quiet.sent), (0, 0), "receipts are not answered");

    // Whoever saw the card can deposit; nothing that does not open makes anything go out.
    let (carol, dave) = (world.user().await.open().await, world.user().await.open().await);
    let card = alice.new_card("carol", Duration::from_secs(60), &key()).await.unwrap();
    let card = meow_core::card::CardFile::parse(&card.file).unwrap();
    carol.take_card(&card, "alice", "", &key()).await.unwrap();
    dave.take_card(&card, "alice", "", &key()).await.unwrap();
    for client in [&carol, &alice, &carol, &alice] {
        client.sync(Duration::ZERO).await.unwrap();
    }
    sync(&dave).await;
    let report = alice.sync(Duration::ZERO).await.unwrap();
    assert_eq!((report.fetched, report.sent), (1, 0), "the second taker learns nothing");
    assert_eq!(dave.sync(Duration::ZERO).await.unwrap().fetched, 0);
}

#[tokio::test]
async fn a37_a_copy_from_before_a_message_is_noticed_though_the_pull_was_held() {
    let world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    let runner = alice.clone();
    let running = tokio::spawn(async move { runner.run().await });
    // Until the pulls are held.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let old = snapshot(&a);
    let id = send(&alice, "bob", "the other timeline").await;
    let stored = async {
        while delivery(&alice, id).await < Delivery::Stored(1) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), stored).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    running.abort();
    drop(alice);
    *a.disk.store.lock().unwrap() = Some(old);
    let alice = a.open().await;
    events(&alice).await;
    send(&alice, "bob", "this timeline").await;
    rounds(&alice, &bob, 6).await;
    assert!(has(&events(&alice).await, |e| *e == EventKind::RolledBack));
    assert_eq!(received(&bob, "alice").await, ["the other timeline", "this timeline"]);
}

#[tokio::test]
async fn a_contact_that_wants_new_keys_without_end_has_to_wait() {
    let world = World::new().await;
    let (a, alice, b, bob) = world.pair().await;
    drop(alice);
    let clock = SetClock::new();
    let alice = open(&a, &clock).await;
    send(&alice, "bob", "before").await;
    rounds(&alice, &bob, 2).await;
    drop(bob);
    // A copy that is taken back again and again wants new keys each time.
    let old = snapshot(&b);
    let (mut renewed, mut held) = (0, 0);
    let mut bob = None;
    for _ in 0..6 {
        drop(bob.take());
        *b.disk.store.lock().unwrap() = Some(copy(&old));
        let copied = b.open().await;
        for _ in 0..3 {
            copied.sync(Duration::ZERO).await.unwrap();
            alice.sync(Duration::ZERO).await.unwrap();
        }
        bob = Some(copied);
        for event in events(&alice).await {
            renewed += usize::from(event.kind == EventKind::Renewed);
            held += usize::from(event.kind == EventKind::RenewalsHeld);
        }
    }
    assert_eq!((renewed, held), (4, 1));
    let bob = bob.unwrap();
    assert_eq!(alice.sync(Duration::ZERO).await.unwrap().sent, 0);

    clock.set(|now| now + HOUR);
    send(&alice, "bob", "an hour later").await;
    rounds(&alice, &bob, 5).await;
    assert!(has(&events(&alice).await, |e| *e == EventKind::Renewed));
    send(&bob, "alice", "at last").await;
    rounds(&bob, &alice, 2).await;
    assert!(received(&bob, "alice").await.contains(&"an hour later".to_owned()));
    assert!(received(&alice, "bob").await.contains(&"at last".to_owned()));
}
