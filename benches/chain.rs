//! Deposits through chains of relays beside deposits to the mailbox server itself, each relay a process of its own on this
//! machine, over HTTP; and what one relay can forward, beside the X25519 multiplication that a packet cannot do without.
//!
//! `cargo bench --bench chain [-- [namespaces] [MESSAGES]]` (500; a mailbox has room for 600). Rounds take turns; relays have their defaults. The whole chain and the
//! load share this machine's cores, so the rate of a chain is less than that of relays that have one each. With `namespaces`, each relay and the load have
//! network namespaces of their own, joined by a bridge; then rates are lifted, which loopback is exempt from. That needs root.
//!
//! With `MEOWD=path` the relays are that program instead of this one with the library, over loopback only: what one `meowd`
//! forwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a bench")]

#[path = "common/exchange.rs"]
mod exchange;
#[path = "common/median.rs"]
mod median;
#[path = "common/namespaces.rs"]
mod namespaces;
#[path = "common/process.rs"]
mod process;

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use meow::core::crypto::{DhSecret, SigningKey, SystemRandom};
use meow::core::lane::ServerReference;
use meow::core::onion::{Delay, HopId, OnionClass, Step, seal_with_reply};
use meow::core::request::{
    Answer, ClearAnswer, Close, DESCRIBE, Deposit, PendingAnswer, Register, Request, RequestKind, SealingKey,
    seal_request,
};
use meow::core::transport::{Addresses, Endpoint, Frame};
use meow::core::wire::{Blob, Fixed, Text};
use meow::http::{ClientConfig, Http, ServerConfig};
use meow::server::{Admission, Hop, Relay, RelayLimits};
use meow::{EnabledTransports, Transports};

use exchange::{exchange, fresh};
use median::median;
use namespaces::{Machine, Net};
use process::{Process, cpu_us, folder, own};

/// At a time, where many are sent.
const MANY: usize = 32;
const ROUNDS: usize = 5;
/// The item that holds a text of 100 bytes.
const ITEM: usize = 240;
const LISTEN: &str = "MEOW_BENCH_LISTEN";
const HOPS: &str = "MEOW_BENCH_HOPS";
/// The relays and the number of the process of the second one, for the load.
const RELAYS: &str = "MEOW_BENCH_RELAYS";
const SECOND: &str = "MEOW_BENCH_SECOND";

#[tokio::main]
async fn main() {
    if let Ok(listen) = std::env::var(LISTEN) {
        return relay(&listen).await;
    }
    let messages = std::env::args().filter_map(|text| text.parse::<usize>().ok()).next().unwrap_or(500);
    if let Ok(relays) = std::env::var(RELAYS) {
        let relays: Vec<_> = relays.split_whitespace().map(|text| text.parse().unwrap()).collect();
        return measure(&relays, std::env::var(SECOND).unwrap().parse().unwrap(), messages).await;
    }
    if !std::env::args().any(|word| word == "namespaces") {
        let relays = Server::mesh([const { None }; 3]);
        let references: Vec<_> = relays.iter().map(|relay| relay.reference.clone()).collect();
        return measure(&references, relays[1].process.id, messages).await;
    }
    let mut net = Net::new();
    let [one, two, three, load] = [1, 2, 3, 4].map(|last| net.machine(last));
    let relays = Server::mesh([Some(&one), Some(&two), Some(&three)]);
    let references: Vec<_> = relays.iter().map(|relay| relay.reference.to_string()).collect();
    let mut load = load.own();
    load.env(RELAYS, references.join(" ")).env(SECOND, relays[1].process.id.to_string());
    assert!(load.arg(messages.to_string()).status().unwrap().success());
}

