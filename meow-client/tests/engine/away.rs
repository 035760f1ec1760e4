//! Cards while some of one's own servers, or of the card's, do not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use meow_client::{Client, Clock, NewCard, Status, SystemClock};
use meow_core::card::CardFile;
use meow_core::delivery::Delivery;
use meow_core::policy::Policy;
use meow_core::request::{Answer, RefusalCode, Refused, RequestKind};
use meow_core::store::Table;
use meow_core::{Error, ErrorKind, Result};
use meow_server::Admission;

use crate::copies::{Relays, places, rounds, url};
use crate::hostile::SetClock;
use crate::lying::liar_at;
use crate::support::*;

/// The clock of the servers, who keep a card's key by their own.
fn clock() -> SetClock {
    let clock = SetClock::new();
    clock.set(|_| SystemClock.now_ms());
    clock
}

async fn new_card(client: &Client, name: &str) -> Result<NewCard> {
    client.new_card(name, Duration::from_secs(600), &key()).await
}

async fn want_copies(client: &Client, copies: u8) {
    client.set_default_policy(Policy { copies, ..Policy::default() }).await.unwrap();
}

/// The first URLs of the servers that a card names.
fn named(card: &CardFile) -> Vec<&str> {
    card.card().lane().lookup.servers().map(|server| server.urls().next().unwrap()).collect()
}

#[tokio::test]
async fn a_card_is_made_and_taken_with_the_servers_that_answer_and_a_rotation_adds_the_others() {
    let mut relays = Relays::new(&["one", "two", "three", "bobs", "spare"]).await;
    let clock = clock();
    let (a, alice) = relays.user_and_store(&clock, &["one", "two", "three"]).await;
    let bob = relays.user(&clock, &["bobs", "spare"]).await;
    want_copies(&alice, 2).await;
    relays.stop("two").await;
    let made = new_card(&alice, "bob").await.unwrap();
    let [left_out] = made.left_out.as_slice() else { panic!("{made:?}") };
    assert_eq!(left_out.server, url("two"));
    assert!(!left_out.why.is_empty() && !left_out.why.contains(&url("two")), "{left_out:?}");
    let card = CardFile::parse(made.uri.as_bytes()).unwrap();
    assert_eq!(named(&card), [url("one"), url("three")], "no other one in its place");

    // The first place of the card is away, and one of Bob's own. The key that goes with the card comes from the other.
    relays.stop("one").await;
    relays.stop("bobs").await;
    let taken = bob.take_card(&card, "alice", "hello", &key()).await.unwrap();
    assert_eq!(taken.left_out.iter().map(|one| &one.server).collect::<Vec<_>>(), [&url("bobs")]);
    let established =
        async |client: &Client, name: &str| client.contact(name).await.unwrap().status == Status::Established;
    rounds(&clock, &[&bob, &alice], async || {
        established(&alice, "bob").await && established(&bob, "alice").await
    })
    .await;
    assert_eq!(places(&alice, "bob").await, [url("spare")]);

    // All are back. What may have been opened where no answer came is closed.
    for name in ["one", "two", "bobs"] {
        relays.start(name).await;
    }
    rounds(&clock, &[&alice, &bob], async || {
        alice.sync(Duration::ZERO).await.unwrap().problems.is_empty()
            && bob.sync(Duration::ZERO).await.unwrap().problems.is_empty()
    })
    .await;
    assert_eq!(rows(&a, Table::Mailboxes), 2);
    alice.rotate_mailbox("bob").await.unwrap();
    rounds(&clock, &[&alice, &bob], async || {
        places(&bob, "alice").await == [url("one"), url("two"), url("three")]
    })
    .await;
    let id = send(&bob, "alice", "to any of three").await;
    rounds(&clock, &[&bob, &alice], async || delivery(&bob, id).await == Delivery::Decrypted).await;
    assert_eq!(received(&alice, "bob").await, ["to any of three"]);
    rounds(&clock, &[&bob, &alice], async || rows(&a, Table::Mailboxes) == 3).await;
}

