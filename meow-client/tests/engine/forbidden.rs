//! What the policy of a contact has come to forbid ends, whoever set it and whatever was under way.

use std::time::Duration;

use meow_client::{Client, Presence};
use meow_core::delivery::{Delivery, Way};
use meow_core::policy::{Policy, Route};
use meow_transport::{Memory, Transports};
use tokio::time::timeout;

use crate::direct::{Running, listening, listens, policy, until};
use crate::support::*;
use crate::wire::Wire;

/// Alice dials over a wire of hers. Bob lets her find him; he does not find her.
struct Setting {
    _world: World,
    wire: Wire,
    user: User,
    alice: Client,
    bob: Client,
    _bob_runs: Running,
}

const DIRECT_FIRST: [Route; 2] = [Route::Direct, Route::Server];

impl Setting {
    async fn new() -> Self {
        let world = World::with(Transports::new().with(Memory::new()), Default::default()).await;
        let wire = Wire::new(world.transports.clone());
        let (a, alice, b, bob) = world.pair().await;
        drop((alice, bob));
        let user = User { transports: Transports::new().with(wire.clone()), ..a };
        let alice = user.open().await;
        let bob = listening(&b, "memory://bob").await;
        bob.weaken_policy("alice", policy(DIRECT_FIRST, true), &key()).await.unwrap();
        alice.weaken_policy("bob", policy(DIRECT_FIRST, false), &key()).await.unwrap();
        // Bob's offer goes by the server.
        for _ in 0..2 {
            sync(&bob).await;
            sync(&alice).await;
        }
        let _bob_runs = Running::new(&bob);
        listens(&world, "memory://bob").await;
        alice.set_direct_places("bob", vec!["memory://bob".parse().unwrap()]).await.unwrap();
        let setting = Self { _world: world, wire, user, alice, bob, _bob_runs };
        until(async || {
            setting.alice.sync(Duration::ZERO).await.unwrap();
            let offered = setting.alice.presence("bob").await.unwrap() == Presence::Online;
            offered && setting.alice.contact("bob").await.unwrap().queued == 0
        })
        .await;
        setting
    }

    /// A message that has gone by a link which stays up.
    async fn linked(&self) {
        until(async || {
            self.alice.network_changed();
            let id = send(&self.alice, "bob", "directly").await;
            self.alice.sync(Duration::ZERO).await.unwrap();
            let done = delivery(&self.alice, id).await != Delivery::Queued;
            done && self.alice.message(id).await.unwrap().way == Some(Way::Direct)
        })
        .await;
        // Two, where both loops of a client that runs began one.
        assert!(self.wire.open("bob") > 0);
        self.wire.dialled("bob");
    }

    /// The link has gone, and what is sent goes by the server without a dial.
    async fn nothing_goes_directly(&self) {
        until(async || self.wire.open("bob") == 0).await;
        let id = send(&self.alice, "bob", "by server").await;
        until(async || {
            self.alice.sync(Duration::ZERO).await.unwrap();
            delivery(&self.alice, id).await != Delivery::Queued
        })
        .await;
        assert_eq!(self.alice.message(id).await.unwrap().way, Some(Way::Server));
        assert_eq!((self.wire.dialled("bob"), self.wire.open("bob"), self.wire.under_way("bob")), (0, 0, 0));
    }
}

