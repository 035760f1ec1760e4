//! The relay over HTTP, relay and load in two processes, beside a bare hyper server that writes the same bytes to a log,
//! many at a time, and syncs it before it answers.
//!
//! `cargo bench --bench relay [-- MAILBOXES [DEPOSITS]]` (100,000 and 20,000): rates, ratios, and the relay's processor
//! time for a deposit with 10 and with so many mailboxes. `-- memory`: resident memory idle and with 100,000 items of
//! 1 KiB. With `MEOWD=path` the relay is that program, else this one with the library.
//!
//! A text of 1 KiB is an item of 1,888 bytes and a packet of 2 KiB. Requests are sealed before the clock runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a bench")]

#[path = "common/exchange.rs"]
mod exchange;
#[path = "common/median.rs"]
mod median;
#[path = "common/process.rs"]
mod process;

use std::convert::Infallible;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response};
use hyper_util::rt::TokioIo;
use meow::core::crypto::{SigningKey, SystemRandom};
use meow::core::lane::ServerReference;
use meow::core::request::{
    Answer, ClearAnswer, Close, DESCRIBE, Deposit, PendingAnswer, Pull, Register, Request, RequestKind,
    SealingKey, seal_request,
};
use meow::core::transport::{Endpoint, Frame};
use meow::core::wire::{Blob, Fixed, Text};
use meow::http::Http;
use meow::server::{Relay, RelayLimits};
use meow::{EnabledTransports, Transports};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use exchange::{exchange, fresh};
use median::median;
use process::{Process, cpu_us, folder, own, proc};

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 3;
/// The item that holds a text of 1 KiB.
const ITEM: usize = 1888;
const SMALL_ANSWER: usize = 256;
const LARGE_ANSWER: usize = 32_768;
const ROLE: &str = "MEOW_BENCH_ROLE";

#[tokio::main]
async fn main() {
    match std::env::var(ROLE).as_deref() {
        Ok("relay") => return relay().await,
        Ok("bare") => return bare().await,
        _ => {}
    }
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if arguments.first().is_some_and(|a| a == "memory") {
        return memory().await;
    }
    let mut numbers = arguments.iter().filter_map(|a| a.parse::<usize>().ok());
    let (mailboxes, deposits) = (numbers.next().unwrap_or(100_000), numbers.next().unwrap_or(20_000));
    rates(mailboxes, deposits).await;
}

async fn rates(mailboxes: usize, deposits: usize) {
    let (bare, meow) = (Server::start("bare"), Server::start("relay"));
    let load = Load::new(&meow).await;
    let boxes = load.register(CONNECTIONS).await;
    println!("{:<38} {:>12} {:>12} {:>7}", "", "bare", "relay", "ratio");
    let (mut put, mut got) = (Ratio::default(), Ratio::default());
    for _ in 0..ROUNDS {
        let packets = load.deposits(&boxes, deposits);
        let theirs = rate(bare.url.clone(), packets.iter().map(|(packet, _)| packet.clone()).collect()).await;
        put.add(theirs, load.deposit(packets).await);
        // a page of 32 KiB holds 17 items, and the last one of a mailbox is empty
        let pulls = deposits / 17 + boxes.len();
        let pages = rate(bare.url.clone(), vec![Frame::from(vec![7; 512]); pulls]).await;
        got.add(pages * deposits as f64 / pulls as f64, load.drain(&boxes).await);
    }
    put.print("deposits, confirmed");
    got.print("items, pulled and acknowledged");
    for count in [10, mailboxes] {
        let boxes = load.register(count).await;
        let mut cost = Vec::new();
        for _ in 0..ROUNDS {
            let packets = load.deposits(&boxes, deposits);
            let before = cpu_us(meow.process.id);
            load.deposit(packets).await;
            cost.push((cpu_us(meow.process.id) - before) / deposits as f64);
        }
        let name = format!("relay's time for one of {count} boxes");
        println!("{name:<38} {:>12} {:>9.1} us", "", median(cost));
    }
}

async fn memory() {
    const ITEMS: usize = 100_000;
    let meow = Server::start("relay");
    let idle = meow.resident_mib();
    let load = Load::new(&meow).await;
    let boxes = load.register(100).await;
    for _ in 0..10 {
        load.deposit(load.deposits(&boxes, ITEMS / 10)).await;
    }
    println!("resident: idle {idle:.1} MiB, with {ITEMS} items of 1 KiB {:.1} MiB", meow.resident_mib());
}

