//! Over each kind of link, the relay, the broker or the cable dies in the middle of a message: the way there is held after so
//! many bytes of a request or of an answer, the victim is killed with SIGKILL (or pulled), comes back, and the way goes on.
//! Nothing is lost, nothing comes twice.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use meow::serial::Serial;
use meow::{CardFile, Client, Content, EnabledTransports, Transports, Unlock, http, mqtt};
use meow_testkit::mqtt::{Mosquitto, readable};
use meow_testkit::transport::line::Line;
use meow_testkit::transport::port::own_port;
use tokio::time::timeout;

use crate::failover::{person, texts};
use crate::proxy::Proxy;
use crate::support::{PASSWORD, Relay, World};

/// Long enough for a slow machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// Where the way is held: less than a message of [`text`] takes, in its framing.
const REQUEST: u64 = 4000;
/// Less than what brings it to its receiver takes, and more than the answers that bring nothing.
const ANSWER: u64 = 3000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Relay,
    Broker,
    Cable,
}

/// In the middle of what, as seen by those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Request,
    Answer,
}

/// What people and the relay talk over, and where it can be held.
enum Way {
    /// The people's proxy before the relay.
    Direct(Proxy),
    /// A broker, a proxy before it for the people and one for the relay.
    Broker {
        broker: Mosquitto,
        people: Proxy,
        relay: Proxy,
    },
    Line(Line),
}

/// A relay on one kind of link, and two people who are at its far end.
struct Scene {
    world: World,
    way: Way,
    relay: Relay,
    authority: PathBuf,
    args: Vec<String>,
    /// Alice and Bob.
    people: [Client; 2],
    /// How many texts each has said.
    said: [usize; 2],
    /// Bob comes by http: held requests on a radio go on waiting when others stay unanswered.
    radio: bool,
}

/// A text that takes several packets of a radio, datagrams of QUIC, reads of a socket.
fn text(number: usize) -> String {
    format!("{number}: {}", "purr ".repeat(1000))
}

impl Scene {
    /// A relay by this scheme, with these options of a serial line. `None`, loudly, without mosquitto.
    async fn new(scheme: &str, options: &str) -> Option<Self> {
        let world = World::new();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (certificate, private) = (made.cert.pem(), made.signing_key.serialize_pem());
        let (authority, key) = (world.path("chain.pem"), world.path("key.pem"));
        fs::write(&authority, &certificate).unwrap();
        fs::write(&key, &private).unwrap();

        // The relay is told its port since it has to be the same after the kill.
        let port = SocketAddr::from((Ipv4Addr::LOCALHOST, own_port().unwrap()));
        let way = match scheme {
            "mqtt" | "mqtts" => {
                let broker = Mosquitto::start(port, |folder| {
                    let mut config = format!("allow_anonymous true\nlistener {} 127.0.0.1\n", port.port());
                    if scheme == "mqtts" {
                        let certificate = readable(folder, "certificate.pem", &certificate)?;
                        let key = readable(folder, "key.pem", &private)?;
                        config += &format!("certfile {}\nkeyfile {}\n", certificate.display(), key.display());
                    }
                    Ok(config)
                });
                let (people, relay) = (Proxy::tcp(port.port()).await, Proxy::tcp(port.port()).await);
                Way::Broker { broker: broker.unwrap()?, people, relay }
            }
            "serial" => Way::Line(Line::paced(3, Some(921_600)).unwrap()),
            "udp" => Way::Direct(Proxy::udp(port.port()).await),
            _ => Way::Direct(Proxy::tcp(port.port()).await),
        };
        let mut args = vec!["--admission".to_owned(), "open".to_owned()];
        let mut take = |option: &str, value: String| args.extend([option.to_owned(), value]);
        match &way {
            Way::Direct(people) => {
                take("--listen", format!("{scheme}://{port}"));
                take("--public-url", format!("{scheme}://{}", people.address));
                if scheme == "https" {
                    take("--tls-cert", authority.display().to_string());
                    take("--tls-key", key.display().to_string());
                }
            }
            Way::Broker { people, relay, .. } => {
                take("--listen", format!("{scheme}://{}/cats", relay.address));
                take("--public-url", format!("{scheme}://{}/cats", people.address));
            }
            Way::Line(line) => {
                take("--listen", line.url(0, options));
                take("--listen", format!("http://{port}"));
            }
        }
        let relay = start(&world, &authority, &args);

        let mut https = http::ClientConfig::default();
        https.roots = http::Roots::Only(certificate.clone().into_bytes());
        let mut brokers = mqtt::ClientConfig::default();
        brokers.broker.roots = mqtt::Roots::Only(certificate.into_bytes());
        let transports = Transports::enabled()
            .with(http::Http::new(https, http::ServerConfig::default()).unwrap())
            .with(mqtt::Mqtt::new(brokers, mqtt::ServerConfig::default()));
        let (mut pair, radio) = (Vec::new(), options.contains("rate="));
        for (station, name) in [(1, "alice"), (2, "bob")] {
            let (transports, reference) = match &way {
                Way::Line(_) if station == 2 && radio => {
                    (transports.clone(), format!("http://{port}#skp={}", relay.fingerprint()))
                }
                // With the line as the only way.
                Way::Line(line) => {
                    let reference = format!("{}#skp={}", line.url(station, options), relay.fingerprint());
                    (Transports::new().with(Serial::new()), reference)
                }
                _ => (transports.clone(), relay.reference.clone()),
            };
            pair.push(person(&world, name, &transports, &reference).await);
        }
        let people @ [alice, bob] = &<[Client; 2]>::try_from(pair).unwrap();
        let password = Unlock::password(PASSWORD);
        let card = alice.new_card("bob", Duration::from_secs(3600), &password).await.unwrap();
        bob.take_card(&CardFile::parse(&card.file).unwrap(), "alice", "", &password).await.unwrap();
        let mut scene =
            Self { world, way, relay, authority, args, people: people.clone(), said: [0; 2], radio };
        for from in [0, 1] {
            scene.say(from).await;
            scene.arrives(from, 1).await;
        }
        Some(scene)
    }

