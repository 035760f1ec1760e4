//! Chains whose servers lose what they get.

use super::*;
use crate::cover::{Hands, every, next_moment};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_between_that_loses_packets_is_passed_over() {
    // The first server says soon that nothing came back.
    let mut limits = HopLimits::default();
    limits.hold = Duration::from_secs(6);
    let names = ["m1", "m2", "t1", "x1", "x2", "x3", "x4"];
    let relays = Relays::with(&names, limits).await;
    let (_, alice, _) = relays.user().await;
    let (_, bob, _) = relays.user().await;
    alice.add_server(&relays.reference("m1")).await.unwrap();
    bob.add_server(&relays.reference("m2")).await.unwrap();
    relays.trust(&alice, &["t1"]).await;
    befriend_by_chains(&alice, &bob).await;
    between(&relays, &alice, &["x1", "x2", "x3", "x4"]).await;
    let first = send(&alice, "bob", "first").await;
    until(&[&alice, &bob], async || delivery(&alice, first).await == Delivery::Decrypted).await;
    // From now on one server hands nothing over, and says nothing.
    relays.dials[3].cut(&names);
    let taken = |n: usize| relays.relays[n].hop_counts().unwrap().taken;
    let (before, others) = (taken(3), [4, 5, 6].map(taken).iter().sum::<u64>());
    let mut all = Vec::new();
    for n in 0..8 {
        let id = send(&alice, "bob", &n.to_string()).await;
        until(&[&alice], async || delivery(&alice, id).await >= Delivery::Stored(0)).await;
        all.push(id);
    }
    let (lost, went) = (taken(3) - before, [4, 5, 6].map(taken).iter().sum::<u64>() - others);
    // Each chain has it on one of its two ways with even chance. Eight messages and as many looks for mail would lose one packet
    // each on the average; here a few are lost until it is known which of the two servers between does it.
    assert!(lost <= 6 && went >= 24, "{lost} lost, {went} went elsewhere");
    until(&[&alice, &bob], async || delivery(&alice, all[7]).await == Delivery::Decrypted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loops_go_round_and_what_is_lost_is_told() {
    // The first server says soon that nothing came back.
    let mut limits = HopLimits::default();
    limits.hold = Duration::from_secs(6);
    let everybody = ["m1", "m2", "t1", "t2", "t3"];
    let relays = Relays::with(&everybody, limits).await;
    let (bob, hands) = (relays.user().await.1, Hands::now());
    let (user, first, alices) = relays.user().await;
    drop(first);
    let alice = user.builder().clock(hands.clone()).open(&key()).await.unwrap();
    relays.trust(&alice, &["t1", "t2", "t3"]).await;
    alice.set_default_policy(routes([matriochka()])).await.unwrap();
    add_server(&alice, &relays.reference("m1")).await;
    bob.add_server(&relays.reference("m2")).await.unwrap();
    befriend_by_chains(&alice, &bob).await;
    until(&[&alice, &bob], async || alice.contact("bob").await.unwrap().queued == 0).await;

    let policy = Policy { loops: every(30), ..routes([matriochka()]) };
    alice.set_policy("bob", policy).await.unwrap();
    alices.dialled();
    const LOOPS: u32 = 12;
    for _ in 0..LOOPS {
        hands.set(next_moment(&user, b"loops:"));
        let report = alice.sync(Duration::ZERO).await.unwrap();
        assert!(report.problems.is_empty(), "{report:?}");
    }
    assert!(alices.dialled().is_subset(&names(&["t1", "t2", "t3"])));
    let explained = alice.explain_route("bob").await.unwrap();
    let fetching = explained.iter().find(|route| route.fetching).unwrap();
    let looped = fetching.loops.unwrap();
    assert_eq!((looped.sent, looped.lost), (LOOPS, 0), "{explained:?}");
    let (day, cost) = (fetching.day.unwrap(), fetching.cost.unwrap());
    assert_eq!(day.packets, 86_400 / 30);
    assert!(cost.round_trip >= cost.latency, "{cost:?}");
    assert!(explained.iter().filter(|route| !route.fetching).all(|route| route.day.is_none()));
    // Nobody is reached: nothing left, so nothing was lost.
    alices.cut(&["t1", "t2", "t3"]);
    hands.set(next_moment(&user, b"loops:"));
    alice.sync(Duration::ZERO).await.unwrap();
    alices.cut(&[]);
    alice.network_changed();
    let loops = alice.explain_route("bob").await.unwrap().into_iter().find_map(|route| route.loops);
    assert_eq!(loops.unwrap().sent, LOOPS);
    // One's own mailbox server takes packets and hands nothing over: each loop is tried as often as a message would be.
    relays.dials[0].cut(&everybody);
    hands.set(next_moment(&user, b"loops:"));
    alice.sync(Duration::ZERO).await.unwrap();
    let told = events(&alice).await;
    assert!(has(&told, |e| *e == EventKind::LoopsLost { in_a_row: 3 }), "{told:?}");
    let explained = alice.explain_route("bob").await.unwrap();
    let loops = explained.iter().find_map(|route| route.loops).unwrap();
    assert_eq!((loops.sent, loops.lost), (LOOPS + 3, 3));
    let whys = explained.iter().flat_map(|route| route.there.iter().chain(&route.back)).map(|hop| &hop.why);
    assert!(whys.filter(|why| why.contains("did not come back")).count() > 0, "{explained:?}");
    // Without chains there are none, and the policy says so.
    let without = Policy { loops: every(30), ..Policy::default() };
    assert_eq!(alice.set_policy("bob", without).await.unwrap_err().kind(), ErrorKind::Usage);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_server_that_is_silent_is_asked_once_however_many_chains_are_drawn() {
    let relays = Relays::new(&["m1", "m2", "t1", "t2", "t3"]).await;
    let (alice, alices, bob, _) = pair(&relays).await;
    befriend_by_chains(&alice, &bob).await;
    alices.slow.lock().unwrap().insert("t1".to_owned());
    alice.network_changed();
    alices.dialled();
    let mut drawing = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let alice = alice.clone();
        drawing.spawn(async move { alice.explain_route("bob").await.unwrap() });
    }
    let asked = || alices.dialled.lock().unwrap().iter().filter(|name| *name == "t1").count();
    until(&[], async || asked() > 0).await;
    // Time for the others to ask as well.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(asked(), 1);
    alices.slow.lock().unwrap().clear();
    for explained in drawing.join_all().await {
        assert!(explained.iter().all(|route| route.problem.is_none()), "{explained:?}");
    }
}
