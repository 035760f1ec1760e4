//! What a relay pays for packets that nobody should send it (ATTACKS 19): its processor time for each byte that comes, beside
//! that for honest deposits of the same length in the same run.
//!
//! `cargo bench --bench junk [-- PACKETS]` (2,000 of each kind and round). The relay has its defaults; load and relay are two
//! processes over HTTP on loopback, which rates do not touch: for everybody else they bound what junk there can be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a bench")]

#[path = "common/exchange.rs"]
mod exchange;
#[path = "common/median.rs"]
mod median;
#[path = "common/process.rs"]
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use meow::core::crypto::{Random, SigningKey, SystemRandom};
use meow::core::lane::ServerReference;
use meow::core::onion::{Delay, HopId, OnionClass, Step, seal};
use meow::core::request::{
    Answer, ClearAnswer, Close, DESCRIBE, Deposit, Pull, Register, Request, RequestKind, SealingKey,
    SessionBy, SessionOpen, seal_request,
};
use meow::core::session::ShareSecret;
use meow::core::transport::{DynTransport, Endpoint, Frame};
use meow::core::wire::{Blob, Fixed, Text};
use meow::http::Http;
use meow::server::{Admission, Hop, Relay, RelayLimits};
use meow::{EnabledTransports, Transports};

use exchange::{exchange, fresh};
use median::median;
use process::{Process, cpu_us, folder, own};

const ROUNDS: usize = 5;
/// At a time.
const MANY: usize = 16;
const ROLE: &str = "MEOW_BENCH_ROLE";

#[tokio::main]
async fn main() {
    if std::env::var_os(ROLE).is_some() {
        return relay().await;
    }
    let packets = std::env::args().filter_map(|text| text.parse::<usize>().ok()).next().unwrap_or(2000);
    let process = Process::start(own().env(ROLE, "relay"), folder());
    let load = Arc::new(Load::new(process.said.parse().unwrap()).await);
    let mut costs = vec![Vec::new(); KINDS.len()];
    for _ in 0..ROUNDS {
        for ((kind, _), costs) in KINDS.iter().zip(&mut costs) {
            let all: Vec<_> = (0..packets).map(|_| Frame::from(load.packet(*kind))).collect();
            let bytes: usize = all.iter().map(Frame::len).sum();
            let before = cpu_us(process.id);
            load.send(all).await;
            costs.push((cpu_us(process.id) - before, bytes));
        }
    }
    println!("{:<58} {:>7} {:>11} {:>10} {:>7}", "", "bytes", "us a packet", "ns a byte", "ratio");
    let honest = |bytes: usize| {
        let fits = KINDS
            .iter()
            .zip(&costs)
            .find(|((kind, _), costs)| matches!(kind, Kind::Deposit(_)) && costs[0].1 / packets == bytes);
        fits.map(|(_, costs)| median(costs.iter().map(|(us, _)| *us).collect()))
    };
    for ((_, name), costs) in KINDS.iter().zip(&costs) {
        let (us, bytes) = (median(costs.iter().map(|(us, _)| *us).collect()), costs[0].1);
        let each = us / packets as f64;
        // Where no deposit has that length, beside the smallest one, for each byte.
        let beside =
            [bytes / packets, 512].into_iter().find_map(|len| Some(honest(len)? / (len * packets) as f64));
        let ratio = us / bytes as f64 / beside.expect("a deposit of 512 bytes is among them");
        println!(
            "{name:<58} {:>7} {each:>11.1} {:>10.1} {ratio:>7.2}",
            bytes / packets,
            1000.0 * us / bytes as f64
        );
    }
}

#[derive(Clone, Copy)]
enum Kind {
    /// Honest, with an item of this length.
    Deposit(usize),
    /// Random bytes of a length that packets have.
    Noise(usize),
    /// Looks sealed to the relay's key, and does not open.
    Sealed(usize),
    /// Opens, and has a wrong signature.
    Signature,
    /// Opens, and asks for a session with a wrong signature.
    Session,
    /// An onion packet with a hint that fits, and nothing else.
    Onion(OnionClass),
    /// A whole onion packet, with noise for the request at its end.
    Delivered,
}

const KINDS: [(Kind, &str); 13] = [
    (Kind::Deposit(240), "an honest deposit"),
    (Kind::Deposit(1800), "an honest deposit"),
    (Kind::Deposit(32_000), "an honest deposit"),
    (Kind::Noise(512), "noise"),
    (Kind::Noise(2048), "noise"),
    (Kind::Noise(32_768), "noise"),
    (Kind::Sealed(512), "sealed to the right key, does not open"),
    (Kind::Sealed(2048), "sealed to the right key, does not open"),
    (Kind::Sealed(32_768), "sealed to the right key, does not open"),
    (Kind::Signature, "a pull that is signed for another server"),
    (Kind::Session, "a wish for a session that is signed for another server"),
    (Kind::Onion(OnionClass::Small), "an onion packet whose MAC does not hold"),
    (Kind::Delivered, "an onion packet with noise inside, its tag made durable"),
];

