//! Contacts to whom messages go in the size of radio frames.

use meow_client::{Client, EventKind};
use meow_core::message::Content;
use meow_core::policy::{Form, Policy};

use crate::support::*;

/// With a signature it fits the frame for one only without its time.
const TEXT: &str = "we are at the harbor";

/// How many of the texts from a contact came without their time: those were thin.
async fn timeless(client: &Client, from: &str) -> usize {
    let log = client.log(from, None, 1000).await.unwrap();
    log.iter().filter(|m| !m.outgoing && matches!(m.content, Content::Text { sent: 0, .. })).count()
}

async fn rounds(alice: &Client, bob: &Client) {
    for _ in 0..3 {
        sync(alice).await;
        sync(bob).await;
    }
}

async fn wish(client: &Client, other: &str, form: Form) {
    client.weaken_policy(other, Policy { form, ..Policy::default() }, &key()).await.unwrap();
}

#[tokio::test]
async fn a_pair_that_talks_thin_is_told() {
    let world = World::new().await;
    let (_, alice, _, bob) = world.pair().await;
    send(&alice, "bob", TEXT).await;
    rounds(&alice, &bob).await;
    assert!(!alice.contact("bob").await.unwrap().thin, "other links do not ask for it");
    wish(&alice, "bob", Form::Thin).await;
    wish(&bob, "alice", Form::Thin).await;
    for n in 0..4 {
        send(&alice, "bob", TEXT).await;
        send(&bob, "alice", &format!("{TEXT} too, {n}")).await;
        rounds(&alice, &bob).await;
        send(&alice, "bob", TEXT).await;
        rounds(&alice, &bob).await;
    }
    for (client, other, texts) in [(&alice, "bob", 4), (&bob, "alice", 9)] {
        assert_eq!(received(client, other).await.len(), texts);
        assert!(client.contact(other).await.unwrap().thin);
        let events = events(client).await;
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Thin { on: true }).count(), 1);
        assert!(!has(&events, |e| matches!(e, EventKind::Fork | EventKind::Unreadable)));
        assert!(!has(&events, |e| matches!(e, EventKind::Missing { .. } | EventKind::RolledBack)));
    }
    assert!(timeless(&bob, "alice").await > 0);

    wish(&alice, "bob", Form::Whole).await;
    let before = timeless(&bob, "alice").await;
    for _ in 0..3 {
        send(&alice, "bob", TEXT).await;
        rounds(&alice, &bob).await;
    }
    assert_eq!(timeless(&bob, "alice").await, before);
    assert!(!alice.contact("bob").await.unwrap().thin && bob.contact("alice").await.unwrap().thin);
    assert!(has(&events(&alice).await, |e| *e == EventKind::Thin { on: false }));
}
