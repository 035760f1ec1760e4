//! An old copy of a store whose newer one, which is lost, had made mailboxes that this one makes again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use meow_client::{Client, EventKind};
use meow_core::ErrorKind;
use meow_core::request::{Answer, RefusalCode, Refused, RequestKind};
use meow_core::store::{ClientStore, Table};

use crate::copies::{HOUR, Relays, places, rounds, url};
use crate::hostile::SetClock;
use crate::lying::liar;
use crate::rollback::snapshot;
use crate::support::*;

/// Alice, who has mailboxes at "one" and "two" and a third server, and "one" is lost; then what her store was like, and Bob.
async fn struck(relays: &mut Relays, clock: &SetClock) -> (User, Client, Arc<dyn ClientStore>, Client) {
    let (user, alice) = relays.user_and_store(clock, &["one", "two"]).await;
    let bob = relays.user(clock, &["bobs"]).await;
    befriend(&alice, &bob).await;
    relays.add(&alice, &["three"]).await;
    let old = snapshot(&user);
    relays.lose("one").await;
    alice.sync(Duration::ZERO).await.unwrap();
    (user, alice, old, bob)
}

/// Alice finds out that a server is gone, and Bob is told where she is instead.
pub(crate) async fn moved(clock: &SetClock, alice: &Client, bob: &Client, to: &[&str]) {
    let to: Vec<_> = to.iter().map(|name| url(name)).collect();
    events(alice).await;
    rounds(clock, &[alice, bob], async || {
        clock.set(|now| now + 6 * HOUR);
        let moved = |e: &EventKind| matches!(e, EventKind::MailboxMoved { .. });
        has(&alice.events(100).await.unwrap(), moved) && places(bob, "alice").await == to
    })
    .await;
}

/// The old copy of the store takes the place of the newer one.
async fn restore(clock: &SetClock, user: &User, old: Arc<dyn ClientStore>) -> Client {
    *user.disk.store.lock().unwrap() = Some(old);
    user.builder().clock(clock.clone()).open(&key()).await.unwrap()
}

async fn talks(clock: &SetClock, alice: &Client, bob: &Client) {
    send(bob, "alice", "found").await;
    send(alice, "bob", "found too").await;
    rounds(clock, &[alice, bob], async || {
        received(alice, "bob").await.contains(&"found".to_owned())
            && received(bob, "alice").await.contains(&"found too".to_owned())
    })
    .await;
    for client in [alice, bob] {
        assert!(!has(&events(client).await, |e| *e == EventKind::Fork));
    }
}

#[tokio::test]
async fn a52_a_mailbox_that_a_lost_copy_of_the_store_had_closed_is_made_under_fresh_keys() {
    let mut relays = Relays::new(&["one", "two", "three", "four", "bobs"]).await;
    let clock = SetClock::new();
    let (user, alice, old, bob) = struck(&mut relays, &clock).await;
    moved(&clock, &alice, &bob, &["two", "three"]).await;
    // The third one falls silent, is replaced, comes back, and is left.
    relays.stop("three").await;
    relays.add(&alice, &["four"]).await;
    moved(&clock, &alice, &bob, &["two", "four"]).await;
    relays.start("three").await;
    rounds(&clock, &[&bob, &alice], async || relays.given("three", "closed") == 1).await;
    drop(alice);

    let alice = restore(&clock, &user, old).await;
    moved(&clock, &alice, &bob, &["two", "three"]).await;
    talks(&clock, &alice, &bob).await;
}

#[tokio::test]
async fn a52_a_mailbox_that_a_lost_copy_of_the_store_had_open_is_taken_over() {
    let mut relays = Relays::new(&["one", "two", "three", "bobs"]).await;
    let clock = SetClock::new();
    let (user, alice, old, bob) = struck(&mut relays, &clock).await;
    moved(&clock, &alice, &bob, &["two", "three"]).await;
    // Counters there go on, each time with a session of its own.
    drop(alice);
    for _ in 0..70 {
        let alice = user.builder().clock(clock.clone()).open(&key()).await.unwrap();
        alice.sync(Duration::ZERO).await.unwrap();
    }
    let before = relays.given("three", "mailbox");
    let alice = restore(&clock, &user, old).await;
    moved(&clock, &alice, &bob, &["two", "three"]).await;
    talks(&clock, &alice, &bob).await;
    assert_eq!(relays.given("three", "mailbox"), before, "no other one was made");
}

#[tokio::test]
async fn a_server_that_denies_every_new_mailbox_is_asked_for_one_under_fresh_keys_once_an_hour() {
    let mut relays = Relays::new(&["one", "two", "bobs"]).await;
    let clock = SetClock::new();
    let (user, alice) = relays.user_and_store(&clock, &["one", "two"]).await;
    let bob = relays.user(&clock, &["bobs"]).await;
    befriend(&alice, &bob).await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let denies = liar(&relays.transports, "denies", Arc::clone(&stop), move |kind| {
        if matches!(kind, RequestKind::Register(_)) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Answer::Refused(Refused { code: RefusalCode::Denied, retry_secs: 0, seen: 0 })
    })
    .await;
    alice.add_server(&denies).await.unwrap();
    relays.lose("one").await;
    rounds(&clock, &[&alice], async || {
        clock.set(|now| now + 6 * HOUR);
        asked.load(Ordering::SeqCst) > 0
    })
    .await;
    // Six hours went by since.
    asked.store(0, Ordering::SeqCst);
    alice.sync(Duration::ZERO).await.unwrap();
    assert_eq!(asked.swap(0, Ordering::SeqCst), 2, "what was planned, and one under fresh keys");
    let kept = rows(&user, Table::Mailboxes);
    for _ in 0..10 {
        let report = alice.sync(Duration::ZERO).await.unwrap();
        assert!(report.problems.iter().any(|e| e.kind() == ErrorKind::Refused), "it is said");
        clock.set(|now| now + 60_000);
    }
    assert_eq!(asked.swap(0, Ordering::SeqCst), 10, "what was planned, each time");
    clock.set(|now| now + HOUR);
    alice.sync(Duration::ZERO).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(rows(&user, Table::Mailboxes), kept, "nothing piles up");
    assert_eq!(places(&bob, "alice").await, [url("one"), url("two")], "what she has stays");
    stop.store(true, Ordering::SeqCst);
}
