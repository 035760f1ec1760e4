//! Over every scheme: once a relay has granted sessions, nothing is sealed to its key any more; when it starts anew and has
//! forgotten them, nothing is lost, and it grants others.

#![cfg(all(
    unix,
    feature = "http",
    feature = "udp",
    feature = "mqtt",
    feature = "serial",
    feature = "client",
    feature = "server"
))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

#[path = "../examples/custom_transport/unix.rs"]
mod unix;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meow::core::crypto::SystemRandom;
use meow::core::transport::{
    Endpoint, Frame, Link, LinkProfile, LinkReceiver, LinkSender, Listener, Pattern, RecvFrames, SendFrames,
    Transport,
};
use meow::core::wire::is_thin;
use meow::http::{ClientConfig, Http, Identity, Roots, ServerConfig};
use meow::mqtt::{self, Mqtt};
use meow::serial::Serial;
use meow::server::{Admission, Relay, RelayHandle, ServerIdentity};
use meow::transport::Memory;
use meow::udp::{self, Udp};
use meow::{CardFile, Client, Content, Result, ServerReference, Transports, Unlock};
use meow_testkit::mqtt::{Mosquitto, readable};
use meow_testkit::transport::line::Line;
use meow_testkit::transport::port::own_port;

/// Long enough for a slow machine; on a bus, a request in a session that is forgotten waits 20 s in vain.
const PATIENCE: Duration = Duration::from_secs(400);

/// What sealed the requests that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    to_key: usize,
    in_sessions: usize,
}

impl Seen {
    /// Counts a frame in which a request begins; `keys` are what those begin with that are sealed to a key. On a bus that is a
    /// thin packet as it is, or the first piece of a longer one.
    fn note(&mut self, frame: &[u8], bus: bool, keys: &[[u8; 5]]) {
        let thin = bus && is_thin(frame.len());
        let begin = match frame {
            // Tag, kind (data, of the side that dialled), number 0.
            [_, _, _, _, _, _, kind, 0, 0, piece @ ..] if bus && !thin && kind & 0b1110_0000 == 0 => piece,
            _ if bus && !thin => return,
            packet => packet,
        };
        // A session's thin packets show a random tag only.
        if keys.iter().any(|key| begin.starts_with(key)) {
            self.to_key += 1;
        } else if thin || begin.first() == Some(&5) {
            self.in_sessions += 1;
        }
    }
}

/// A transport that looks at what clients send over it.
struct Tap<T>(T, Seeing);

/// What was seen, and the suite and number of each key of the server.
#[derive(Clone)]
struct Seeing {
    seen: Arc<Mutex<Seen>>,
    keys: Arc<[[u8; 5]]>,
}

impl<T: Transport> Transport for Tap<T> {
    fn schemes(&self) -> &'static [&'static str] {
        self.0.schemes()
    }
    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        self.0.estimate(endpoint)
    }
    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let link = self.0.connect(endpoint).await?;
        let bus = link.profile.pattern == Pattern::Bus;
        Ok(Link::new(Tapped(link.tx, self.1.clone(), bus), Rest(link.rx), link.profile, link.peer))
    }
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        self.0.listen(endpoint).await
    }
}

struct Tapped(LinkSender, Seeing, bool);

impl SendFrames for Tapped {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        self.1.seen.lock().unwrap().note(&frame, self.2, &self.1.keys);
        self.0.send(frame).await
    }
    async fn finish(&mut self) -> Result<()> {
        self.0.finish().await
    }
}

struct Rest(LinkReceiver);

impl RecvFrames for Rest {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        self.0.recv().await
    }
}

struct World {
    relay: Option<RelayHandle>,
    start: Box<dyn Fn() -> meow::server::RelayBuilder + Send>,
    alice: Client,
    bob: Client,
    seen: Arc<Mutex<Seen>>,
    said: usize,
    _dir: tempfile::TempDir,
}

fn password() -> Unlock {
    Unlock::password("correct horse battery staple")
}