/// Sends, and says how long it took. The second relay's process has this number.
async fn measure(relays: &[ServerReference], second: u32, messages: usize) {
    let servers: Vec<_> = {
        let mut all = Vec::new();
        for reference in relays {
            all.push(Place::of(reference).await);
        }
        all
    };
    let [first, between, mailbox] = &servers[..] else { unreachable!() };
    let target = Arc::new(Mailbox::new(mailbox).await);
    let ways = [
        ("to the mailbox server itself", vec![]),
        ("through 1 server, back by it", vec![first, mailbox]),
        ("through 2 servers, back by 2", vec![first, between, mailbox]),
    ];
    let ways = ways.map(|(name, chain)| (name, Arc::new(Way::new(mailbox, &chain, Arc::clone(&target)))));

    // The chain opens its links, and every one of them is proven.
    for (_, way) in &ways {
        way.send(50, MANY).await;
    }
    let mut alone: [Vec<Duration>; 3] = Default::default();
    let mut rates: [Vec<f64>; 3] = Default::default();
    let (mut forwarding, mut busy, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for _ in 0..messages / 10 {
            for ((_, way), times) in ways.iter().zip(&mut alone) {
                times.push(way.one().await);
            }
        }
        for ((n, (_, way)), rates) in ways.iter().enumerate().zip(&mut rates) {
            let (before, began) = (cpu_us(second), Instant::now());
            way.send(messages, MANY).await;
            let wall = began.elapsed().as_secs_f64();
            rates.push(messages as f64 / wall);
            if n == 2 {
                // It forwards each packet there and each one back.
                let spent = cpu_us(second) - before;
                forwarding.push(spent / (2 * messages) as f64);
                busy.push(spent / 1e6 / wall);
            }
        }
        floor.push(multiplication());
    }
    println!(
        "{:<32} {:>9} {:>9} {:>15} {:>15} {:>12} {:>7}",
        "", "p50", "p99", "beside straight", "of p99", "32 at a time", "ratio"
    );
    let straight = median(rates[0].clone());
    alone.iter_mut().for_each(|times| times.sort());
    let at = |way: usize, share: usize| alone[way][alone[way].len() * share / 100].as_secs_f64() * 1000.0;
    for (n, ((name, _), rates)) in ways.iter().zip(&rates).enumerate() {
        let (p50, p99, rate) = (at(n, 50), at(n, 99), median(rates.clone()));
        let (beside, of_p99) = (p50 / at(0, 50), p99 / at(0, 99));
        println!(
            "{name:<32} {p50:>6.2} ms {p99:>6.2} ms {beside:>15.2} {of_p99:>15.2} {rate:>10.0}/s {:>7.2}",
            rate / straight
        );
    }
    // Between two servers and one lie two more stops, one there and one on the way back.
    let added = |share: usize| (at(2, share) - at(1, share)) / 2.0;
    println!(
        "added for each stop of packet or answer: {:.2} ms at p50, {:.2} at p99; beside a straight deposit {:.2} and {:.2}",
        added(50),
        added(99),
        added(50) / at(0, 50),
        added(99) / at(0, 99)
    );
    let (forward, floor) = (median(forwarding), median(floor));
    let wall = 2.0 * median(rates[2].clone());
    println!(
        "one relay forwarded {wall:.0} packets a second of wall time, {:.2} of a core busy: {forward:.0} us of processor time each, \
         {:.0}/s a core; one X25519: {floor:.0} us, {:.0}/s a core; ratio {:.2}",
        median(busy),
        1e6 / forward,
        1e6 / floor,
        forward / floor
    );
}

/// Microseconds of processor time of one X25519 multiplication.
fn multiplication() -> f64 {
    let on_cpu = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1000.0
    };
    let secret = DhSecret::generate(&mut SystemRandom).unwrap();
    let point = DhSecret::generate(&mut SystemRandom).unwrap().public();
    let before = on_cpu();
    for _ in 0..2000 {
        black_box(secret.agree(black_box(&point)).unwrap());
    }
    (on_cpu() - before) / 2000.0
}