    async fn say(&mut self, from: usize) {
        let to = ["bob", "alice"][from];
        self.people[from].send(to, Content::text(0, text(self.said[from])).unwrap()).await.unwrap();
        self.said[from] += 1;
    }

    /// The last ones that one has said reach the other, and nothing else.
    async fn arrives(&self, from: usize, count: usize) {
        let want: Vec<_> = (self.said[from] - count..self.said[from]).map(text).collect();
        assert_eq!(texts(&self.people[1 - from], count).await, want, "each once, in order");
    }

    /// Holds the way before the victim once the message is half there.
    fn hold(&self, victim: Victim, moment: Moment) {
        let bytes = if moment == Moment::Request { REQUEST } else { ANSWER };
        match &self.way {
            Way::Direct(people) => people.holds_after(usize::from(moment == Moment::Answer), bytes as i64),
            Way::Broker { people, .. } if victim == Victim::Broker => {
                people.holds_after(usize::from(moment == Moment::Answer), bytes as i64);
            }
            // What the people ask comes to the relay from the broker.
            Way::Broker { relay, .. } => {
                relay.holds_after(usize::from(moment == Moment::Request), bytes as i64);
            }
            Way::Line(line) => line.hold_after(usize::from(moment == Moment::Request), bytes),
        }
    }

    async fn held(&self, victim: Victim) {
        let held = async {
            match &self.way {
                Way::Direct(people) => people.held().await,
                Way::Broker { people, .. } if victim == Victim::Broker => people.held().await,
                Way::Broker { relay, .. } => relay.held().await,
                Way::Line(line) => line.held().await,
            }
        };
        timeout(PATIENCE, held).await.expect("a message is on its way");
    }

    fn kill(&mut self, victim: Victim) {
        match (victim, &mut self.way) {
            (Victim::Relay, _) => {
                self.relay.stop();
                if let Way::Broker { relay, .. } = &self.way {
                    // It comes back by the way that was held.
                    relay.goes_on();
                }
                let again = start(&self.world, &self.authority, &self.args);
                assert_eq!(again.reference, self.relay.reference);
                self.relay = again;
            }
            (Victim::Broker, Way::Broker { broker, .. }) => {
                broker.kill().unwrap();
                broker.again().unwrap();
            }
            (Victim::Cable, Way::Line(line)) => {
                line.unplug(0);
                line.plug(0).unwrap();
            }
            _ => panic!("no {victim:?} here"),
        }
    }

    fn goes_on(&self) {
        match &self.way {
            Way::Direct(people) => people.goes_on(),
            Way::Broker { people, relay, .. } => {
                people.goes_on();
                relay.goes_on();
            }
            Way::Line(line) => line.go_on(),
        }
    }

    /// It is killed while a message from Alice, or to her, is half there, with another one behind it.
    async fn survives(&mut self, victim: Victim, moment: Moment) {
        let from = usize::from(moment == Moment::Answer);
        self.hold(victim, moment);
        self.say(from).await;
        self.say(from).await;
        self.held(victim).await;
        self.kill(victim);
        self.goes_on();
        // Alone on a radio, Alice's held request ends long after the relay has forgotten it; the last death is of that kind.
        let both = !(self.radio && victim == Victim::Relay && moment == Moment::Request);
        if both {
            self.say(1 - from).await;
        }
        self.arrives(from, 2).await;
        if both {
            self.arrives(1 - from, 1).await;
        }
    }
}

fn start(world: &World, authority: &Path, args: &[String]) -> Relay {
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    world.relay_trusting("relay", authority, &args)
}

async fn all_survive(scheme: &str, options: &str, victims: &[Victim]) {
    let Some(mut scene) = Scene::new(scheme, options).await else { return };
    for &victim in victims {
        for moment in [Moment::Answer, Moment::Request] {
            scene.survives(victim, moment).await;
        }
    }
    for (from, other) in [(0, "alice"), (1, "bob")] {
        let log = scene.people[1 - from].log(other, None, usize::MAX).await.unwrap();
        let received = log.iter().filter(|message| !message.outgoing).count();
        assert_eq!(received, scene.said[from], "nothing twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a49_http_outlives_its_relay() {
    all_survive("http", "", &[Victim::Relay]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a49_https_outlives_its_relay() {
    all_survive("https", "", &[Victim::Relay]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a49_udp_outlives_its_relay() {
    all_survive("udp", "", &[Victim::Relay]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_mqtt_outlives_its_relay_and_its_broker() {
    all_survive("mqtt", "", &[Victim::Broker, Victim::Relay]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_mqtts_outlives_its_relay_and_its_broker() {
    all_survive("mqtts", "", &[Victim::Broker, Victim::Relay]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a49_a_cable_outlives_its_relay_and_being_pulled() {
    all_survive("serial", "?baud=921600", &[Victim::Cable, Victim::Relay]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a49_kiss_outlives_its_relay_and_its_cable() {
    all_survive("serial", "?mode=kiss&rate=921600&preamble=0", &[Victim::Cable, Victim::Relay]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a49_transparent_outlives_its_relay_and_its_cable() {
    let options = "?mode=transparent&rate=921600&preamble=0&lbt=5";
    all_survive("serial", options, &[Victim::Cable, Victim::Relay]).await;
}