impl World {
    /// A relay at `listen`, whose transports know its key, and two people; `dial` gives the URL for the one and the other.
    async fn new<T: Transport>(
        listen: &str,
        relay: impl Fn(&ServerIdentity) -> Transports + Send + 'static,
        people: impl Fn() -> T,
        dial: impl Fn(&str, usize) -> String,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("relay");
        std::fs::create_dir(&data).unwrap();
        let identity = ServerIdentity::open_or_create(&data, &mut SystemRandom).unwrap();
        let listen: Endpoint = listen.parse().unwrap();
        let path = data.clone();
        let start = Box::new(move || {
            let builder = Relay::builder().transports(relay(&identity)).listen(listen.clone());
            builder.admission(Admission::Open).data(&path).unwrap()
        });
        let relay = start().start().await.unwrap();
        let identity = ServerIdentity::open_or_create(&data, &mut SystemRandom).unwrap();
        let first = |number: u32| {
            let [a, b, c, d] = number.to_be_bytes();
            [1, a, b, c, d]
        };
        let keys = identity.sealing_keys().map(|key| first(key.number)).collect();
        let (seeing, mut pair) = (Seeing { seen: Arc::default(), keys }, Vec::new());
        for (n, name) in ["alice", "bob"].into_iter().enumerate() {
            let transports = Transports::new().with(Tap(people(), seeing.clone()));
            let builder = Client::builder().home(dir.path().join(name)).transports(transports);
            let (client, _) = builder.create(&password()).await.unwrap();
            let url = dial(&relay.reference().url.to_string(), n).parse().unwrap();
            client.add_server(&ServerReference { url, ..relay.reference().clone() }).await.unwrap();
            pair.push(client);
        }
        let [alice, bob] = <[Client; 2]>::try_from(pair).unwrap();
        let card = alice.new_card("bob", Duration::from_secs(3600), &password()).await.unwrap();
        bob.take_card(&CardFile::parse(&card.file).unwrap(), "alice", "", &password()).await.unwrap();
        let seen = seeing.seen;
        let world = Self { relay: Some(relay), start, alice, bob, seen, said: 0, _dir: dir };
        // Keys are confirmed both ways.
        world.rounds(3).await;
        world
    }

    async fn rounds(&self, n: usize) {
        for _ in 0..n {
            for client in [&self.bob, &self.alice] {
                let report = client.sync(Duration::ZERO).await.unwrap();
                assert!(report.problems.is_empty() && report.waiting.is_none(), "{report:?}");
            }
        }
    }

    /// What comes of the requests that bring each a text of the other, so many times.
    async fn talk(&mut self, n: usize) -> Seen {
        *self.seen.lock().unwrap() = Seen::default();
        for _ in 0..n {
            self.say().await;
            self.rounds(2).await;
        }
        *self.seen.lock().unwrap()
    }

    async fn say(&mut self) {
        for (client, other) in [(&self.alice, "bob"), (&self.bob, "alice")] {
            client.send(other, Content::text(0, format!("{}", self.said)).unwrap()).await.unwrap();
        }
        self.said += 1;
    }

    async fn restart(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.shutdown().await;
        }
        self.relay = Some((self.start)().start().await.unwrap());
        // Both at once: each may wait for an answer that does not come.
        self.say().await;
        let (one, other) = tokio::join!(self.alice.sync(Duration::ZERO), self.bob.sync(Duration::ZERO));
        one.and(other).unwrap();
    }

    /// Sessions come, carry everything, are forgotten by the relay, and come again.
    async fn goes_over_to_sessions(mut self) {
        let scenario = async {
            assert!(self.seen.lock().unwrap().to_key >= 4, "the tap sees what opens mailboxes and sessions");
            self.talk(2).await;
            for round in 0..2 {
                let seen = self.talk(3).await;
                assert_eq!(seen.to_key, 0, "no public-key work is left: {seen:?}, round {round}");
                assert!(seen.in_sessions >= 3 * 4, "{seen:?}, round {round}");
                if round == 0 {
                    self.restart().await;
                    self.talk(3).await;
                }
            }
            for (client, other) in [(&self.alice, "bob"), (&self.bob, "alice")] {
                let log = client.log(other, None, usize::MAX).await.unwrap();
                let texts: Vec<_> = log.iter().filter(|m| !m.outgoing).map(|m| m.content.as_text()).collect();
                let want: Vec<_> = (0..self.said).map(|n| n.to_string()).collect();
                assert_eq!(
                    texts,
                    want.iter().map(|text| Some(&**text)).collect::<Vec<_>>(),
                    "once, in order"
                );
            }
            self.relay.take().unwrap().shutdown().await;
        };
        tokio::time::timeout(PATIENCE, scenario).await.expect("it ends in time");
    }
}

