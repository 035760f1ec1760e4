//! A hop that its neighbours do not reach: they try for the packet's life, and say nothing; the sender's ladder shows it.

use meow_client::Clock as _;

use super::*;
use crate::cover::Hands;

const MINUTE_MS: u64 = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_next_hop_is_away_waits_says_why_and_goes_when_it_is_back() {
    let mut limits = HopLimits::default();
    // The first server tries for so long, and says a little later that nothing came back.
    limits.life = Duration::from_secs(1);
    limits.hold = Duration::from_millis(1500);
    let relays = Relays::with(&["m1", "m2", "t1", "x1"], limits).await;
    let (bob, hands) = (relays.user().await.1, Hands::now());
    let (user, first, alices) = relays.user().await;
    drop(first);
    let alice = user.builder().clock(hands.clone()).open(&key()).await.unwrap();
    alice.add_server(&relays.reference("m1")).await.unwrap();
    bob.add_server(&relays.reference("m2")).await.unwrap();
    relays.trust(&alice, &["t1"]).await;
    befriend_by_chains(&alice, &bob).await;
    between(&relays, &alice, &["x1"]).await;
    let before = send(&alice, "bob", "before").await;
    until(&[&alice, &bob], async || delivery(&alice, before).await == Delivery::Decrypted).await;

    // The one server between is gone for all of its neighbours.
    let counts = |n: usize| relays.relays[n].hop_counts().unwrap();
    relays.dials.iter().for_each(|dial| dial.cut(&["x1"]));
    let dropped = counts(2).failed;
    alices.dialled();
    events(&alice).await;
    let id = send(&alice, "bob", "patience").await;
    let report = alice.sync(Duration::ZERO).await.unwrap();
    assert_eq!(report.waiting.unwrap().kind(), ErrorKind::Unreachable);
    let message = alice.message(id).await.unwrap();
    assert_eq!(message.delivery, Delivery::Queued);
    let helps = |why: &str| {
        why.contains("Matriochka: no answer came back through the chain")
            && why.contains("may be away")
            && why.contains("`meow route`")
            && why.contains("`meow hop`")
    };
    let why = message.waiting.unwrap();
    assert!(helps(&why), "{why}");
    let stalled =
        |e: &EventKind| matches!(e, EventKind::Stalled { id: of, reason } if *of == id && helps(reason));
    assert!(!has(&events(&alice).await, stalled), "no alarm yet");
    // Retried, then dropped, and counted: nobody outside was told, and nobody else was asked.
    until(&[], async || counts(2).failed > dropped).await;
    assert_eq!(alices.dialled(), names(&["t1"]));
    // Ten minutes later it is an alarm.
    hands.set(hands.now_ms() + 11 * MINUTE_MS);
    alice.sync(Duration::ZERO).await.unwrap();
    let seen = events(&alice).await;
    assert_eq!(seen.iter().filter(|e| stalled(&e.kind)).count(), 1, "{seen:?}");
    assert_eq!(delivery(&alice, id).await, Delivery::Queued);

    relays.dials.iter().for_each(|dial| dial.cut(&[]));
    until(&[&alice, &bob], async || delivery(&alice, id).await == Delivery::Decrypted).await;
    assert_eq!(alice.message(id).await.unwrap().waiting, None);
    assert_eq!(received(&bob, "alice").await, ["before", "patience"]);
    assert_eq!(alices.dialled(), names(&["t1"]), "by the chain only");
}
