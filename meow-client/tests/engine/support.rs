//! A relay, clients on it, and waiting for things to happen.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use meow_client::store::MemoryClientStore;
use meow_client::{Client, Event, EventKind, KeyProvider, KeyStorage, MessageId, OpenStore, Unlock};
use meow_core::Result;
use meow_core::card::CardFile;
use meow_core::crypto::Secret;
use meow_core::delivery::Delivery;
use meow_core::message::Content;
use meow_core::store::{ClientStore, Table};
use meow_server::{Admission, Relay, RelayHandle, RelayLimits};
use meow_transport::{Memory, Transports};
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) transports: Transports,
    pub(crate) relay: Option<RelayHandle>,
    pub(crate) dir: TempDir,
    pub(crate) limits: RelayLimits,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Transports::new().with(Memory::new()), RelayLimits::default()).await
    }

    /// A relay with these limits, over transports that have `memory:`.
    pub(crate) async fn with(transports: Transports, limits: RelayLimits) -> Self {
        let mut world = Self { transports, relay: None, dir: tempfile::tempdir().unwrap(), limits };
        world.start().await;
        world
    }

    /// Starts the relay on what it kept.
    pub(crate) async fn start(&mut self) {
        let relay = Relay::builder()
            .transports(self.transports.clone())
            .listen("memory://relay".parse().unwrap())
            .data(self.dir.path().join("relay"))
            .unwrap()
            .admission(Admission::Open)
            .limits(self.limits.clone())
            .start()
            .await
            .unwrap();
        self.relay = Some(relay);
    }

    pub(crate) async fn stop(&mut self) {
        self.relay.take().unwrap().shutdown().await;
    }

    /// A new identity that knows the relay.
    pub(crate) async fn user(&self) -> User {
        let user = User { disk: Arc::default(), transports: self.transports.clone() };
        let (client, words) = user.builder().create(&key()).await.unwrap();
        assert_eq!(words.expose().split(' ').count(), 24);
        client.add_server(self.relay.as_ref().unwrap().reference()).await.unwrap();
        user
    }

    /// Two users who are contacts, both open.
    pub(crate) async fn pair(&self) -> (User, Client, User, Client) {
        let (a, b) = (self.user().await, self.user().await);
        let (alice, bob) = (a.open().await, b.open().await);
        befriend(&alice, &bob).await;
        (a, alice, b, bob)
    }
}

/// What survives when a client is dropped.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) disk: Arc<Disk>,
    pub(crate) transports: Transports,
}

#[derive(Default)]
pub(crate) struct Disk {
    keys: Mutex<Option<Vec<u8>>>,
    pub(crate) store: Mutex<Option<Arc<dyn ClientStore>>>,
}

impl Disk {
    /// Copies the key file, as a thief does.
    pub(crate) fn take_keys_of(&self, other: &Self) {
        *self.keys.lock().unwrap() = other.keys.lock().unwrap().clone();
    }
}

impl KeyStorage for Disk {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.keys.lock().unwrap().clone())
    }
    fn save(&self, bytes: &[u8]) -> Result<()> {
        *self.keys.lock().unwrap() = Some(bytes.to_vec());
        Ok(())
    }
}

impl OpenStore for Disk {
    fn open(&self, _key: &Secret, create: bool) -> Result<Arc<dyn ClientStore>> {
        let mut store = self.store.lock().unwrap();
        if create {
            *store = Some(Arc::new(MemoryClientStore::new()));
        }
        Ok(store.clone().unwrap())
    }
}

struct Key;
impl KeyProvider for Key {
    fn key(&self) -> Result<Secret> {
        Ok(Secret::new([7; 32]))
    }
}

/// A provider, so that no test pays for Argon2id.
pub(crate) fn key() -> Unlock {
    Unlock::Provider(Arc::new(Key))
}

impl User {
    pub(crate) fn builder(&self) -> meow_client::ClientBuilder {
        Client::builder().storage(self.disk.clone(), self.disk.clone()).transports(self.transports.clone())
    }

    pub(crate) async fn open(&self) -> Client {
        self.builder().open(&key()).await.unwrap()
    }
}

pub(crate) async fn befriend(alice: &Client, bob: &Client) {
    let card = alice.new_card("bob", Duration::from_secs(3600), &key()).await.unwrap();
    let card = CardFile::parse(&card.file).unwrap();
    bob.take_card(&card, "alice", "hello", &key()).await.unwrap();
    for _ in 0..3 {
        sync(bob).await;
        sync(alice).await;
    }
}

/// One step that must find no problem.
pub(crate) async fn sync(client: &Client) {
    let report = client.sync(Duration::ZERO).await.unwrap();
    assert!(report.problems.is_empty() && report.waiting.is_none(), "{report:?}");
}

pub(crate) fn text(text: &str) -> Content {
    Content::text(1, text).unwrap()
}

pub(crate) async fn send(client: &Client, to: &str, what: &str) -> MessageId {
    client.send(to, text(what)).await.unwrap()
}

/// The texts that arrived from a contact, in the order of the log.
pub(crate) async fn received(client: &Client, from: &str) -> Vec<String> {
    let log = client.log(from, None, 10_000).await.unwrap();
    log.iter().filter(|m| !m.outgoing).filter_map(|m| m.content.as_text().map(str::to_owned)).collect()
}

pub(crate) async fn delivery(client: &Client, id: MessageId) -> Delivery {
    client.message(id).await.unwrap().delivery
}

/// All events that wait, confirmed.
pub(crate) async fn events(client: &Client) -> Vec<Event> {
    let all = client.events(10_000).await.unwrap();
    if let Some(last) = all.last() {
        client.confirm_events(last.number).await.unwrap();
    }
    all
}

pub(crate) fn has(events: &[Event], want: impl Fn(&EventKind) -> bool) -> bool {
    events.iter().any(|e| want(&e.kind))
}

/// How many rows a table holds.
pub(crate) fn rows(user: &User, table: Table) -> usize {
    let mut count = 0;
    let store = user.disk.store.lock().unwrap().clone().unwrap();
    store
        .read(&mut |txn| {
            count = txn.scan(table, &[], None, usize::MAX, false)?.len();
            Ok(())
        })
        .unwrap();
    count
}