/// A relay of this library with its defaults, which may dial this machine and those beside it.
async fn relay(listen: &str) {
    let mut client = ClientConfig::default();
    client.addresses = ["127.0.0.0/8", "10.78.0.0/24"]
        .into_iter()
        .fold(Addresses::public(), |addresses, block| addresses.and(block.parse().unwrap()));
    let dialling = Transports::new().with(Http::new(client, ServerConfig::default()).unwrap());
    let hops = std::env::var(HOPS).unwrap_or_default();
    let to = hops.split_whitespace().map(|text| text.parse::<ServerReference>().unwrap());
    let mut builder = Relay::builder().transports(Transports::enabled()).admission(Admission::Open);
    builder = builder.listen(listen.parse().unwrap()).data(".").unwrap();
    if !listen.contains("127.0.0.1") {
        let mut limits = RelayLimits::default();
        (limits.rate, limits.burst) = (1_000_000, 1_000_000);
        builder = builder.limits(limits);
    }
    if !hops.is_empty() {
        builder = builder.hop(to.fold(Hop::new(dialling), Hop::to));
    }
    let relay = builder.start().await.unwrap();
    println!("ready {}", relay.reference());
    std::future::pending().await
}

/// A relay as a process.
struct Server {
    process: Process,
    reference: ServerReference,
}

impl Server {
    /// Relays that all send on to each other, each on its machine.
    fn mesh(machines: [Option<&Machine>; 3]) -> Vec<Self> {
        // Held until all have one, so that they differ.
        let sockets = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let at: Vec<_> = machines
            .iter()
            .zip(&sockets)
            .map(|(machine, socket)| match machine {
                Some(machine) => format!("http://{}:8080", machine.address),
                None => format!("http://{}", socket.local_addr().unwrap()),
            })
            .collect();
        drop(sockets);
        // A first start makes their keys, so that each can be told of the others.
        let known: Vec<_> = at
            .iter()
            .zip(machines)
            .map(|(at, machine)| {
                let dir = folder();
                (Self::start(at, "", machine, Arc::clone(&dir)).reference.clone(), dir)
            })
            .collect();
        let others = |own: &str| {
            let all = known.iter().map(|(reference, _)| reference.to_string());
            all.filter(|reference| !reference.starts_with(own)).collect::<Vec<_>>().join(" ")
        };
        let all = at.iter().zip(&known).zip(machines);
        all.map(|((at, (_, dir)), machine)| Self::start(at, &others(at), machine, Arc::clone(dir))).collect()
    }

    fn start(listen: &str, hops: &str, machine: Option<&Machine>, dir: Arc<tempfile::TempDir>) -> Self {
        let mut program = match (std::env::var("MEOWD"), machine) {
            (Ok(meowd), None) => daemon(&meowd, listen, hops),
            (Ok(_), Some(_)) => panic!("MEOWD is for loopback"),
            (Err(_), machine) => machine.map_or_else(own, Machine::own),
        };
        let process = Process::start(program.env(LISTEN, listen).env(HOPS, hops), dir);
        Self { reference: process.said.parse().unwrap(), process }
    }
}

/// The ready program, which may dial this machine.
fn daemon(meowd: &str, listen: &str, hops: &str) -> Command {
    let mut program = Command::new(std::fs::canonicalize(meowd).unwrap());
    program.args(["run", "--data", ".", "--listen", listen, "--admission", "open"]);
    if !hops.is_empty() {
        program.args(["--hop", "--hop-allow", "127.0.0.0/8"]);
        program.args(hops.split_whitespace().flat_map(|hop| ["--hop-to", hop]));
    }
    program
}

/// A server and its key.
#[derive(Clone)]
struct Place {
    url: Endpoint,
    fingerprint: [u8; 32],
    key: SealingKey,
}

