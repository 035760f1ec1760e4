//! Direct links over real transports: a cable between two people, and a forged place as a weapon (attack 28).
#![cfg(all(feature = "client", feature = "server", feature = "udp", feature = "serial"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meow::client::store::MemoryClientStore;
use meow::client::{ClientBuilder, KeyProvider, KeyStorage, OpenStore, Presence};
use meow::core::crypto::{Secret, SigningKey, SystemRandom};
use meow::core::delivery::Way;
use meow::core::policy::{Policy, Receipts, Route};
use meow::core::store::ClientStore;
use meow::core::transport::{Accept, Addresses, Link, LinkProfile, Listener, Transport};
use meow::core::wire::List;
use meow::core::{Error, ErrorKind};
use meow::serial::Serial;
use meow::server::{Admission, Relay, RelayHandle, RelayLimits};
use meow::udp::Udp;
use meow::{CardFile, Client, Content, Delivery, Endpoint, MessageId, Result, Transports, Unlock};
use meow_testkit::transport::line::Line;
use meow_transport::Memory;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// For whatever may take long on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

struct Key;
impl KeyProvider for Key {
    fn key(&self) -> Result<Secret> {
        Ok(Secret::new([7; 32]))
    }
}

fn unlock() -> Unlock {
    Unlock::Provider(Arc::new(Key))
}

/// Keeps everything in memory.
#[derive(Default)]
struct Disk {
    keys: Mutex<Option<Vec<u8>>>,
    store: Mutex<Option<Arc<dyn ClientStore>>>,
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
    fn open(&self, _key: &Secret, _create: bool) -> Result<Arc<dyn ClientStore>> {
        let mut store = self.store.lock().unwrap();
        Ok(Arc::clone(store.get_or_insert_with(|| Arc::new(MemoryClientStore::new()))))
    }
}

async fn relay(memory: &Transports, dir: &std::path::Path) -> RelayHandle {
    let builder = Relay::builder().transports(memory.clone()).listen("memory://relay".parse().unwrap());
    // All come by one listener and have no address.
    let mut limits = RelayLimits::default();
    (limits.listener_rate, limits.listener_burst) = (100_000, 100_000);
    limits.links = 16_384;
    builder.limits(limits).data(dir).unwrap().admission(Admission::Open).start().await.unwrap()
}

async fn person(relay: &RelayHandle, transports: Transports, at: &[&str], addresses: Addresses) -> Client {
    let builder = builder(&Arc::default(), transports, at, addresses);
    let (client, _) = builder.create(&unlock()).await.unwrap();
    client.add_server(relay.reference()).await.unwrap();
    client
}

fn builder(disk: &Arc<Disk>, transports: Transports, at: &[&str], addresses: Addresses) -> ClientBuilder {
    let builder = Client::builder().storage(disk.clone(), disk.clone()).transports(transports);
    let builder = at.iter().fold(builder, |builder, at| builder.direct_at(at.parse().unwrap()));
    builder.direct_addresses(addresses)
}

async fn befriend(alice: &Client, bob: &Client, names: [&str; 2]) {
    let card = alice.new_card(names[1], Duration::from_secs(3600), &unlock()).await.unwrap();
    bob.take_card(&CardFile::parse(&card.file).unwrap(), names[0], "", &unlock()).await.unwrap();
}

async fn allow(client: &Client, other: &str, routes: impl IntoIterator<Item = Route>) {
    let policy = Policy { routes: List::take(routes), presence: true, ..Policy::default() };
    client.weaken_policy(other, policy, &unlock()).await.unwrap();
}

async fn rounds(clients: impl IntoIterator<Item = &Client> + Clone, n: usize) {
    for _ in 0..n {
        for client in clients.clone() {
            client.sync(Duration::ZERO).await.unwrap();
        }
    }
}

fn running(client: &Client) -> JoinHandle<()> {
    let client = client.clone();
    tokio::spawn(async move { client.run().await.unwrap() })
}

async fn send(client: &Client, to: &str, text: &str) -> MessageId {
    client.send(to, Content::text(1, text).unwrap()).await.unwrap()
}

