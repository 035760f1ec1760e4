//! So many copies of each message at servers of the contact as the policy asks for: what two of them can compare, what happens
//! when one dies with messages in it, and when one of one's own stays dead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meow_client::{Client, EventKind};
use meow_core::ErrorKind;
use meow_core::delivery::Delivery;
use meow_core::policy::{Pause, Policy};
use meow_core::store::{MailboxStore, Page, Quota, StoreStats, Write, WriteOutcome};
use meow_server::store::{SqliteMailboxStore, StoreOptions};
use meow_server::{Admission, Relay, RelayHandle, ServerIdentity};
use meow_transport::{Memory, Transports};
use tempfile::TempDir;

use crate::cover::next_moment;
use crate::crash::with_cuts;
use crate::hostile::SetClock;
use crate::support::*;

pub(crate) const HOUR: u64 = 60 * 60 * 1000;

/// What a relay holds and has seen, by what it is.
type Seen = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

/// A store that remembers everything that was ever given to it.
struct Watched {
    store: SqliteMailboxStore,
    seen: Arc<Mutex<Seen>>,
}

impl MailboxStore for Watched {
    fn commit(&self, batch: &[Write], quota: &Quota, now: u64) -> meow_core::Result<Vec<WriteOutcome>> {
        let mut seen = self.seen.lock().unwrap();
        let mut note = |what, bytes: &[u8]| {
            seen.entry(what).or_default().insert(bytes.to_vec());
        };
        for write in batch {
            match write {
                Write::Register(r) => {
                    note("mailbox", &r.mailbox);
                    note("opened", &r.mailbox);
                    note("token", &r.token_hash);
                    note("close key", &r.close_hash);
                }
                Write::Deposit(d) => {
                    note("mailbox", &d.mailbox);
                    note("token", &d.token_hash);
                    note("id", &d.id);
                    note("item", &d.item);
                }
                Write::Acknowledge { mailbox, .. } => note("mailbox", mailbox),
                Write::Close { mailbox, .. } => {
                    note("mailbox", mailbox);
                    note("closed", mailbox);
                }
                Write::Blob(b) => {
                    note("mailbox", &b.mailbox);
                    note("name", &b.name);
                    note("content", &b.content);
                    note("time", &b.expires.to_be_bytes());
                }
                other => panic!("{other:?} is not watched"),
            }
        }
        drop(seen);
        self.store.commit(batch, quota, now)
    }
    fn items(
        &self,
        mailbox: &[u8; 32],
        after: u64,
        max_items: usize,
        max_bytes: usize,
        per_item: usize,
        now: u64,
    ) -> meow_core::Result<Page> {
        self.store.items(mailbox, after, max_items, max_bytes, per_item, now)
    }
    fn blob(
        &self,
        mailbox: &[u8; 32],
        token_hash: &[u8; 32],
        name: &[u8; 16],
        now: u64,
    ) -> meow_core::Result<Option<Vec<u8>>> {
        let mut seen = self.seen.lock().unwrap();
        seen.entry("token").or_default().insert(token_hash.to_vec());
        seen.entry("name").or_default().insert(name.to_vec());
        drop(seen);
        self.store.blob(mailbox, token_hash, name, now)
    }
    fn add_invite(&self, hash: &[u8; 32], uses: u32, expires: u64) -> meow_core::Result<()> {
        self.store.add_invite(hash, uses, expires)
    }
    fn expire(&self, now: u64, limit: usize) -> meow_core::Result<usize> {
        self.store.expire(now, limit)
    }
    fn stats(&self) -> meow_core::Result<StoreStats> {
        self.store.stats()
    }
}

/// Several relays.
pub(crate) struct Relays {
    pub(crate) transports: Transports,
    dir: TempDir,
    all: BTreeMap<&'static str, (RelayHandle, Arc<Mutex<Seen>>)>,
}