struct Load {
    http: Http,
    url: Endpoint,
    server: [u8; 32],
    key: SealingKey,
    owner: SigningKey,
    token: [u8; 16],
}

impl Load {
    async fn new(reference: ServerReference) -> Self {
        let http = Http::default();
        let answer = exchange(&http, &reference.url, Frame::from_static(&DESCRIBE)).await;
        let ClearAnswer::Descriptor(signed) = ClearAnswer::from_packet(&answer).unwrap() else {
            panic!("refused")
        };
        let key = *signed.verified(&reference.fingerprint).unwrap().online_key().unwrap();
        let owner = SigningKey::generate(&mut SystemRandom).unwrap();
        let load =
            Self { http, url: reference.url, server: reference.fingerprint, key, owner, token: fresh() };
        let name = load.owner.public();
        let register = Register {
            mailbox: name,
            token_hash: Fixed(Deposit::token_hash(&load.token)),
            close_hash: Fixed(Close::key_hash(&name, &name)),
            invite: Text::default(),
            counter: 1,
            sig: Fixed([0; 64]),
        };
        let request = Request {
            answer: 0,
            kind: RequestKind::Register(register.signed(&load.server, &load.owner).unwrap()),
        };
        let (packet, pending) =
            seal_request(&request, &load.server, &load.key, false, &mut SystemRandom).unwrap();
        let answer = exchange(&load.http, &load.url, packet.into()).await;
        assert_eq!(pending.open(&answer).unwrap(), Answer::Done);
        load
    }

    fn sealed(&self, kind: RequestKind) -> Vec<u8> {
        let request = Request { answer: 0, kind };
        seal_request(&request, &self.server, &self.key, false, &mut SystemRandom).unwrap().0
    }

    fn packet(&self, kind: Kind) -> Vec<u8> {
        let noise = |len: usize| {
            let mut bytes = vec![0; len];
            SystemRandom.fill(&mut bytes).unwrap();
            bytes
        };
        let mailbox = self.owner.public();
        match kind {
            Kind::Deposit(len) => self.sealed(RequestKind::Deposit(Deposit {
                mailbox,
                token: Fixed(self.token),
                id: Fixed(fresh()),
                keep_secs: 0,
                item: Blob::new(noise(len)).unwrap(),
            })),
            Kind::Noise(len) => noise(len),
            Kind::Sealed(len) => {
                let honest = self.packet(Kind::Deposit(240));
                // Suite, key number and a point that is one; all behind it is noise.
                let head = 37;
                [&honest[..head], &noise(len - head)].concat()
            }
            Kind::Signature => {
                let pull = Pull { mailbox, counter: 9, acknowledge: 0, wait_secs: 0, sig: Fixed([0; 64]) };
                self.sealed(RequestKind::Pull(pull.signed(&[9; 32], &self.owner).unwrap()))
            }
            Kind::Session => {
                let share = ShareSecret::fat(&mut SystemRandom).unwrap().share();
                let by = SessionBy::Owner { counter: 9, sig: Fixed([0; 64]) };
                let body = SessionOpen { mailbox, by, share }.signed(&[9; 32], &self.owner).unwrap();
                self.sealed(RequestKind::SessionOpen(body))
            }
            Kind::Onion(class) => {
                let mut packet = self.onion(class);
                // Behind the suite, the hint and the point.
                packet[34..].copy_from_slice(&noise(class.len() - 34));
                packet
            }
            Kind::Delivered => self.onion(OnionClass::Small),
        }
    }

    fn onion(&self, class: OnionClass) -> Vec<u8> {
        let id = HopId::of(&self.server);
        let step = Step { id, number: self.key.number, key: self.key.key, delay: Delay::NONE };
        seal(class, &[step], &fresh(), &mut SystemRandom).unwrap()
    }

    /// All of these, many at a time, each with its answer, whatever it says.
    async fn send(self: &Arc<Self>, packets: Vec<Frame>) {
        let (packets, next) = (Arc::new(packets), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..MANY)
            .map(|_| {
                let (load, packets, next) = (Arc::clone(self), Arc::clone(&packets), Arc::clone(&next));
                tokio::spawn(async move {
                    while let Some(packet) = packets.get(next.fetch_add(1, Relaxed)) {
                        let mut link = DynTransport::connect(&load.http, &load.url).await.unwrap();
                        link.tx.send(packet.clone()).await.unwrap();
                        link.tx.finish().await.unwrap();
                        link.rx.recv().await.unwrap().expect("an answer");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}

/// A relay that takes everything, and has room for all deposits of the run.
async fn relay() {
    let mut limits = RelayLimits::default();
    limits.mailbox.mailbox_items = 1_000_000;
    limits.mailbox.mailbox_bytes = 1 << 32;
    let builder =
        Relay::builder().transports(Transports::enabled()).admission(Admission::Open).limits(limits);
    let builder = builder.listen("http://127.0.0.1:0".parse().unwrap()).data(".").unwrap();
    let relay = builder.hop(Hop::new(Transports::new().with(Http::default()))).start().await.unwrap();
    println!("ready {}", relay.reference());
    std::future::pending().await
}