/// Waits until a message is so far, and says which way it went.
async fn delivered(client: &Client, id: MessageId, far: Delivery) -> Option<Way> {
    let end = Instant::now() + PATIENCE;
    loop {
        let message = client.message(id).await.unwrap();
        if message.delivery >= far {
            return message.way;
        }
        assert!(Instant::now() < end, "not delivered: {:?}", message.waiting);
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_on_one_cable_speak_without_a_relay() {
    let (line, dir, memory) =
        (Line::new(2).unwrap(), tempfile::tempdir().unwrap(), Transports::new().with(Memory::new()));
    let relay = relay(&memory, dir.path()).await;
    let ends = [line.url(0, "?baud=1000000"), line.url(1, "?baud=1000000")];
    let mut people = Vec::new();
    for end in &ends {
        let transports = memory.clone().with(Serial::new());
        people.push(person(&relay, transports, &[end], Addresses::public()).await);
    }
    let [alice, bob] = <[Client; 2]>::try_from(people).unwrap();
    befriend(&alice, &bob, ["alice", "bob"]).await;
    rounds([&bob, &alice], 3).await;
    for (client, other) in [(&alice, "bob"), (&bob, "alice")] {
        allow(client, other, [Route::Direct, Route::Server]).await;
    }
    // The offers go by the relay; then there is none any more.
    rounds([&bob, &alice], 3).await;
    relay.shutdown().await;
    for (client, other, end) in [(&alice, "bob", &ends[0]), (&bob, "alice", &ends[1])] {
        // The line is the place: everybody's own end of it.
        client.set_direct_places(other, vec![end.parse().unwrap()]).await.unwrap();
    }
    let tasks = [running(&alice), running(&bob)];
    let long = "l".repeat(5000);
    for (client, other, text) in
        [(&alice, "bob", "hello"), (&bob, "alice", "you too"), (&alice, "bob", &long)]
    {
        let id = send(client, other, text).await;
        assert_eq!(delivered(client, id, Delivery::Decrypted).await, Some(Way::Direct));
    }
    let log = bob.log("alice", None, 100).await.unwrap();
    let mut texts: Vec<_> = log.iter().filter(|m| !m.outgoing).filter_map(|m| m.content.as_text()).collect();
    texts.sort_by_key(|text| text.len());
    assert_eq!(texts, ["hello", &long]);

    // What a text is said to cost by this way is what it costs, within a tenth. Bob's receipts would go by it too; what else he
    // has to say, of a new policy for one, comes between two of five pairs at most.
    let silent = Receipts { decrypted: false, read: false };
    let policy = Policy { receipts: silent, ..bob.policy("alice").await.unwrap() };
    bob.weaken_policy("alice", policy, &unlock()).await.unwrap();
    let (text, mut measured) = ("x".repeat(100), [vec![], vec![]]);
    let written = || [0, 1].map(|station| line.carried_by(station));
    for _ in 0..5 {
        let before = written();
        for _ in 0..2 {
            let id = send(&alice, "bob", &text).await;
            let end = Instant::now() + PATIENCE;
            while alice.message(id).await.unwrap().way != Some(Way::Direct) {
                assert!(Instant::now() < end, "it does not go directly");
                sleep(Duration::from_millis(20)).await;
            }
        }
        let after = written();
        measured.iter_mut().enumerate().for_each(|(n, all)| all.push((after[n] - before[n]) / 2));
    }
    let cost = alice.explain_route("bob").await.unwrap().remove(0).cost.unwrap();
    for (said, mut measured) in [cost.up, cost.down].into_iter().zip(measured) {
        measured.sort_unstable();
        println!("directly: said {said}, measured {measured:?}");
        assert!(said.abs_diff(measured[2]) * 10 <= measured[2], "{said}, measured {measured:?}");
    }
    tasks.iter().for_each(JoinHandle::abort);
}

/// Where a link is one request with its answer, nobody could ever come about: said when it is named, not found out in vain.
#[cfg(feature = "http")]
#[tokio::test]
async fn no_direct_link_is_awaited_over_http() {
    let (dir, memory) = (tempfile::tempdir().unwrap(), Transports::new().with(Memory::new()));
    let relay = relay(&memory, dir.path()).await;
    let all = || memory.clone().with(meow::http::Http::default());
    let alice = person(&relay, all(), &["http://127.0.0.1:0"], Addresses::public()).await;
    let bob = person(&relay, all(), &[], Addresses::public()).await;
    befriend(&alice, &bob, ["alice", "bob"]).await;
    for url in ["http://127.0.0.1:41325", "https://bob.example"] {
        let places = vec!["memory://bob".parse().unwrap(), url.parse().unwrap()];
        let refused = alice.set_direct_places("bob", places).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Usage);
        assert!(refused.to_string().contains("both sides may speak"), "{refused}");
    }
    alice.set_direct_places("bob", vec!["memory://bob".parse().unwrap()]).await.unwrap();
    let ended = timeout(PATIENCE, alice.run()).await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Usage);
    assert!(ended.to_string().contains("both sides may speak"), "{ended}");
}

/// The transport of somebody who says to listen where others are.
struct Liar(Endpoint);