fn same(url: &str, _person: usize) -> String {
    url.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    let memory = Memory::new();
    let relays = memory.clone();
    let relay = move |_: &ServerIdentity| Transports::new().with(relays.clone());
    World::new("memory://relay", relay, || memory.clone(), same).await.goes_over_to_sessions().await;
}

/// The relay is told its port since it has to be the same after it starts anew.
fn free() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, own_port().unwrap()).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http() {
    let relay = |_: &ServerIdentity| Transports::new().with(Http::default());
    World::new(&format!("http://{}", free()), relay, Http::default, same).await.goes_over_to_sessions().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes());
    let roots = chain.clone();
    let relay = move |_: &ServerIdentity| {
        let mut server = ServerConfig::default();
        server.identity = Some(Identity { chain: chain.clone(), key: key.clone().into() });
        Transports::new().with(Http::new(ClientConfig::default(), server).unwrap())
    };
    let people = || {
        let mut client = ClientConfig::default();
        client.roots = Roots::Only(roots.clone());
        Http::new(client, ServerConfig::default()).unwrap()
    };
    World::new(&format!("https://{}", free()), relay, people, same).await.goes_over_to_sessions().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udp() {
    let relay = |identity: &ServerIdentity| {
        let mut server = udp::ServerConfig::default();
        server.identity = Some(identity.skp().clone());
        Transports::new().with(Udp::new(udp::ClientConfig::default(), server))
    };
    World::new(&format!("udp://{}", free()), relay, Udp::default, same).await.goes_over_to_sessions().await;
}

/// Through mosquitto, which proves itself by this certificate where there is one.
async fn through_mosquitto(scheme: &str, address: SocketAddr, certificate: Option<&str>) {
    let roots = certificate.map(|pem| mqtt::Roots::Only(pem.as_bytes().to_vec())).unwrap_or_default();
    let config = move || {
        let mut client = mqtt::ClientConfig::default();
        client.broker.roots = roots.clone();
        client
    };
    let own = config.clone();
    let relay = move |identity: &ServerIdentity| {
        let mut server = mqtt::ServerConfig::default();
        server.broker.roots = own().broker.roots;
        server.identity = Some(identity.skp().clone());
        Transports::new().with(Mqtt::new(own(), server))
    };
    let people = || Mqtt::new(config(), mqtt::ServerConfig::default());
    let listen = format!("{scheme}://{address}/cats");
    World::new(&listen, relay, people, same).await.goes_over_to_sessions().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt() {
    let address = free();
    let Some(_broker) = Mosquitto::plain(address).unwrap() else { return };
    through_mosquitto("mqtt", address, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtts() {
    let (address, made) = (free(), rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap());
    let broker = Mosquitto::start(address, |folder: &Path| {
        let certificate = readable(folder, "certificate.pem", &made.cert.pem())?;
        let key = readable(folder, "key.pem", &made.signing_key.serialize_pem())?;
        let (certificate, key) = (certificate.display(), key.display());
        let listener = format!("allow_anonymous true\nlistener {} 127.0.0.1\n", address.port());
        Ok(format!("{listener}certfile {certificate}\nkeyfile {key}\n"))
    });
    let Some(_broker) = broker.unwrap() else { return };
    through_mosquitto("mqtts", address, Some(&made.cert.pem())).await;
}

/// On a cable and on a radio; what frames look like there makes no difference to sessions.
async fn on_a_line(options: &str) {
    let line = Line::new(3).unwrap();
    // The same value each time: a line stays open for a while after its listener is closed.
    let transports = Transports::new().with(Serial::new());
    let relay = move |_: &ServerIdentity| transports.clone();
    let dial = |_: &str, person: usize| line.url(person + 1, options);
    World::new(&line.url(0, options), relay, Serial::new, dial).await.goes_over_to_sessions().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serial_cable() {
    on_a_line("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serial_kiss() {
    on_a_line("?mode=kiss&rate=1000000&preamble=0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serial_transparent() {
    on_a_line("?mode=transparent&rate=1000000&preamble=0&lbt=0").await;
}

/// A scheme from outside, by the public API alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unix() {
    let dir = tempfile::tempdir().unwrap();
    let listen = format!("unix://{}", dir.path().join("relay.socket").display());
    let relay = |_: &ServerIdentity| Transports::new().with(unix::Unix);
    World::new(&listen, relay, || unix::Unix, same).await.goes_over_to_sessions().await;
}