impl Relays {
    pub(crate) async fn new(names: &[&'static str]) -> Self {
        let (transports, dir) = (Transports::new().with(Memory::new()), tempfile::tempdir().unwrap());
        let mut relays = Self { transports, dir, all: BTreeMap::new() };
        for name in names {
            relays.start(name).await;
        }
        relays
    }

    pub(crate) async fn start(&mut self, name: &'static str) {
        self.start_with(name, Admission::Open).await;
    }

    pub(crate) async fn start_with(&mut self, name: &'static str, admission: Admission) {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let identity = ServerIdentity::open_or_create(&dir, &mut meow_core::crypto::SystemRandom).unwrap();
        let key = identity.store_key();
        let store = SqliteMailboxStore::open(&dir.join("mail.db"), &key, StoreOptions::default()).unwrap();
        let seen = Arc::default();
        let store = Watched { store, seen: Arc::clone(&seen) };
        let builder = Relay::builder().transports(self.transports.clone()).store(Arc::new(store));
        let builder = builder.listen(format!("memory://{name}").parse().unwrap()).identity(identity);
        let relay = builder.admission(admission).start().await.unwrap();
        self.all.insert(name, (relay, seen));
    }

    pub(crate) async fn stop(&mut self, name: &str) {
        self.all.remove(name).unwrap().0.shutdown().await;
    }

    /// Takes all that a relay keeps away from it, for good.
    pub(crate) async fn lose(&mut self, name: &str) {
        self.stop(name).await;
        std::fs::remove_dir_all(self.dir.path().join(name)).unwrap();
    }

    /// How many different ones a relay was given since it was started.
    pub(crate) fn given(&self, name: &str, what: &str) -> usize {
        self.all[name].1.lock().unwrap().get(what).map_or(0, BTreeSet::len)
    }

    /// How many mailboxes a relay, since it was started, has opened and not closed.
    pub(crate) fn open(&self, name: &str) -> usize {
        let seen = self.all[name].1.lock().unwrap();
        let closed = |mailbox| seen.get("closed").is_some_and(|closed| closed.contains(mailbox));
        seen.get("opened").into_iter().flatten().filter(|mailbox| !closed(*mailbox)).count()
    }

    pub(crate) async fn add(&self, client: &Client, names: &[&str]) {
        for name in names {
            client.add_server(self.all[name].0.reference()).await.unwrap();
        }
    }

    pub(crate) async fn user(&self, clock: &SetClock, servers: &[&str]) -> Client {
        self.user_and_store(clock, servers).await.1
    }

    pub(crate) async fn user_and_store(&self, clock: &SetClock, servers: &[&str]) -> (User, Client) {
        let user = User { disk: Arc::default(), transports: self.transports.clone() };
        let (client, _) = user.builder().clock(clock.clone()).create(&key()).await.unwrap();
        self.add(&client, servers).await;
        (user, client)
    }
}

async fn copies(client: &Client, name: &str, copies: u8) {
    let policy = Policy { copies, ..client.policy(name).await.unwrap() };
    client.set_policy(name, policy).await.unwrap();
}

/// Both take steps until it is so, whatever problems there are on the way; a minute passes with each.
pub(crate) async fn rounds(clock: &SetClock, clients: &[&Client], until: impl AsyncFn() -> bool) {
    for _ in 0..60 {
        if until().await {
            return;
        }
        for client in clients {
            client.sync(Duration::ZERO).await.unwrap();
        }
        clock.set(|now| now + 60_000);
    }
    panic!("it does not come about");
}

/// The servers at which a contact would be written to now.
pub(crate) async fn places(client: &Client, name: &str) -> Vec<String> {
    let all = client.explain_route(name).await.unwrap();
    all.into_iter().filter(|route| !route.fetching).map(|route| route.server).collect()
}

pub(crate) fn url(name: &str) -> String {
    format!("memory://{name}/")
}

#[tokio::test]
async fn two_servers_that_compare_all_they_hold_and_have_seen_find_nothing_in_common() {
    let relays = Relays::new(&["one", "two", "three"]).await;
    let clock = SetClock::new();
    // A server caps times by its own clock, which would be the same at both.
    clock.set(|_| meow_client::Clock::now_ms(&meow_client::SystemClock));
    let alice = relays.user(&clock, &["one", "two", "three"]).await;
    let bob = relays.user(&clock, &["one", "two"]).await;
    befriend(&alice, &bob).await;
    copies(&bob, "alice", 3).await;
    copies(&alice, "bob", 2).await;
    let mut sent = Vec::new();
    for n in 0..3 {
        sent.push((&bob, send(&bob, "alice", &format!("from Bob {n}")).await));
        sent.push((&alice, send(&alice, "bob", &format!("from Alice {n}")).await));
        sync(&bob).await;
        sync(&alice).await;
    }
    alice.rotate_mailbox("bob").await.unwrap();
    rounds(&clock, &[&alice, &bob], async || {
        let mut done = true;
        for (client, id) in &sent {
            done &= delivery(client, *id).await == Delivery::Decrypted;
        }
        done
    })
    .await;
    assert_eq!(received(&alice, "bob").await, ["from Bob 0", "from Bob 1", "from Bob 2"]);
    assert_eq!(received(&bob, "alice").await, ["from Alice 0", "from Alice 1", "from Alice 2"]);

    let seen: Vec<Seen> = relays.all.values().map(|(_, seen)| seen.lock().unwrap().clone()).collect();
    for (n, one) in seen.iter().enumerate() {
        assert!(one["item"].len() >= 6 && one["mailbox"].len() >= 2 && one.contains_key("content"));
        for other in &seen[n + 1..] {
            for (what, values) in one {
                let of_other = other.get(what).cloned().unwrap_or_default();
                // Once a card is used, nothing is parked in the place of its key.
                let common: Vec<_> = values.intersection(&of_other).filter(|v| !v.is_empty()).collect();
                assert!(common.is_empty(), "{what} is known to two servers");
            }
            // Not even a part of an item stands in one of the other's.
            let parts = |seen: &Seen| -> BTreeSet<Vec<u8>> {
                let items = seen["item"].iter().chain(&seen["content"]);
                items.flat_map(|item| item.windows(8)).map(<[u8]>::to_vec).collect()
            };
            assert_eq!(parts(one).intersection(&parts(other)).count(), 0);
        }
    }
    let sizes = |seen: &Seen| seen["item"].iter().map(Vec::len).collect::<BTreeSet<_>>();
    assert!(!sizes(&seen[0]).is_disjoint(&sizes(&seen[1])), "sizes are all that they share");
}

#[tokio::test]
async fn a_server_that_dies_with_messages_in_it_loses_none_and_another_takes_its_place() {
    let mut relays = Relays::new(&["one", "two", "three", "four", "bobs"]).await;
    let clock = SetClock::new();
    let alice = relays.user(&clock, &["one", "two", "three"]).await;
    let bob = relays.user(&clock, &["bobs"]).await;
    befriend(&alice, &bob).await;
    copies(&bob, "alice", 2).await;
    let held = send(&bob, "alice", "held at two").await;
    sync(&bob).await;
    assert_eq!(delivery(&bob, held).await, Delivery::Stored(2));
    assert_eq!(bob.message(held).await.unwrap().delivery.to_string(), "stored at 2 servers");

    // One of the two dies for good. Bob finds out by asking again, says so, and a third takes its place.
    relays.lose("one").await;
    events(&bob).await;
    clock.set(|now| now + HOUR);
    rounds(&clock, &[&bob], async || {
        let told = bob.events(100).await.unwrap();
        let steps = told.iter().filter_map(|e| match e.kind {
            EventKind::Delivery { id, delivery } if id == held => Some(delivery),
            _ => None,
        });
        steps.eq([Delivery::Stored(1), Delivery::Stored(2)])
    })
    .await;
    // What is sent meanwhile goes to the two that are left.
    let meanwhile = send(&bob, "alice", "sent meanwhile").await;
    bob.sync(Duration::ZERO).await.unwrap();
    assert_eq!(delivery(&bob, meanwhile).await, Delivery::Stored(2));

    // With one of those away too, the copy waits, and it is said why.
    relays.stop("three").await;
    let waits = send(&bob, "alice", "one copy waits").await;
    let report = bob.sync(Duration::ZERO).await.unwrap();
    assert_eq!(report.waiting.map(|e| e.kind()), Some(ErrorKind::Unreachable));
    let message = bob.message(waits).await.unwrap();
    assert_eq!(message.delivery, Delivery::Stored(1));
    assert!(message.waiting.unwrap().starts_with("stored at 1 of 2 servers; "));
    relays.start("three").await;
    rounds(&clock, &[&bob], async || delivery(&bob, waits).await == Delivery::Stored(2)).await;
    assert_eq!(bob.message(waits).await.unwrap().waiting, None);

    // Alice gets everything once, in order.
    rounds(&clock, &[&alice, &bob], async || delivery(&bob, waits).await == Delivery::Decrypted).await;
    assert_eq!(received(&alice, "bob").await, ["held at two", "sent meanwhile", "one copy waits"]);
    for id in [held, meanwhile] {
        assert_eq!(delivery(&bob, id).await, Delivery::Decrypted);
    }
    assert!(!has(&events(&alice).await, |e| matches!(e, EventKind::Unreadable | EventKind::Fork)));

    // Her own server stays dead, and she has no other: she is told, once. When she adds one, her mailbox is whole again.
    clock.set(|now| now + 25 * HOUR);
    let told = async |client: &Client| {
        let all = client.events(100).await.unwrap();
        all.iter()
            .filter(|e| matches!(&e.kind, EventKind::ServerSilent { server } if *server == url("one")))
            .count()
    };
    rounds(&clock, &[&alice, &bob], async || told(&alice).await > 0).await;
    alice.sync(Duration::ZERO).await.unwrap();
    assert_eq!(told(&alice).await, 1);
    let list = alice.servers().await.unwrap();
    assert!(list.iter().all(|s| s.silent_since_ms.is_some() == (s.reference.url.to_string() == url("one"))));
    relays.add(&alice, &["four"]).await;
    let healed = [url("two"), url("three"), url("four")];
    rounds(&clock, &[&alice, &bob], async || places(&bob, "alice").await == healed).await;
    assert!(has(&events(&alice).await, |e| {
        *e == EventKind::MailboxMoved { from: url("one"), to: url("four") }
    }));
    copies(&bob, "alice", 3).await;
    let after = send(&bob, "alice", "at three again").await;
    bob.sync(Duration::ZERO).await.unwrap();
    assert_eq!(delivery(&bob, after).await, Delivery::Stored(3));
    rounds(&clock, &[&alice, &bob], async || delivery(&bob, after).await == Delivery::Decrypted).await;
    assert_eq!(received(&alice, "bob").await.len(), 4);
}

#[tokio::test]
async fn the_only_server_stays_dead_and_a_spare_takes_its_place_by_new_keys() {
    let mut relays = Relays::new(&["one", "two", "bobs"]).await;
    let clock = SetClock::new();
    let alice = relays.user(&clock, &["one"]).await;
    let bob = relays.user(&clock, &["bobs"]).await;
    befriend(&alice, &bob).await;
    relays.add(&alice, &["two"]).await;
    // Something else of hers will be heard: her network is up.
    let carol = relays.user(&clock, &["bobs"]).await;
    befriend(&carol, &alice).await;
    let lost = send(&bob, "alice", "lost with the server").await;
    sync(&bob).await;
    relays.lose("one").await;
    rounds(&clock, &[&alice], async || {
        clock.set(|now| now + 12 * HOUR);
        has(&alice.events(100).await.unwrap(), |e| matches!(e, EventKind::MailboxMoved { .. }))
    })
    .await;
    rounds(&clock, &[&alice, &bob], async || delivery(&bob, lost).await == Delivery::Decrypted).await;
    assert_eq!(received(&alice, "bob").await, ["lost with the server"]);
    assert_eq!(places(&bob, "alice").await, [url("two")]);
}

#[tokio::test]
async fn fewer_copies_need_the_password_and_a_contact_with_few_servers_is_said_to_have_few() {
    let relays = Relays::new(&["one", "bobs"]).await;
    let clock = SetClock::new();
    let alice = relays.user(&clock, &["one"]).await;
    let bob = relays.user(&clock, &["bobs"]).await;
    befriend(&alice, &bob).await;
    copies(&bob, "alice", 2).await;
    let fewer = Policy { copies: 1, ..bob.policy("alice").await.unwrap() };
    assert_eq!(bob.set_policy("alice", fewer.clone()).await.unwrap_err().kind(), ErrorKind::WrongSecret);
    let id = send(&bob, "alice", "one will have to do").await;
    sync(&bob).await;
    let message = bob.message(id).await.unwrap();
    assert_eq!(message.delivery, Delivery::Stored(1));
    assert!(message.waiting.unwrap().contains("1 server only"));
    bob.weaken_policy("alice", fewer, &key()).await.unwrap();
    assert_eq!(bob.message(id).await.unwrap().waiting, None);
    // Without the contact's word nothing is forgotten; with it all is.
    let kept = async || {
        let route = bob.explain_route("alice").await.unwrap();
        route.iter().find(|route| !route.fetching).and_then(|route| route.cost).unwrap()
    };
    let one = kept().await;
    copies(&bob, "alice", 4).await;
    assert_eq!(kept().await, one, "there is one place only, and so one copy to pay for");
    rounds(&clock, &[&alice, &bob], async || delivery(&bob, id).await == Delivery::Decrypted).await;
}

#[tokio::test]
async fn a49_a_power_cut_at_every_commit_of_copies_and_of_a_move_loses_and_doubles_nothing() {
    let relays = Relays::new(&["one", "two", "three", "bobs"]).await;
    let clock = SetClock::new();
    clock.set(|_| meow_client::Clock::now_ms(&meow_client::SystemClock));
    let (a, alice) = relays.user_and_store(&clock, &["one", "two"]).await;
    let (b, bob) = relays.user_and_store(&clock, &["bobs"]).await;
    befriend(&alice, &bob).await;
    copies(&bob, "alice", 2).await;
    relays.add(&alice, &["three"]).await;
    drop((alice, bob));
    for round in 0..3 {
        let bob = b.open().await;
        for n in 0..2 {
            send(&bob, "alice", &format!("{round} {n}")).await;
        }
        drop(bob);
        with_cuts(&b, 24, async |bob| bob.sync(Duration::ZERO).await.map(|_| ())).await;
        if round == 1 {
            with_cuts(&a, 16, async |alice| alice.rotate_mailbox("bob").await.map(|_| ())).await;
        }
        with_cuts(&a, 24, async |alice| alice.sync(Duration::ZERO).await.map(|_| ())).await;
    }
    let (alice, bob) = (a.open().await, b.open().await);
    for _ in 0..6 {
        bob.sync(Duration::ZERO).await.unwrap();
        alice.sync(Duration::ZERO).await.unwrap();
    }
    assert_eq!(received(&alice, "bob").await, ["0 0", "0 1", "1 0", "1 1", "2 0", "2 1"]);
    let all = bob.log("alice", None, 100).await.unwrap();
    assert!(all.iter().filter(|m| m.outgoing).all(|m| m.delivery == Delivery::Decrypted), "{all:?}");
    assert_eq!(places(&bob, "alice").await.len(), 3);
    assert!(!has(&events(&alice).await, |e| matches!(e, EventKind::Fork)));
}

#[tokio::test]
async fn with_cover_traffic_each_copy_takes_a_moment() {
    let relays = Relays::new(&["one", "two", "bobs"]).await;
    let clock = SetClock::new();
    let alice = relays.user(&clock, &["one", "two"]).await;
    let (user, bob) = relays.user_and_store(&clock, &["bobs"]).await;
    befriend(&alice, &bob).await;
    let covered = Policy { cover: Some(Pause::from_secs(60).unwrap()), copies: 2, ..Policy::default() };
    bob.set_policy("alice", covered).await.unwrap();
    let id = send(&bob, "alice", "at two moments").await;
    let mut steps = Vec::new();
    for _ in 0..8 {
        bob.sync(Duration::ZERO).await.unwrap();
        steps.push(delivery(&bob, id).await);
        // Nothing leaves between the moments.
        bob.sync(Duration::ZERO).await.unwrap();
        assert_eq!(Some(&delivery(&bob, id).await), steps.last());
        let moment = next_moment(&user, b"cover:");
        clock.set(|_| moment);
    }
    steps.dedup();
    assert_eq!(steps, [Delivery::Queued, Delivery::Stored(1), Delivery::Stored(2)]);
    rounds(&clock, &[&alice, &bob], async || delivery(&bob, id).await == Delivery::Decrypted).await;
    assert_eq!(received(&alice, "bob").await, ["at two moments"]);
}