struct Never;
impl Accept for Never {
    async fn accept(&mut self) -> Result<Option<Link>> {
        std::future::pending().await
    }
    async fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Transport for Liar {
    fn schemes(&self) -> &'static [&'static str] {
        &["udp"]
    }
    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        Transport::estimate(&Udp::default(), endpoint)
    }
    async fn connect(&self, _endpoint: &Endpoint) -> Result<Link> {
        Err(Error::new(ErrorKind::Unreachable, "it only lies"))
    }
    async fn listen(&self, _endpoint: &Endpoint) -> Result<Listener> {
        Ok(Listener::new(Never, self.0.clone()))
    }
}

/// What comes to the victim: packets and bytes from each address.
fn counted(victim: Arc<UdpSocket>) -> Arc<Mutex<HashMap<SocketAddr, (usize, usize)>>> {
    let counts = Arc::new(Mutex::new(HashMap::new()));
    let seen = Arc::clone(&counts);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((size, from)) = victim.recv_from(&mut buffer).await {
            let mut counts = seen.lock().unwrap();
            let (packets, bytes): &mut (usize, usize) = counts.entry(from).or_default();
            *packets += 1;
            *bytes += size;
        }
    });
    counts
}

/// How many contacts: a few, or by `scripts/soak presence` a thousand.
fn contacts() -> usize {
    std::env::var("MEOW_CONTACTS").map_or(12, |n| n.parse().unwrap())
}

/// What a dialler may send to a place where nobody answers, in packets; what led it there is an answer of 2,048 bytes, so three
/// times as many of these.
const MOST: usize = 3;

/// Dials and listens by one socket.
fn udp() -> Udp {
    let (mut dial, mut listen) = (meow::udp::ClientConfig::default(), meow::udp::ServerConfig::default());
    dial.from_listener = true;
    listen.identity = Some(SigningKey::generate(&mut SystemRandom).unwrap());
    Udp::new(dial, listen)
}

/// For what all contacts do at once: as long as their number makes it on two processors.
fn patience() -> Duration {
    PATIENCE + Duration::from_secs(1) * contacts() as u32
}

/// Waits until Mallory is shown as online, or is not. All together ask so often that they leave time for what they wait for.
async fn while_shown(client: &Client, online: bool) {
    let end = Instant::now() + patience();
    while (client.presence("mallory").await.unwrap() == Presence::Online) != online {
        assert!(Instant::now() < end, "presence did not become {online}");
        sleep(Duration::from_millis(50 + 20 * contacts() as u64)).await;
        // What was not sent because the relay was busy has yet to be fetched.
        client.sync(Duration::ZERO).await.unwrap();
    }
}

