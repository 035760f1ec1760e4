//! Servers of one's own that are to take the place of a dead one, and do not: others are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meow_client::{Client, EventKind};
use meow_core::ErrorKind;
use meow_core::lane::ServerReference;
use meow_core::request::{Answer, RefusalCode, Refused};
use meow_transport::Transports;

use crate::copies::{HOUR, Relays, places, rounds, url};
use crate::hostile::SetClock;
use crate::lying::liar;
use crate::restored::moved;
use crate::support::*;

/// A server that refuses whatever it is asked for.
async fn denies(transports: &Transports, stop: &Arc<AtomicBool>, code: RefusalCode) -> ServerReference {
    let name = format!("denies-{code:?}").to_lowercase();
    liar(transports, &name, Arc::clone(stop), move |_| {
        Answer::Refused(Refused { code, retry_secs: 0, seen: 0 })
    })
    .await
}

/// Alice, who has mailboxes at "one" and "two", and Bob.
async fn both(relays: &Relays, clock: &SetClock) -> (Client, Client) {
    let alice = relays.user(clock, &["one", "two"]).await;
    let bob = relays.user(clock, &["bobs"]).await;
    befriend(&alice, &bob).await;
    (alice, bob)
}

#[tokio::test]
async fn a_spare_server_that_takes_no_mailbox_is_passed_over_for_the_next_one() {
    let mut relays = Relays::new(&["one", "two", "away", "three", "bobs"]).await;
    let clock = SetClock::new();
    let (alice, bob) = both(&relays, &clock).await;
    let stop = Arc::new(AtomicBool::new(false));
    for code in [RefusalCode::Denied, RefusalCode::NotInvited, RefusalCode::Busy] {
        alice.add_server(&denies(&relays.transports, &stop, code).await).await.unwrap();
    }
    relays.add(&alice, &["away", "three"]).await;
    relays.stop("away").await;
    relays.lose("one").await;
    moved(&clock, &alice, &bob, &["two", "three"]).await;
    let to = |e: &EventKind| matches!(e, EventKind::MailboxMoved { to, .. } if *to == url("three"));
    assert!(has(&events(&alice).await, to), "who took the place is told, not who was asked first");
    assert_eq!(relays.open("three"), 1);
    let id = send(&bob, "alice", "at three").await;
    rounds(&clock, &[&alice, &bob], async || {
        delivery(&bob, id).await == meow_core::delivery::Delivery::Decrypted
    })
    .await;
    stop.store(true, Ordering::SeqCst);
}

#[tokio::test]
async fn of_two_dead_servers_one_is_replaced_where_one_spare_takes_a_mailbox_and_the_other_stays() {
    let mut relays = Relays::new(&["one", "two", "three", "bobs"]).await;
    let clock = SetClock::new();
    let (alice, bob) = both(&relays, &clock).await;
    // Something else of hers is heard, or it might be her own network.
    let carol = relays.user(&clock, &["bobs"]).await;
    befriend(&carol, &alice).await;
    let stop = Arc::new(AtomicBool::new(false));
    let refusing = denies(&relays.transports, &stop, RefusalCode::Denied).await;
    alice.add_server(&refusing).await.unwrap();
    relays.add(&alice, &["three"]).await;
    relays.lose("one").await;
    relays.lose("two").await;
    events(&alice).await;
    let moved = |e: &EventKind| matches!(e, EventKind::MailboxMoved { .. });
    rounds(&clock, &[&alice, &bob], async || {
        clock.set(|now| now + 6 * HOUR);
        has(&alice.events(100).await.unwrap(), moved) && places(&bob, "alice").await.contains(&url("three"))
    })
    .await;
    let now = places(&bob, "alice").await;
    assert!(now.len() == 2 && now.contains(&url("three")), "what is dead may come back: {now:?}");
    // And it is said that one is lacking.
    clock.set(|now| now + 2 * HOUR);
    let report = alice.sync(Duration::ZERO).await.unwrap();
    let said = |kind| report.problems.iter().any(|e| e.kind() == kind);
    assert!(said(ErrorKind::Refused), "{report:?}");
    stop.store(true, Ordering::SeqCst);
}
