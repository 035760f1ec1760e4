//! Direct links between two clients: preferred where the policy says so, with nothing lost when they end.

use std::time::Duration;

use meow_client::{Client, Presence};
use meow_core::ErrorKind;
use meow_core::delivery::{Delivery, Way};
use meow_core::policy::{Policy, Route};
use meow_core::transport::{Addresses, Endpoint};
use meow_core::wire::List;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{User, World, delivery, key, received, send, sync};

/// How long a slow machine may take for anything here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn policy(routes: impl IntoIterator<Item = Route>, presence: bool) -> Policy {
    Policy { routes: List::take(routes), presence, ..Policy::default() }
}

/// A client that is driven until this is dropped.
pub(crate) struct Running(JoinHandle<()>);

impl Running {
    pub(crate) fn new(client: &Client) -> Self {
        let client = client.clone();
        Self(tokio::spawn(async move { client.run().await.unwrap() }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) async fn until(what: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what().await {
        assert!(Instant::now() < end, "it did not happen");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn listening(user: &User, at: &str) -> Client {
    let builder = user.builder().direct_at(at.parse().unwrap());
    builder.direct_addresses(Addresses::public()).open(&key()).await.unwrap()
}

/// Alice and Bob, who allow each other direct links and have said so; both listen.
async fn pair(world: &World, routes: &[Route]) -> (Client, Client) {
    let (a, alice, b, bob) = world.pair().await;
    drop((alice, bob));
    let (alice, bob) = (listening(&a, "memory://alice").await, listening(&b, "memory://bob").await);
    for (client, other, place) in [(&alice, "bob", "memory://bob"), (&bob, "alice", "memory://alice")] {
        client.weaken_policy(other, policy([Route::Direct, Route::Server], true), &key()).await.unwrap();
        client.set_direct_places(other, vec![place.parse::<Endpoint>().unwrap()]).await.unwrap();
    }
    // The offers go by the server.
    for _ in 0..3 {
        sync(&alice).await;
        sync(&bob).await;
    }
    for (client, other, place) in [(&alice, "bob", "memory://bob"), (&bob, "alice", "memory://alice")] {
        client.weaken_policy(other, policy(routes.to_vec(), true), &key()).await.unwrap();
        // Nobody listened until now; that is forgotten with the old places.
        client.set_direct_places(other, vec![place.parse::<Endpoint>().unwrap()]).await.unwrap();
    }
    (alice, bob)
}

/// Waits until somebody listens there.
pub(crate) async fn listens(world: &World, at: &str) {
    let at: Endpoint = at.parse().unwrap();
    until(async || world.transports.connect(&at).await.is_ok()).await;
}

async fn way(client: &Client, id: meow_client::MessageId) -> Option<Way> {
    client.message(id).await.unwrap().way
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_directly_with_the_relay_gone_and_climb_the_same_ladder() {
    let mut world = World::new().await;
    let (alice, bob) = pair(&world, &[Route::Direct, Route::Server]).await;
    let running = (Running::new(&alice), Running::new(&bob));
    listens(&world, "memory://alice").await;
    listens(&world, "memory://bob").await;
    until(async || alice.presence("bob").await.unwrap() == Presence::Online).await;
    let first = send(&alice, "bob", "first").await;
    until(async || delivery(&alice, first).await == Delivery::Decrypted).await;
    assert_eq!(way(&alice, first).await, Some(Way::Direct));
    world.stop().await;
    let second = send(&alice, "bob", "second").await;
    let third = send(&bob, "alice", "third").await;
    until(async || delivery(&alice, second).await == Delivery::Decrypted).await;
    until(async || delivery(&bob, third).await == Delivery::Decrypted).await;
    assert_eq!((way(&alice, second).await, way(&bob, third).await), (Some(Way::Direct), Some(Way::Direct)));
    assert_eq!(received(&bob, "alice").await, ["first", "second"]);
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_goes_by_the_next_route_and_arrives_once() {
    let world = World::new().await;
    let (alice, bob) = pair(&world, &[Route::Direct, Route::Server]).await;
    let run_alice = Running::new(&alice);
    let mut run_bob = Some(Running::new(&bob));
    listens(&world, "memory://bob").await;
    let mut sent = Vec::new();
    for n in 0..40 {
        sent.push((send(&alice, "bob", &format!("{n}")).await, n));
        if n == 15 {
            // Bob goes away in the middle of it, and comes back.
            run_bob = None;
        }
        if n == 30 {
            let away = sent[20].0;
            until(async || way(&alice, away).await == Some(Way::Server)).await;
            run_bob = Some(Running::new(&bob));
        }
        if n == 5 {
            let first = sent[0].0;
            until(async || way(&alice, first).await == Some(Way::Direct)).await;
        }
    }
    for (id, _) in &sent {
        until(async || delivery(&alice, *id).await == Delivery::Decrypted).await;
    }
    // What came directly may have overtaken what lay at the server.
    let mut numbers: Vec<u32> = received(&bob, "alice").await.iter().map(|n| n.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>(), "each once");
    drop((run_alice, run_bob));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_direct_links_alone_never_uses_a_server() {
    let world = World::new().await;
    let (alice, bob) = pair(&world, &[Route::Direct]).await;
    let run_alice = Running::new(&alice);
    let id = send(&alice, "bob", "only to you").await;
    until(async || alice.message(id).await.unwrap().waiting.is_some()).await;
    sync(&bob).await;
    assert_eq!(received(&bob, "alice").await, Vec::<String>::new(), "nothing lies at the server");
    assert_eq!(delivery(&alice, id).await, Delivery::Queued);
    let run_bob = Running::new(&bob);
    // Bob's own message opens the link, and what waits uses it at once.
    send(&bob, "alice", "here I am").await;
    until(async || delivery(&alice, id).await == Delivery::Decrypted).await;
    assert_eq!(
        (way(&alice, id).await, received(&bob, "alice").await),
        (Some(Way::Direct), vec!["only to you".into()])
    );
    drop((run_alice, run_bob));
}

/// What is told of the route is what sending would meet: a place that the user named, or a link that is up.
#[tokio::test(flavor = "multi_thread")]
async fn a_direct_route_that_leads_nowhere_now_says_so() {
    let world = World::new().await;
    let (alice, bob) = pair(&world, &[Route::Direct, Route::Server]).await;
    let problem = async || alice.explain_route("bob").await.unwrap().remove(0).problem;
    assert_eq!(problem().await, None, "there is a place");
    alice.set_direct_places("bob", Vec::new()).await.unwrap();
    let why = problem().await.unwrap();
    assert!(why.starts_with("no server shows where bob is"), "{why}");
    // For a policy that is only weighed no server is asked.
    let weighed = policy([Route::Direct], true);
    assert_eq!(alice.explain_policy("bob", weighed).await.unwrap().remove(0).problem, None);
    let running = (Running::new(&alice), Running::new(&bob));
    send(&bob, "alice", "here I am").await;
    until(async || problem().await.is_none()).await;
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_dials_gets_nothing_and_others_are_served_all_the_same() {
    let world = World::new().await;
    let (alice, bob) = pair(&world, &[Route::Direct]).await;
    let running = (Running::new(&alice), Running::new(&bob));
    let at: Endpoint = "memory://bob".parse().unwrap();
    listens(&world, "memory://bob").await;
    // Silent ones, noise, and hellos of nobody: none is answered.
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(world.transports.connect(&at).await.unwrap());
    }
    for packet in [vec![8; 256], vec![0; 60], vec![8; 1], vec![1; 2000]] {
        let mut link = world.transports.connect(&at).await.unwrap();
        link.tx.send(packet.into()).await.unwrap();
        let answer = timeout(PATIENCE, link.rx.recv()).await.expect("it is closed in bounded time");
        assert!(!matches!(answer, Ok(Some(_))), "a stranger was answered");
    }
    let id = send(&alice, "bob", "hello").await;
    until(async || delivery(&alice, id).await == Delivery::Decrypted).await;
    drop((running, silent));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_or_dialled_without_a_policy_that_says_so() {
    let world = World::new().await;
    let (_, alice, b, bob) = world.pair().await;
    drop(bob);
    let bob = listening(&b, "memory://bob").await;
    alice.set_direct_places("bob", vec!["memory://bob".parse().unwrap()]).await.unwrap();
    let _run = Running::new(&bob);
    assert_eq!(
        alice.presence("bob").await.unwrap_err().kind(),
        ErrorKind::Refused,
        "alice's policy allows nothing"
    );
    alice.weaken_policy("bob", policy([Route::Direct, Route::Server], true), &key()).await.unwrap();
    assert_eq!(alice.presence("bob").await.unwrap(), Presence::Unknown, "bob offers nothing");
    let id = send(&alice, "bob", "by server").await;
    sync(&alice).await;
    assert_eq!(way(&alice, id).await, Some(Way::Server));
    // Both offer now; then Bob takes it back, and is not reached directly any more.
    bob.weaken_policy("alice", policy([Route::Direct, Route::Server], true), &key()).await.unwrap();
    let direct = async || {
        sync(&alice).await;
        let id = send(&alice, "bob", "hello").await;
        sync(&alice).await;
        way(&alice, id).await == Some(Way::Direct)
    };
    until(direct).await;
    bob.weaken_policy("alice", policy([Route::Server], false), &key()).await.unwrap();
    until(async || !direct().await).await;
    until(async || alice.presence("bob").await.unwrap() == Presence::Unknown).await;
}
