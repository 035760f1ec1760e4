//! Chains by strangers' servers, of which nothing is known but a name and what a trusted hop has found.

use super::*;

/// Five strangers' servers, each with a name and a domain of its own, that are in four networks.
const STRANGERS: [(&str, [u8; 4]); 5] = [
    ("one.example-1.net", [66, 6, 1, 1]),
    ("two.example-2.net", [66, 6, 200, 2]),
    ("three.example-3.net", [67, 6, 1, 1]),
    ("four.example-4.net", [68, 6, 1, 1]),
    ("five.example-5.net", [69, 6, 1, 1]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a30_two_names_that_lead_into_one_network_are_never_in_one_chain() {
    let others = [("m1", [70, 1, 1, 1]), ("m2", [71, 1, 1, 1]), ("t1", [72, 1, 1, 1])];
    let net = Net::leading(STRANGERS.into_iter().chain(others));
    let everybody: Vec<_> = others.iter().chain(&STRANGERS).map(|(name, _)| *name).collect();
    let relays = Relays::on(net, &everybody, HopLimits::default()).await;
    let (_, alice, _) = relays.user().await;
    let (_, bob, _) = relays.user().await;
    alice.add_server(&relays.reference("m1")).await.unwrap();
    bob.add_server(&relays.reference("m2")).await.unwrap();
    relays.trust(&alice, &["t1"]).await;
    befriend_by_chains(&alice, &bob).await;
    // There and back together need four servers between, so one of each network: of the first two, either.
    let policy = routes(["matriochka hops=4 between=known".parse().unwrap()]);
    let drawn = async || alice.explain_policy("bob", policy.clone()).await.unwrap();
    until(&[], async || {
        alice.network_changed();
        drawn().await.iter().all(|route| route.problem.is_none())
    })
    .await;
    let mut seen = BTreeSet::new();
    for _ in 0..15 {
        for route in drawn().await {
            let ways = route.there.iter().chain(&route.back).map(|hop| hop.url.clone());
            let between: BTreeSet<_> = ways.filter(|url| url.contains("example")).collect();
            let of_one = between.iter().filter(|url| url.contains("one") || url.contains("two")).count();
            assert_eq!((between.len(), of_one), (4, 1), "{route:?}");
            seen.extend(between);
        }
    }
    assert_eq!(seen.len(), STRANGERS.len(), "{seen:?}");
}
