//! A client that draws its own chains through relays of which each is reached in another way: by https, by QUIC, through a
//! broker, on a serial line; its mailbox server by http. Everything that it does with its contact goes through them.

#![cfg(all(
    feature = "http",
    feature = "udp",
    feature = "mqtt",
    feature = "serial",
    feature = "client",
    feature = "server"
))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meow::client::{HopMarks, HopShown, KeyProvider};
use meow::core::crypto::{Secret, SystemRandom};
use meow::core::delivery::Delivery;
use meow::core::policy::{Chain, Policy, Route};
use meow::core::wire::List;
use meow::http::{ClientConfig, Http, Identity, Roots, ServerConfig};
use meow::mqtt::Mqtt;
use meow::serial::Serial;
use meow::server::{Admission, Hop, HopCounts, Relay, RelayHandle, ServerIdentity};
use meow::udp::Udp;
use meow::{CardFile, Client, Content, ErrorKind, ServerReference, Transports, Unlock};
use meow_testkit::mqtt::{Behaviour, Broker};
use meow_testkit::transport::line::Line;

/// A provider, so that the test does not pay for Argon2id.
struct Key;
impl KeyProvider for Key {
    fn key(&self) -> meow::Result<Secret> {
        Ok(Secret::new([7; 32]))
    }
}

fn key() -> Unlock {
    Unlock::Provider(Arc::new(Key))
}

/// Certificates of one authority for this machine.
struct Tls {
    chain: Vec<u8>,
    key: Vec<u8>,
}

/// All schemes, listening as this server where there is one.
fn transports(tls: &Tls, server: Option<&ServerIdentity>) -> Transports {
    let mut client = ClientConfig::default();
    client.roots = Roots::Only(tls.chain.clone());
    let (mut http, mut udp, mut mqtt) =
        (ServerConfig::default(), meow::udp::ServerConfig::default(), meow::mqtt::ServerConfig::default());
    if let Some(server) = server {
        http.identity = Some(Identity { chain: tls.chain.clone(), key: tls.key.clone().into() });
        udp.identity = Some(server.skp().clone());
        mqtt.identity = Some(server.skp().clone());
    }
    Transports::new()
        .with(Http::new(client, http).unwrap())
        .with(Udp::new(meow::udp::ClientConfig::default(), udp))
        .with(Mqtt::new(meow::mqtt::ClientConfig::default(), mqtt))
        .with(Serial::new())
}

/// Relays that all send on to each other, each reached in one way; the line is at a device of its own for each of them.
struct World {
    tls: Tls,
    line: Line,
    _broker: Broker,
    relays: Vec<RelayHandle>,
    dir: tempfile::TempDir,
}

const NAMES: [&str; 6] = ["https", "udp", "mqtt", "serial", "mine", "theirs"];
/// The one on the line, and the stations of all relays and of the client.
const SERIAL: usize = 3;
const CLIENT: usize = NAMES.len();

impl World {
    async fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let tls =
            Tls { chain: made.cert.pem().into_bytes(), key: made.signing_key.serialize_pem().into_bytes() };
        let broker = Broker::start(Behaviour::default()).await.unwrap();
        let line = Line::new(NAMES.len() + 1).unwrap();
        // Free a moment ago.
        let tcp = |host| TcpListener::bind((host, 0)).unwrap().local_addr().unwrap();
        let udp = |host| UdpSocket::bind((host, 0)).unwrap().local_addr().unwrap();
        // What is first shares no network with the mailbox servers, or another one would be.
        let (here, apart) = ("127.0.0.1", "127.1.0.1");
        let urls = [
            format!("https://{}", tcp(here)),
            format!("udp://{}", udp(here)),
            broker.url("cats"),
            line.url(SERIAL, ""),
            format!("http://{}", tcp(apart)),
            format!("udp://{}", udp(apart)),
        ];
        let identities = NAMES.map(|_| ServerIdentity::ephemeral(&mut SystemRandom).unwrap());
        let known: Vec<_> = identities.iter().map(|identity| *identity.fingerprint()).collect();
        let (dir, mut relays) = (tempfile::tempdir().unwrap(), Vec::new());
        for (n, identity) in identities.into_iter().enumerate() {
            let links = transports(&tls, Some(&identity));
            let others = (0..NAMES.len()).filter(|other| *other != n).map(|other| ServerReference {
                url: if other == SERIAL { line.url(n, "") } else { urls[other].clone() }.parse().unwrap(),
                fingerprint: known[other],
                invite: None,
            });
            let hop = others.fold(Hop::new(links.clone()), Hop::to);
            let url: meow::Endpoint = urls[n].parse().unwrap();
            let mut builder = Relay::builder().transports(links).listen(url.clone());
            if n != SERIAL {
                builder = builder.public_url(url);
            }
            let builder = builder.data(dir.path().join(NAMES[n])).unwrap().identity(identity);
            relays.push(builder.admission(Admission::Open).hop(hop).start().await.unwrap());
        }
        Self { tls, line, _broker: broker, relays, dir }
    }

    fn reference(&self, n: usize) -> ServerReference {
        let mut reference = self.relays[n].reference().clone();
        if n == SERIAL {
            reference.url = self.line.url(CLIENT, "").parse().unwrap();
        }
        reference
    }

    async fn person(&self, name: &str) -> Client {
        let home: &Path = &self.dir.path().join(format!("home of {name}"));
        let builder = Client::builder().home(home).transports(transports(&self.tls, None));
        builder.create(&key()).await.unwrap().0
    }

    fn counts(&self) -> Vec<HopCounts> {
        self.relays.iter().map(|relay| relay.hop_counts().unwrap()).collect()
    }
}