#[tokio::test]
async fn a_rotation_does_what_it_can_and_the_rest_once_the_others_answer() {
    let mut relays = Relays::new(&["one", "two", "three", "bobs"]).await;
    let clock = clock();
    let alice = relays.user(&clock, &["one", "two", "three"]).await;
    let bob = relays.user(&clock, &["bobs"]).await;
    befriend(&alice, &bob).await;
    rounds(&clock, &[&bob, &alice], async || places(&bob, "alice").await.len() == 3).await;
    relays.stop("two").await;
    let rotated = alice.rotate_mailbox("bob").await.unwrap();
    let [left_out] = rotated.left_out.as_slice() else { panic!("{rotated:?}") };
    assert_eq!(left_out.server, url("two"));
    assert!(!left_out.why.is_empty());
    rounds(&clock, &[&alice, &bob], async || places(&bob, "alice").await == [url("one"), url("three")]).await;
    let id = send(&bob, "alice", "to one of two").await;
    rounds(&clock, &[&bob, &alice], async || delivery(&bob, id).await == Delivery::Decrypted).await;

    // With more copies to a contact than servers answer nothing is changed.
    alice.set_policy("bob", Policy { copies: 3, ..Policy::default() }).await.unwrap();
    assert_eq!(alice.rotate_mailbox("bob").await.unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(places(&bob, "alice").await, [url("one"), url("three")]);

    relays.start("two").await;
    rounds(&clock, &[&alice, &bob], async || {
        places(&bob, "alice").await == [url("one"), url("three"), url("two")]
            && ["one", "two", "three"].map(|name| relays.open(name)) == [1; 3]
    })
    .await;
    let id = send(&bob, "alice", "to one of three").await;
    rounds(&clock, &[&bob, &alice], async || delivery(&bob, id).await == Delivery::Decrypted).await;
    assert_eq!(received(&alice, "bob").await, ["to one of two", "to one of three"]);
    // That was all: no further rotation follows.
    let again = alice.rotate_mailbox("bob").await.unwrap();
    assert!(again.left_out.is_empty());
}

#[tokio::test]
async fn a_server_that_is_back_and_refuses_is_asked_once_in_an_hour() {
    let mut relays = Relays::new(&["one", "two", "bobs"]).await;
    let clock = clock();
    let alice = relays.user(&clock, &["one", "two"]).await;
    let bob = relays.user(&clock, &["bobs"]).await;
    befriend(&alice, &bob).await;
    rounds(&clock, &[&bob, &alice], async || places(&bob, "alice").await.len() == 2).await;
    relays.stop("two").await;
    assert_eq!(alice.rotate_mailbox("bob").await.unwrap().left_out.len(), 1);
    rounds(&clock, &[&alice, &bob], async || places(&bob, "alice").await == [url("one")]).await;
    relays.start_with("two", Admission::Invited).await;
    let refused = async |minutes: u64| {
        clock.set(|now| now + minutes * 60_000);
        let report = alice.sync(Duration::ZERO).await.unwrap();
        report.problems.iter().any(|e| e.kind() == ErrorKind::Refused)
    };
    // It counts as away for a while, then it is asked.
    rounds(&clock, &[&bob], async || refused(1).await).await;
    for _ in 0..50 {
        assert!(!refused(1).await, "it is asked again within an hour");
    }
    assert!(refused(11).await);
    relays.stop("two").await;
    relays.start("two").await;
    rounds(&clock, &[&alice, &bob], async || {
        clock.set(|now| now + 10 * 60_000);
        places(&bob, "alice").await == [url("one"), url("two")]
    })
    .await;
}

#[tokio::test]
async fn too_few_servers_make_no_card_and_nothing_is_left_over() {
    let mut relays = Relays::new(&["one", "two", "three", "bobs"]).await;
    let clock = clock();
    let (a, alice) = relays.user_and_store(&clock, &["one", "two", "three"]).await;
    let bob = relays.user(&clock, &["bobs"]).await;
    let card = CardFile::parse(&new_card(&bob, "alice").await.unwrap().file).unwrap();
    want_copies(&alice, 2).await;
    relays.stop("two").await;
    relays.stop("three").await;
    let refused = |refused: Error, first: &str| {
        assert_eq!(refused.kind(), ErrorKind::Unreachable);
        let text = refused.to_string();
        assert!(text.starts_with(first) && text.contains("meow doctor"), "{text}");
        assert!(text.contains(&url("two")) && text.contains(&url("three")), "{text}");
        text
    };
    let few = "1 of your 3 servers answers, and the policy for new contacts asks for 2 copies";
    let made = refused(new_card(&alice, "bob").await.unwrap_err(), few);
    assert!(made.contains("--set copies=1") && !made.contains(&url("one")), "{made}");
    refused(alice.take_card(&card, "bob", "", &key()).await.unwrap_err(), few);
    assert!(alice.contacts().await.unwrap().is_empty());
    assert_eq!(relays.open("one"), 0, "closed at once where that can be done");
    // With fewer copies it would do.
    alice.weaken_default_policy(Policy::default(), &key()).await.unwrap();
    let card = CardFile::parse(&new_card(&alice, "bob").await.unwrap().file).unwrap();
    assert_eq!(named(&card), [url("one")]);
    alice.remove_contact("bob").await.unwrap();
    relays.stop("one").await;
    refused(new_card(&alice, "bob").await.unwrap_err(), "none of your servers answers");

    for name in ["one", "two", "three"] {
        relays.start(name).await;
    }
    sync(&alice).await;
    assert_eq!(rows(&a, Table::Mailboxes), 0, "nothing is known of any more that could be open");
    let whole = new_card(&alice, "bob").await.unwrap();
    assert!(whole.left_out.is_empty());
    assert_eq!(named(&CardFile::parse(&whole.file).unwrap()), [url("one"), url("two"), url("three")]);
    assert_eq!(["one", "two", "three"].map(|name| relays.open(name)), [1; 3]);
}

#[tokio::test]
async fn a_server_that_goes_while_a_card_is_made_is_left_out_and_one_that_refuses_is_not() {
    let relays = Relays::new(&["one"]).await;
    let clock = clock();
    let (_, alice) = relays.user_and_store(&clock, &[]).await;
    // It takes the mailbox, and is gone before the key is parked.
    let gone = Arc::<AtomicBool>::default();
    let leaves = {
        let gone = gone.clone();
        move |kind: &RequestKind| {
            gone.store(matches!(kind, RequestKind::Register(_)), Ordering::Relaxed);
            Answer::Done
        }
    };
    let issued = Arc::new(AtomicU64::new(0));
    let leaving = liar_at(&relays.transports, "leaving", gone, issued.clone(), leaves).await;
    alice.add_server(&leaving).await.unwrap();
    relays.add(&alice, &["one"]).await;
    let made = new_card(&alice, "bob").await.unwrap();
    assert_eq!(made.left_out.iter().map(|one| &one.server).collect::<Vec<_>>(), [&url("leaving")]);
    for form in [made.uri.as_bytes(), &made.file] {
        assert_eq!(named(&CardFile::parse(form).unwrap()), [url("one")]);
    }
    // The key is where the card says.
    let bob = relays.user(&clock, &["one"]).await;
    bob.take_card(&CardFile::parse(made.uri.as_bytes()).unwrap(), "alice", "", &key()).await.unwrap();
    alice.remove_contact("bob").await.unwrap();
    alice.remove_server(leaving.fingerprint).await.unwrap();

    // Who refuses has answered: the user is to know, and to see to it.
    let refuses = |kind: &RequestKind| match kind {
        RequestKind::Register(_) => {
            Answer::Refused(Refused { code: RefusalCode::NotInvited, retry_secs: 0, seen: 0 })
        }
        _ => Answer::Done,
    };
    let stop = Arc::<AtomicBool>::default();
    let open = relays.open("one");
    let refusing = liar_at(&relays.transports, "refusing", stop, issued, refuses).await;
    alice.add_server(&refusing).await.unwrap();
    assert_eq!(new_card(&alice, "bob").await.unwrap_err().kind(), ErrorKind::Refused);
    assert!(alice.contacts().await.unwrap().is_empty());
    assert_eq!(relays.open("one"), open, "what was opened before is closed again");
}

#[tokio::test]
async fn a_server_that_is_silent_for_long_is_left_out_unasked_and_asked_where_there_are_too_few() {
    let mut relays = Relays::new(&["one", "two"]).await;
    let clock = clock();
    let alice = relays.user(&clock, &["one", "two"]).await;
    let bob = relays.user(&clock, &["one"]).await;
    befriend(&alice, &bob).await;
    relays.stop("two").await;
    let silent = async || alice.servers().await.unwrap().iter().any(|s| s.silent_since_ms.is_some());
    rounds(&clock, &[&alice], silent).await;
    clock.set(|now| now + 25 * 60 * 60 * 1000);
    for _ in 0..2 {
        alice.sync(Duration::ZERO).await.unwrap();
        clock.set(|now| now + 60_000);
    }
    let made = new_card(&alice, "carol").await.unwrap();
    let [left_out] = made.left_out.as_slice() else { panic!("{made:?}") };
    assert_eq!(left_out.server, url("two"));
    assert!(left_out.why.contains("not asked"), "{left_out:?}");
    // One is too few, and it is back: nobody has noticed yet.
    want_copies(&alice, 2).await;
    relays.start("two").await;
    let made = new_card(&alice, "dave").await.unwrap();
    assert!(made.left_out.is_empty(), "{made:?}");
    assert_eq!(named(&CardFile::parse(&made.file).unwrap()), [url("one"), url("two")]);
    assert!(!silent().await, "it has answered");
}