/// A relay of this library with its defaults, but for the items of one mailbox: ten take all deposits here.
async fn relay() {
    let dir = std::env::current_dir().unwrap();
    let mut limits = RelayLimits::default();
    limits.mailbox.mailbox_items = 1_000_000;
    limits.mailbox.mailbox_bytes = 1 << 32;
    let builder = Relay::builder().transports(Transports::enabled()).limits(limits);
    let builder = builder.listen("http://127.0.0.1:0".parse().unwrap()).data(dir).unwrap();
    let relay = builder.start().await.unwrap();
    println!("ready {}", relay.reference());
    std::future::pending().await
}

/// What waits for the log: the bytes, and who wants to know.
type Pending = (Bytes, oneshot::Sender<()>);

async fn bare() {
    let (log, queue) = mpsc::channel::<Pending>(1024);
    std::thread::spawn(move || group_commit(queue));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("ready http://{}", listener.local_addr().unwrap());
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let log = log.clone();
        let service = service_fn(move |request: HttpRequest<Incoming>| {
            let log = log.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let (done, synced) = oneshot::channel();
                // a pull is smaller than a deposit, and its answer larger
                let answer = if body.len() > 1024 { SMALL_ANSWER } else { LARGE_ANSWER };
                log.send((body, done)).await.unwrap();
                synced.await.unwrap();
                let mut framed = u32::try_from(answer).unwrap().to_be_bytes().to_vec();
                framed.resize(4 + answer, 7);
                let response = Response::builder().header("content-type", "application/octet-stream");
                Ok::<_, Infallible>(response.body(Full::new(Bytes::from(framed))).unwrap())
            }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        tokio::spawn(connection);
    }
}

/// Writes whatever waits, syncs once, confirms all of it.
fn group_commit(mut queue: mpsc::Receiver<Pending>) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open("log").unwrap();
    let mut batch = Vec::new();
    while queue.blocking_recv_many(&mut batch, 256) > 0 {
        let bytes: Vec<u8> = batch.iter().flat_map(|(body, _)| body.iter().copied()).collect();
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        for (_, done) in batch.drain(..) {
            // who asked may have gone
            let _ = done.send(());
        }
    }
}

/// Who is measured.
struct Server {
    process: Process,
    url: Endpoint,
    reference: Option<ServerReference>,
}

impl Server {
    fn start(role: &str) -> Self {
        let mut command = match std::env::var("MEOWD") {
            Ok(meowd) if role == "relay" => {
                let mut command = Command::new(std::fs::canonicalize(meowd).unwrap());
                command.args(["run", "--data", ".", "--listen", "http://127.0.0.1:0"]);
                command
            }
            _ => own(),
        };
        let process = Process::start(command.env(ROLE, role), folder());
        let reference: Option<ServerReference> = process.said.parse().ok();
        let url = reference.as_ref().map_or_else(|| process.said.parse().unwrap(), |r| r.url.clone());
        Self { process, url, reference }
    }