async fn until(clients: &[&Client], what: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(180);
    while !what().await {
        assert!(Instant::now() < end, "it does not come about");
        for client in clients {
            client.sync(Duration::ZERO).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_draws_chains_that_mix_https_udp_mqtt_and_serial() {
    let world = World::new().await;
    let (alice, bob) = (world.person("alice").await, world.person("bob").await);
    for n in 0..=SERIAL {
        let marks = HopMarks { trusted: true, ..HopMarks::default() };
        alice.add_hop(&world.reference(n), marks, &key()).await.unwrap();
    }
    let routes = List::take([Route::Matriochka(Chain::default())]);
    alice.set_default_policy(Policy { routes, ..Policy::default() }).await.unwrap();
    // The catalogs may take a moment to fill.
    let end = Instant::now() + Duration::from_secs(120);
    while let Err(e) = alice.add_server(&world.reference(4)).await {
        assert!(Instant::now() < end && e.kind() == ErrorKind::Unreachable, "{e}");
        alice.network_changed();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bob.add_server(&world.reference(5)).await.unwrap();

    // Her mailbox is opened, his card taken with its key blob, mail deposited, fetched and acknowledged: all by chains.
    let card = bob.new_card("alice", Duration::from_secs(3600), &key()).await.unwrap();
    alice.take_card(&CardFile::parse(card.uri.as_bytes()).unwrap(), "bob", "hello", &key()).await.unwrap();
    let id = alice.send("bob", Content::text(0, "by every way").unwrap()).await.unwrap();
    let both = [&alice, &bob];
    until(&both, async || alice.message(id).await.unwrap().delivery == Delivery::Decrypted).await;
    bob.send("alice", Content::text(0, "and back").unwrap()).await.unwrap();
    until(&both, async || {
        let log = alice.log("bob", None, 10).await.unwrap();
        log.iter().any(|message| !message.outgoing && message.content.as_text() == Some("and back"))
    })
    .await;
    let explained = alice.explain_route("bob").await.unwrap();
    assert_eq!(explained.len(), 2);
    for route in &explained {
        assert_eq!(
            (route.problem.as_deref(), route.there.len(), route.back.len()),
            (None, 3, 2),
            "{route:?}"
        );
        // Links between servers take half of what a round trip usually takes there, the broker's longer; one's own link
        // besides, which on the line has to carry two kilobytes.
        let link = |hop: &HopShown| Duration::from_millis(if hop.url.starts_with("mqtt") { 50 } else { 25 });
        let cost = route.cost.unwrap();
        let there: Duration = route.there[1..].iter().map(link).sum();
        let both = there + route.back.iter().map(link).sum::<Duration>();
        let own = |taken: Duration, least, most| {
            let ms = |ms| Duration::from_millis(ms);
            assert!(taken > ms(least) && taken < ms(most), "{taken:?}: {route:?}");
        };
        own(cost.latency - there, 2, 1000);
        own(cost.round_trip - both, 5, 2000);
    }

    // Each of the four is the first of some chains, which hands their answers over, and stands between in others: so packets
    // and answers go over links of every kind, from the client and from relay to relay.
    let all =
        |counts: &[HopCounts]| counts[..=SERIAL].iter().all(|c| c.answered > 0 && c.forwarded > c.answered);
    until(&both, async || {
        alice.send("bob", Content::text(0, "another").unwrap()).await.unwrap();
        all(&world.counts())
    })
    .await;
    let counts = world.counts();
    for (name, c) in NAMES.iter().zip(&counts) {
        println!("{name}: {c:?}");
        assert_eq!((c.unreadable, c.replayed, c.unknown), (0, 0, 0), "{name}: {c:?}");
    }
    assert!(counts[..=SERIAL].iter().all(|c| c.delivered == 0), "they keep no mail");
    assert!(counts[4..].iter().all(|c| c.delivered > 0 && c.answered == 0), "these are first for nobody");
}