impl Place {
    async fn of(reference: &ServerReference) -> Self {
        let answer = exchange(&Http::default(), &reference.url, Frame::from_static(&DESCRIBE)).await;
        let ClearAnswer::Descriptor(signed) = ClearAnswer::from_packet(&answer).unwrap() else {
            panic!("refused")
        };
        let descriptor = signed.verified(&reference.fingerprint).unwrap();
        let key = *descriptor.online_key().unwrap();
        Self { url: reference.url.clone(), fingerprint: reference.fingerprint, key }
    }

    fn step(&self) -> Step {
        let id = HopId::of(&self.fingerprint);
        Step { id, number: self.key.number, key: self.key.key, delay: Delay::NONE }
    }

    fn seal(&self, kind: RequestKind) -> (Vec<u8>, PendingAnswer) {
        let request = Request { answer: 0, kind };
        seal_request(&request, &self.fingerprint, &self.key, false, &mut SystemRandom).unwrap()
    }
}

/// A mailbox that takes all deposits.
struct Mailbox {
    key: SigningKey,
    token: [u8; 16],
}

impl Mailbox {
    async fn new(at: &Place) -> Self {
        let key = SigningKey::generate(&mut SystemRandom).unwrap();
        let (mailbox, token) = (Self { key, token: fresh() }, [0; 64]);
        let name = mailbox.key.public();
        let register = Register {
            mailbox: name,
            token_hash: Fixed(Deposit::token_hash(&mailbox.token)),
            close_hash: Fixed(Close::key_hash(&name, &name)),
            invite: Text::default(),
            counter: 1,
            sig: Fixed(token),
        };
        let kind = RequestKind::Register(register.signed(&at.fingerprint, &mailbox.key).unwrap());
        let (packet, pending) = at.seal(kind);
        let answer = exchange(&Http::default(), &at.url, packet.into()).await;
        assert_eq!(pending.open(&answer).unwrap(), Answer::Done);
        mailbox
    }

    fn deposit(&self) -> RequestKind {
        RequestKind::Deposit(Deposit {
            mailbox: self.key.public(),
            token: Fixed(self.token),
            id: Fixed(fresh()),
            keep_secs: 0,
            item: Blob::new(vec![9; ITEM]).unwrap(),
        })
    }
}

/// A way to the mailbox server.
struct Way {
    http: Http,
    last: Place,
    first: Endpoint,
    there: Vec<Step>,
    back: Vec<Step>,
    target: Arc<Mailbox>,
}

impl Way {
    fn new(last: &Place, chain: &[&Place], target: Arc<Mailbox>) -> Self {
        let there: Vec<_> = chain.iter().map(|place| place.step()).collect();
        let back = there.iter().rev().skip(1).copied().collect();
        let first = chain.first().map_or(&last.url, |place| &place.url).clone();
        Self { http: Http::default(), last: last.clone(), first, there, back, target }
    }

    /// Sends so many, this many at a time; how long each took. Sealing does not count.
    async fn send(self: &Arc<Self>, count: usize, at_a_time: usize) -> Vec<Duration> {
        let next = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..at_a_time)
            .map(|_| {
                let (way, next) = (Arc::clone(self), Arc::clone(&next));
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while next.fetch_add(1, Relaxed) < count {
                        times.push(way.one().await);
                    }
                    times
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    }

    async fn one(&self) -> Duration {
        let (request, pending) = self.last.seal(self.target.deposit());
        if self.there.is_empty() {
            let began = Instant::now();
            let answer = exchange(&self.http, &self.first, request.into()).await;
            let took = began.elapsed();
            assert_eq!(pending.open(&answer).unwrap(), Answer::Done);
            return took;
        }
        let (packet, reply) =
            seal_with_reply(OnionClass::Small, &self.there, &self.back, &request, &mut SystemRandom).unwrap();
        let began = Instant::now();
        let answer = exchange(&self.http, &self.first, packet.into()).await;
        let took = began.elapsed();
        assert_eq!(pending.open(&reply.open(answer.to_vec()).expect("an answer")).unwrap(), Answer::Done);
        took
    }
}
