//! A policy that is explained before it is set.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn to_weigh_a_policy_nobody_is_asked_whom_no_policy_shows_the_address() {
    let relays = Relays::new(&["m1", "m2", "t1", "t2", "t3", "n1"]).await;
    let (alice, alices, bob, _) = pair(&relays).await;
    befriend_by_chains(&alice, &bob).await;
    let marks = HopMarks { pools: vec!["new".into()], ..HopMarks::default() };
    alice.add_hop(&relays.reference("n1"), marks, &key()).await.unwrap();
    let by_any = routes(["matriochka first=known".parse().unwrap()]);
    let weigh = async || {
        alice.network_changed();
        alices.dialled();
        let explained = alice.explain_policy("bob", by_any.clone()).await.unwrap();
        let warned = explained.iter().all(|route| route.warnings.iter().any(|why| why.contains("not asked")));
        (alices.dialled(), warned)
    };
    assert_eq!(weigh().await, (names(&["t1", "t2", "t3"]), true));
    let by_it_alone = routes(["matriochka first=pool:new".parse().unwrap()]);
    let explained = alice.explain_policy("bob", by_it_alone).await.unwrap();
    let told = |problem: &String| problem.contains("1 of the servers") && problem.contains("not asked");
    assert!(explained.iter().all(|route| route.problem.as_ref().is_some_and(told)), "{explained:?}");
    assert_eq!(alices.dialled(), names(&[]));
    // One by which chains begin anywhere is set.
    alice.weaken_default_policy(by_any.clone(), &key()).await.unwrap();
    assert_eq!(weigh().await, (names(&["t1", "t2", "t3", "n1"]), false));
}