/// The same for everybody at once.
async fn each<F: Future<Output = ()> + Send + 'static>(all: &[Client], what: impl Fn(Client) -> F) {
    let tasks: Vec<_> = all.iter().map(|client| tokio::spawn(what(client.clone()))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Everybody writes to Mallory at once, several times: by the server in the end.
async fn all_write(all: &[Client]) {
    each(all, |client| async move { while_shown(&client, true).await }).await;
    each(all, |client| async move {
        for n in 0..4 {
            let id = send(&client, "mallory", &format!("{n}")).await;
            let end = Instant::now() + patience();
            while client.message(id).await.unwrap().delivery < Delivery::Stored(1) {
                assert!(Instant::now() < end, "not delivered");
                client.sync(Duration::ZERO).await.unwrap();
            }
            assert_eq!(client.message(id).await.unwrap().way, Some(Way::Server));
            // As if a long time had passed: nothing keeps the contact from being dialled but what is known of the place.
            client.set_direct_places("mallory", Vec::new()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a28_contacts_who_are_sent_to_a_forged_address_cost_it_three_packets_each() {
    let (dir, memory) = (tempfile::tempdir().unwrap(), Transports::new().with(Memory::new()));
    let relay = relay(&memory, dir.path()).await;
    let victim = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let place = format!("udp://{}", victim.local_addr().unwrap());
    let seen = counted(Arc::clone(&victim));
    let lies = memory.clone().with(Liar(place.parse().unwrap()));
    let mallory = person(&relay, lies, &["udp://0.0.0.0:0"], Addresses::public()).await;
    // The victim is on this machine, which nobody dials by a contact's word otherwise.
    let here = || Addresses::public().and("127.0.0.0/8".parse().unwrap());
    let disks: Vec<Arc<Disk>> = (0..contacts()).map(|_| Arc::default()).collect();
    let mut all = Vec::new();
    for disk in &disks {
        let (client, _) =
            builder(disk, memory.clone().with(udp()), &[], here()).create(&unlock()).await.unwrap();
        all.push(client);
    }
    let (reference, other, names) = (relay.reference(), &mallory, Arc::new(AtomicUsize::new(0)));
    // As many at once as the relay takes.
    for some in all.chunks(32) {
        each(some, |client| {
            let (reference, mallory, names) = (reference.clone(), other.clone(), Arc::clone(&names));
            async move {
                client.add_server(&reference).await.unwrap();
                let name = format!("contact {}", names.fetch_add(1, Ordering::Relaxed));
                befriend(&mallory, &client, ["mallory", &name]).await;
            }
        })
        .await;
    }
    let all_sync = async |n| {
        for _ in 0..n {
            for some in all.chunks(32) {
                each(some, |client| async move { rounds([&client], 1).await }).await;
            }
            rounds([&mallory], 1).await;
        }
    };
    println!("{} contacts", all.len());
    all_sync(3).await;
    each(&all, |client| async move { allow(&client, "mallory", [Route::Direct, Route::Server]).await }).await;
    for n in 0..all.len() {
        allow(&mallory, &format!("contact {n}"), [Route::Direct, Route::Server]).await;
    }
    all_sync(2).await;
    let lying = running(&mallory);
    let began = Instant::now();
    println!("they know each other; all write");
    all_write(&all).await;
    println!("all have written, after {:?}; they start again", began.elapsed());
    // Mallory offers anew, and everybody starts again: nobody waits because of what was in vain before.
    for n in 0..all.len() {
        mallory.weaken_policy(&format!("contact {n}"), Policy::default(), &unlock()).await.unwrap();
    }
    drop(all);
    let mut all = Vec::new();
    for disk in &disks {
        all.push(builder(disk, memory.clone().with(udp()), &[], here()).open(&unlock()).await.unwrap());
    }
    each(&all, |client| async move { while_shown(&client, false).await }).await;
    for n in 0..all.len() {
        allow(&mallory, &format!("contact {n}"), [Route::Direct, Route::Server]).await;
    }
    all_write(&all).await;
    // The farewells may yet have to leave.
    sleep(Duration::from_millis(500)).await;
    lying.abort();
    let seen = seen.lock().unwrap();
    let (packets, bytes) = seen.values().fold((0, 0), |(p, b), (packets, bytes)| (p + packets, b + bytes));
    println!(
        "{} contacts: {packets} packets, {bytes} bytes from {} sockets in {:?}, at most {:?} from one",
        all.len(),
        seen.len(),
        began.elapsed(),
        seen.values().max(),
    );
    assert!(!seen.is_empty() && seen.len() <= all.len(), "by one socket each");
    for (from, (packets, bytes)) in seen.iter() {
        assert!(*packets <= MOST && *bytes <= MOST * 2048, "{from}: {packets} packets, {bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a28_many_contacts_who_name_one_address_cost_it_no_more_than_one_of_them() {
    let (dir, memory) = (tempfile::tempdir().unwrap(), Transports::new().with(Memory::new()));
    let relay = relay(&memory, dir.path()).await;
    let victim = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let place = format!("udp://{}", victim.local_addr().unwrap());
    let seen = counted(Arc::clone(&victim));
    let here = Addresses::public().and("127.0.0.0/8".parse().unwrap());
    let alice = person(&relay, memory.clone().with(udp()), &[], here).await;
    // One person with many names, of which each says to be where the victim is.
    let names: Vec<_> = (0..6).map(|n| format!("mallory {n}")).collect();
    let mut lying = Vec::new();
    for name in &names {
        let lies = memory.clone().with(Liar(place.parse().unwrap()));
        let mallory = person(&relay, lies, &["udp://0.0.0.0:0"], Addresses::public()).await;
        befriend(&mallory, &alice, [name, "alice"]).await;
        rounds([&alice, &mallory], 3).await;
        allow(&alice, name, [Route::Direct, Route::Server]).await;
        allow(&mallory, "alice", [Route::Direct, Route::Server]).await;
        rounds([&alice, &mallory], 2).await;
        lying.push(running(&mallory));
    }
    for name in &names {
        let end = Instant::now() + PATIENCE;
        while alice.presence(name).await.unwrap() != Presence::Online {
            assert!(Instant::now() < end, "nothing is shown");
            sleep(Duration::from_millis(50)).await;
        }
    }
    for name in &names {
        let id = send(&alice, name, "hello").await;
        alice.sync(Duration::ZERO).await.unwrap();
        assert_eq!(delivered(&alice, id, Delivery::Stored(1)).await, Some(Way::Server));
    }
    sleep(Duration::from_millis(500)).await;
    lying.iter().for_each(JoinHandle::abort);
    let (packets, bytes) = seen.lock().unwrap().values().fold((0, 0), |(p, b), (n, size)| (p + n, b + size));
    println!("{} names: {packets} packets, {bytes} bytes", names.len());
    assert!((1..=MOST).contains(&packets) && bytes <= MOST * 2048, "{packets} packets, {bytes} bytes");
}
