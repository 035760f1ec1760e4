//! Two copies at three relays, of which one is killed for good with messages in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meow::client::{Clock, SystemClock};
use meow::core::policy::Policy;
use meow::{CardFile, Client, Content, Delivery, EnabledTransports, EventKind, Transports, Unlock};

use crate::support::{PASSWORD, Relay, World};

const HOUR: u64 = 60 * 60 * 1000;

/// The time, and so much more.
#[derive(Clone, Default)]
struct Ahead(Arc<AtomicU64>);

impl Ahead {
    fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms() + self.0.load(Ordering::SeqCst)
    }
}

async fn person(world: &World, name: &str, clock: &Ahead, relays: &[&Relay]) -> Client {
    let builder = Client::builder().home(world.path(name)).transports(Transports::enabled());
    let (client, _) = builder.clock(clock.clone()).create(&Unlock::password(PASSWORD)).await.unwrap();
    for relay in relays {
        client.add_server(&relay.reference.parse().unwrap()).await.unwrap();
    }
    client
}

/// Both take steps until it is so; some minutes pass with each.
async fn rounds(clock: &Ahead, clients: &[&Client], until: impl AsyncFn() -> bool) {
    for _ in 0..60 {
        if until().await {
            return;
        }
        for client in clients {
            client.sync(Duration::ZERO).await.unwrap();
        }
        clock.pass(11 * 60_000);
    }
    panic!("it does not come about");
}

async fn deliveries(client: &Client, name: &str) -> Vec<Delivery> {
    let log = client.log(name, None, 1000).await.unwrap();
    log.iter().filter(|message| message.outgoing).map(|message| message.delivery).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_killed_for_good_takes_nothing_with_it() {
    let world = World::new();
    let [mut one, two, three, four] = ["one", "two", "three", "four"].map(|name| world.relay(name));
    let clock = Ahead::default();
    let alice = person(&world, "alice", &clock, &[&one, &two, &three]).await;
    let bob = person(&world, "bob", &clock, &[&four]).await;
    let password = Unlock::password(PASSWORD);
    let card = alice.new_card("bob", Duration::from_secs(3600), &password).await.unwrap();
    bob.take_card(&CardFile::parse(&card.file).unwrap(), "alice", "", &password).await.unwrap();
    rounds(&clock, &[&bob, &alice], async || {
        bob.contact("alice").await.unwrap().status == meow::client::Status::Established
    })
    .await;
    let two_copies = Policy { copies: 2, ..bob.policy("alice").await.unwrap() };
    bob.set_policy("alice", two_copies).await.unwrap();

    let said = ["first", "second"];
    for text in said {
        bob.send("alice", Content::text(0, text).unwrap()).await.unwrap();
    }
    bob.sync(Duration::ZERO).await.unwrap();
    assert_eq!(deliveries(&bob, "alice").await, [Delivery::Stored(2); 2]);
    one.stop();
    std::fs::remove_dir_all(world.path("one")).unwrap();

    // Bob finds out, and each message is at two servers again.
    clock.pass(HOUR);
    rounds(&clock, &[&bob], async || {
        let list = bob.events(1000).await.unwrap();
        let fell = list
            .iter()
            .filter(|e| matches!(e.kind, EventKind::Delivery { delivery: Delivery::Stored(1), .. }));
        // Each began with one copy, and had one again.
        fell.count() == 2 * said.len() && deliveries(&bob, "alice").await == [Delivery::Stored(2); 2]
    })
    .await;
    rounds(&clock, &[&alice, &bob], async || deliveries(&bob, "alice").await == [Delivery::Decrypted; 2])
        .await;
    let log = alice.log("bob", None, 1000).await.unwrap();
    let texts: Vec<_> = log.iter().filter_map(|message| message.content.as_text()).collect();
    assert_eq!(texts, said, "each once, in order");

    // The mailbox heals to three, at a server that is added.
    clock.pass(25 * HOUR);
    alice.add_server(&four.reference.parse().unwrap()).await.unwrap();
    rounds(&clock, &[&alice, &bob], async || {
        let routes = bob.explain_route("alice").await.unwrap();
        let at: Vec<_> = routes.iter().filter(|r| !r.fetching).map(|r| r.server.as_str()).collect();
        at == [two.url(), three.url(), four.url()]
    })
    .await;
    let three_copies = Policy { copies: 3, ..bob.policy("alice").await.unwrap() };
    bob.set_policy("alice", three_copies).await.unwrap();
    bob.send("alice", Content::text(0, "at three").unwrap()).await.unwrap();
    bob.sync(Duration::ZERO).await.unwrap();
    assert_eq!(deliveries(&bob, "alice").await.last(), Some(&Delivery::Stored(3)));
}