    fn resident_mib(&self) -> f64 {
        let status = proc(self.process.id, "status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

/// A mailbox and what its owner knows.
struct Mailbox {
    key: SigningKey,
    token: [u8; 16],
    counter: AtomicUsize,
}

struct Load {
    url: Endpoint,
    server: [u8; 32],
    key: SealingKey,
}

type Sealed = (Frame, PendingAnswer);

impl Load {
    async fn new(server: &Server) -> Self {
        let reference = server.reference.as_ref().unwrap();
        let answer = exchange(&Http::default(), &server.url, Frame::from(DESCRIBE.to_vec())).await;
        let ClearAnswer::Descriptor(signed) = ClearAnswer::from_packet(&answer).unwrap() else {
            panic!("refused")
        };
        let descriptor = signed.verified(&reference.fingerprint).unwrap();
        let key = *descriptor.online_key().unwrap();
        Self { url: server.url.clone(), server: reference.fingerprint, key }
    }

    fn seal(&self, kind: RequestKind, answer: u8) -> Sealed {
        let request = Request { answer, kind };
        let (packet, pending) =
            seal_request(&request, &self.server, &self.key, false, &mut SystemRandom).unwrap();
        (packet.into(), pending)
    }

    async fn register(&self, count: usize) -> Vec<Arc<Mailbox>> {
        let make = |_| {
            let (key, token) = (SigningKey::generate(&mut SystemRandom).unwrap(), fresh());
            Arc::new(Mailbox { key, token, counter: AtomicUsize::new(1) })
        };
        let boxes: Vec<_> = (0..count).map(make).collect();
        let requests = boxes.iter().map(|mailbox| {
            let name = mailbox.key.public();
            let register = Register {
                mailbox: name,
                token_hash: Fixed(Deposit::token_hash(&mailbox.token)),
                close_hash: Fixed(Close::key_hash(&name, &name)),
                invite: Text::default(),
                counter: 1,
                sig: Fixed([0; 64]),
            };
            self.seal(RequestKind::Register(register.signed(&self.server, &mailbox.key).unwrap()), 0)
        });
        self.confirmed(requests.collect()).await;
        boxes
    }

    /// Sealed deposits to these mailboxes in turn.
    fn deposits(&self, boxes: &[Arc<Mailbox>], count: usize) -> Vec<Sealed> {
        let item = Blob::new(vec![9; ITEM]).unwrap();
        let spread = boxes.iter().cycle().step_by(boxes.len() / count.min(boxes.len()));
        let kind = |mailbox: &Arc<Mailbox>| {
            let (mailbox, token) = (mailbox.key.public(), Fixed(mailbox.token));
            RequestKind::Deposit(Deposit {
                mailbox,
                token,
                id: Fixed(fresh()),
                keep_secs: 0,
                item: item.clone(),
            })
        };
        spread.take(count).map(|mailbox| self.seal(kind(mailbox), 0)).collect()
    }

    async fn deposit(&self, packets: Vec<Sealed>) -> f64 {
        let (count, began) = (packets.len(), Instant::now());
        self.confirmed(packets).await;
        count as f64 / began.elapsed().as_secs_f64()
    }

    /// Sends over all connections; every answer must be `Done`.
    async fn confirmed(&self, packets: Vec<Sealed>) {
        let mut lots: Vec<Vec<Sealed>> = (0..CONNECTIONS).map(|_| Vec::new()).collect();
        packets.into_iter().enumerate().for_each(|(n, packet)| lots[n % CONNECTIONS].push(packet));
        let http = Http::default();
        let tasks: Vec<_> = lots
            .into_iter()
            .map(|lot| {
                let (http, url) = (http.clone(), self.url.clone());
                tokio::spawn(async move {
                    for (packet, pending) in lot {
                        let answer = exchange(&http, &url, packet).await;
                        assert_eq!(pending.open(&answer).unwrap(), Answer::Done);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    /// Pulls everything, acknowledging each page with the next pull. Sealing and signing count here.
    async fn drain(&self, boxes: &[Arc<Mailbox>]) -> f64 {
        let (http, count, began) = (Http::default(), Arc::new(AtomicUsize::new(0)), Instant::now());
        let tasks: Vec<_> = boxes
            .iter()
            .map(|mailbox| {
                let (http, mailbox, count) = (http.clone(), Arc::clone(mailbox), Arc::clone(&count));
                let load = Self { url: self.url.clone(), server: self.server, key: self.key };
                tokio::spawn(async move {
                    let mut acknowledge = 0;
                    loop {
                        let counter = mailbox.counter.fetch_add(1, Relaxed) as u64 + 1;
                        let (name, sig) = (mailbox.key.public(), Fixed([0; 64]));
                        let pull = Pull { mailbox: name, counter, acknowledge, wait_secs: 0, sig };
                        let kind = RequestKind::Pull(pull.signed(&load.server, &mailbox.key).unwrap());
                        let (packet, pending) = load.seal(kind, 4);
                        let answer = pending.open(&exchange(&http, &load.url, packet).await).unwrap();
                        let Answer::Items(page) = answer else { panic!("refused") };
                        let Some(last) = page.items.last() else { return };
                        acknowledge = last.number;
                        count.fetch_add(page.items.len(), Relaxed);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        count.load(Relaxed) as f64 / began.elapsed().as_secs_f64()
    }
}

/// Requests a second of whoever answers one packet with one packet.
async fn rate(url: Endpoint, packets: Vec<Frame>) -> f64 {
    let (http, next, packets) = (Http::default(), Arc::new(AtomicUsize::new(0)), Arc::new(packets));
    let count = packets.len();
    let began = Instant::now();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (http, url, next, packets) =
                (http.clone(), url.clone(), Arc::clone(&next), Arc::clone(&packets));
            tokio::spawn(async move {
                while let Some(packet) = packets.get(next.fetch_add(1, Relaxed)) {
                    exchange(&http, &url, packet.clone()).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    count as f64 / began.elapsed().as_secs_f64()
}

#[derive(Default)]
struct Ratio {
    theirs: Vec<f64>,
    ours: Vec<f64>,
}

impl Ratio {
    fn add(&mut self, theirs: f64, ours: f64) {
        self.theirs.push(theirs);
        self.ours.push(ours);
    }

    fn print(self, name: &str) {
        let ratio = median(self.theirs.iter().zip(&self.ours).map(|(theirs, ours)| ours / theirs).collect());
        println!("{name:<38} {:>10.0}/s {:>10.0}/s {ratio:>7.2}", median(self.theirs), median(self.ours));
    }
}