/// Bob is not to be reached directly any more: more is left to the servers, which needs the password.
async fn deny(client: &Client) {
    client.weaken_policy("bob", Policy::default(), &key()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_when_another_process_changes_the_policy_or_removes_the_contact() {
    let setting = Setting::new().await;
    let running = Running::new(&setting.alice);
    setting.linked().await;
    let beside = setting.user.open().await;
    deny(&beside).await;
    setting.nothing_goes_directly().await;

    beside.weaken_policy("bob", policy(DIRECT_FIRST, false), &key()).await.unwrap();
    setting.linked().await;
    beside.remove_contact("bob").await.unwrap();
    until(async || setting.wire.open("bob") == 0).await;
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_single_steps_ends_such_a_link_with_the_next_one() {
    let setting = Setting::new().await;
    setting.linked().await;
    let beside = setting.user.open().await;
    deny(&beside).await;
    setting.alice.sync(Duration::ZERO).await.unwrap();
    setting.nothing_goes_directly().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_contact_that_is_removed_ends() {
    let setting = Setting::new().await;
    setting.linked().await;
    setting.alice.remove_contact("bob").await.unwrap();
    until(async || setting.wire.open("bob") == 0).await;
    assert_eq!(setting.wire.dialled("bob"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_under_way_becomes_no_link_when_the_policy_forbids_it_or_the_client_sleeps() {
    let setting = Setting::new().await;
    let (alice, wire) = (&setting.alice, &setting.wire);
    let dialling = async || {
        wire.hold(&["bob"]);
        alice.network_changed();
        let id = send(alice, "bob", "wait for me").await;
        until(async || wire.under_way("bob") > 0).await;
        id
    };
    // It would come through now.
    let ended = async || {
        wire.hold(&[]);
        until(async || wire.under_way("bob") == 0 && wire.open("bob") == 0).await;
    };
    let beside = setting.user.open().await;
    let running = Running::new(alice);
    for client in [alice, &beside] {
        let id = dialling().await;
        deny(client).await;
        ended().await;
        until(async || delivery(alice, id).await != Delivery::Queued).await;
        assert_eq!(alice.message(id).await.unwrap().way, Some(Way::Server));
        alice.weaken_policy("bob", policy(DIRECT_FIRST, false), &key()).await.unwrap();
    }
    dialling().await;
    alice.suspend();
    ended().await;
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_that_comes_through_after_another_process_forbade_it_is_no_link() {
    let setting = Setting::new().await;
    let (alice, wire) = (&setting.alice, &setting.wire);
    // Nothing looks at the store but what is under way.
    alice.network_changed();
    wire.hold(&["bob"]);
    send(alice, "bob", "wait for me").await;
    alice.sync(Duration::ZERO).await.unwrap();
    assert_eq!((wire.under_way("bob"), wire.open("bob"), wire.dialled("bob")), (1, 0, 1));
    let beside = setting.user.open().await;
    deny(&beside).await;
    wire.hold(&[]);
    until(async || wire.under_way("bob") == 0 && wire.open("bob") == 0).await;
    setting.nothing_goes_directly().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_that_is_turned_off_is_gone_while_a_server_would_hold_it_longer() {
    let setting = Setting::new().await;
    let (alice, bob) = (&setting.alice, &setting.bob);
    let online = async || alice.presence("bob").await.unwrap() == Presence::Online;
    assert!(online().await);
    bob.set_policy("alice", policy(DIRECT_FIRST, false)).await.unwrap();
    // A request of his is held for 50 seconds.
    let gone = until(async || !online().await);
    timeout(Duration::from_secs(30), gone).await.expect("it ends with the wish");
}

/// Off and on again while the server is slow: whichever request arrives first, the device is shown and stays so.
#[tokio::test(flavor = "multi_thread")]
async fn presence_that_is_turned_on_again_is_not_taken_away_by_what_turned_it_off() {
    let world = World::with(Transports::new().with(Memory::new()), Default::default()).await;
    let wire = Wire::new(world.transports.clone());
    let (_, alice, b, bob) = world.pair().await;
    drop(bob);
    let bob = User { transports: Transports::new().with(wire.clone()), ..b };
    let bob = listening(&bob, "memory://bob").await;
    bob.weaken_policy("alice", policy(DIRECT_FIRST, true), &key()).await.unwrap();
    alice.weaken_policy("bob", policy(DIRECT_FIRST, false), &key()).await.unwrap();
    // Bob's offer goes by the server.
    for _ in 0..2 {
        sync(&bob).await;
        sync(&alice).await;
    }
    let _running = Running::new(&bob);
    let steady = async || {
        alice.sync(Duration::ZERO).await.unwrap();
        // His mail and his presence are held at the relay, and nothing else is going on.
        let quiet = wire.under_way("relay") == 0 && wire.open("relay") == 2;
        quiet && alice.presence("bob").await.unwrap() == Presence::Online
    };
    until(steady).await;
    for _ in 0..8 {
        wire.hold(&["relay"]);
        bob.set_policy("alice", policy(DIRECT_FIRST, false)).await.unwrap();
        // What withdraws it, and the word to Alice.
        until(async || wire.under_way("relay") >= 2).await;
        bob.weaken_policy("alice", policy(DIRECT_FIRST, true), &key()).await.unwrap();
        until(async || wire.under_way("relay") >= 3).await;
        wire.hold(&[]);
        timeout(Duration::from_secs(30), until(steady)).await.expect("it is shown, and stays so");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_which_direct_links_alone_are_allowed_by_now_is_not_deposited() {
    let setting = Setting::new().await;
    let (alice, wire) = (&setting.alice, &setting.wire);
    let beside = setting.user.open().await;
    alice.network_changed();
    wire.hold(&["bob"]);
    let id = send(alice, "bob", "only to you").await;
    let syncing = tokio::spawn({
        let alice = alice.clone();
        async move { alice.sync(Duration::ZERO).await }
    });
    until(async || wire.under_way("bob") > 0).await;
    // While the dial has its head start before the server.
    beside.weaken_policy("bob", policy([Route::Direct], false), &key()).await.unwrap();
    let report = syncing.await.unwrap().unwrap();
    assert!(report.waiting.is_some(), "{report:?}");
    assert_eq!(delivery(alice, id).await, Delivery::Queued);
}
