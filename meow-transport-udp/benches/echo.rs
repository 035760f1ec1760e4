//! Echo of 1 KiB over streams of one connection: this crate beside bare quinn, in one process and one run.
//!
//! `cargo bench -p meow-transport-udp --bench echo [-- SECONDS] [bare|meow]` prints, with one and with 64 streams at a
//! time, requests per second (the best of some rounds), the median latency of a request and processor time per request
//! (of client and server together, and less moved by other work on the machine), each with its ratio: above 1 means
//! better than bare quinn. A name of a side (for a profiler, say) leaves the other one out.
//!
//! Each request is a stream of its own on both sides: opened, written, finished, and its answer read to the end. Both
//! use the same TLS, the same windows and the same runtime of two workers; the bare server handles a stream in a task, as
//! Meow's does.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meow_core::crypto::{SigningKey, SystemRandom};
use meow_core::transport::{DynTransport, Endpoint, Link};
use meow_transport_udp::{ClientConfig, ServerConfig, Udp};

#[path = "../tests/common/bare.rs"]
mod bare;

const SIZE: usize = 1024;
const ROUNDS: usize = 5;

fn main() {
    let named = |side: &str| std::env::args().any(|text| text == side);
    let (with_bare, with_meow) = (!named("meow"), !named("bare"));
    let seconds = std::env::args().filter_map(|text| text.parse::<f64>().ok()).next().unwrap_or(1.0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let address = bare_server();
        let endpoint = meow_server().await;
        for streams in [1, 64] {
            let (mut bare_sum, mut meow_sum) = (Figures::default(), Figures::default());
            for _ in 0..ROUNDS {
                if with_bare {
                    let connection = bare::connect(&bare::client(), address).await;
                    bare_sum.add(load(streams, seconds, || Bare(connection.clone(), payload())).await);
                }
                if with_meow {
                    let udp = Udp::default();
                    // Dialled beforehand, as the bare one is.
                    drop(DynTransport::connect(&udp, &endpoint).await.unwrap());
                    let make = || Meow(udp.clone(), endpoint.clone(), payload());
                    meow_sum.add(load(streams, seconds, make).await);
                }
            }
            report(streams, &bare_sum, &meow_sum);
        }
    });
}

fn report(streams: usize, bare: &Figures, meow: &Figures) {
    println!(
        "{streams:>3} streams: bare quinn {:>7.0}/s, meow {:>7.0}/s, ratio {:.2}; median {:>6.1} us, {:>6.1} us, \
         ratio {:.2}; {:>5.1} us, {:>5.1} us of processor, ratio {:.2}",
        bare.rate,
        meow.rate,
        meow.rate / bare.rate,
        bare.median(),
        meow.median(),
        bare.median() / meow.median(),
        bare.cost(),
        meow.cost(),
        bare.cost() / meow.cost(),
    );
}

fn payload() -> Bytes {
    Bytes::from(vec![7; SIZE])
}

/// What some rounds gave.
#[derive(Default)]
struct Figures {
    /// The best rate of a round, per second.
    rate: f64,
    requests: f64,
    ticks: f64,
    /// Of each round, in microseconds.
    medians: Vec<f64>,
}

impl Figures {
    fn add(&mut self, round: Self) {
        self.rate = self.rate.max(round.rate);
        self.requests += round.requests;
        self.ticks += round.ticks;
        self.medians.extend(round.medians);
    }

    /// The best round's: the one that other work disturbed least.
    fn median(&self) -> f64 {
        self.medians.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Microseconds of processor time per request. The kernel counts 100 ticks a second.
    fn cost(&self) -> f64 {
        self.ticks * 10_000.0 / self.requests
    }
}

/// Processor time of this process so far, in ticks: user and system.
fn ticks() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.split(' ').skip(13).take(2).map(|text| text.parse::<f64>().unwrap()).sum()
}

/// Something that asks once and returns.
trait Asker: Send + 'static {
    fn ask(&mut self) -> impl Future<Output = ()> + Send;
}

async fn load<A: Asker>(streams: usize, seconds: f64, make: impl Fn() -> A) -> Figures {
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..streams {
        let (mut asker, stop, count) = (make(), Arc::clone(&stop), Arc::clone(&count));
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            while !stop.load(Relaxed) {
                let start = Instant::now();
                asker.ask().await;
                took.push(start.elapsed().as_nanos() as f64 / 1000.0);
                count.fetch_add(1, Relaxed);
            }
            took
        }));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (from, ticks_before, start) = (count.load(Relaxed), ticks(), Instant::now());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let requests = (count.load(Relaxed) - from) as f64;
    let (rate, ticks) = (requests / start.elapsed().as_secs_f64(), ticks() - ticks_before);
    stop.store(true, Relaxed);
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    took.sort_by(f64::total_cmp);
    Figures { rate, requests, ticks, medians: vec![took[took.len() / 2]] }
}

fn bare_server() -> std::net::SocketAddr {
    let endpoint = bare::server();
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let connection = incoming.await.unwrap();
            tokio::spawn(async move {
                while let Ok((mut tx, mut rx)) = connection.accept_bi().await {
                    tokio::spawn(async move {
                        while let Some(chunk) = rx.read_chunk(usize::MAX, true).await.unwrap() {
                            tx.write_chunk(chunk.bytes).await.unwrap();
                        }
                        tx.finish().unwrap();
                    });
                }
            });
        }
    });
    address
}

struct Bare(quinn::Connection, Bytes);

impl Asker for Bare {
    async fn ask(&mut self) {
        let (mut tx, mut rx) = self.0.open_bi().await.unwrap();
        tx.write_chunk(self.1.clone()).await.unwrap();
        tx.finish().unwrap();
        assert_eq!(rx.read_to_end(SIZE).await.unwrap().len(), SIZE);
    }
}

async fn meow_server() -> Endpoint {
    let mut config = ServerConfig::default();
    config.identity = Some(SigningKey::generate(&mut SystemRandom).unwrap());
    let udp = Udp::new(ClientConfig::default(), config);
    let mut listener = DynTransport::listen(&udp, &"udp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let local = listener.local().clone();
    tokio::spawn(async move {
        while let Some(link) = listener.accept().await.unwrap() {
            tokio::spawn(echo(link));
        }
    });
    local
}

async fn echo(mut link: Link) -> meow_core::Result<()> {
    while let Some(frame) = link.rx.recv().await? {
        link.tx.send(frame).await?;
    }
    link.tx.finish().await
}

struct Meow(Udp, Endpoint, Bytes);

impl Asker for Meow {
    async fn ask(&mut self) {
        let mut link = DynTransport::connect(&self.0, &self.1).await.unwrap();
        link.tx.send(self.2.clone()).await.unwrap();
        link.tx.finish().await.unwrap();
        assert_eq!(link.rx.recv().await.unwrap().unwrap().len(), SIZE);
        assert!(link.rx.recv().await.unwrap().is_none());
    }
}
