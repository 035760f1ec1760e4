//! Echo of 1 KiB over keep-alive connections: this crate beside bare hyper, in one process and one run.
//!
//! `cargo bench -p meow-transport-http --bench echo [-- SECONDS]` prints, with one and with 64 connections, requests per
//! second (the best of some rounds) and processor time per request (their sum; of client and server together, and
//! less moved by other work on the machine), each with its ratio: above 1 means better than bare hyper. The word `bare` or
//! `meow` leaves the other side out, for a profiler, and tells how many exchanges there were in all.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use meow_core::transport::{DynTransport, Endpoint, Link};
use meow_transport_http::Http;
use tokio::net::{TcpListener, TcpStream};

const SIZE: usize = 1024;
const ROUNDS: usize = 5;

/// Exchanges so far, also those that no round counts.
static ALL: AtomicU64 = AtomicU64::new(0);

fn main() {
    let seconds = std::env::args().filter_map(|text| text.parse::<f64>().ok()).next().unwrap_or(1.0);
    let named = |side: &str| std::env::args().any(|text| text == side);
    let (with_bare, with_meow) = (!named("meow"), !named("bare"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bare = bare_server().await;
        let meow = meow_server().await;
        for connections in [1, 64] {
            let (mut bare_sum, mut meow_sum) = (Figures::default(), Figures::default());
            for _ in 0..ROUNDS {
                if with_bare {
                    bare_sum.add(load(connections, seconds, move || bare_client(bare)).await);
                }
                if with_meow {
                    let (http, endpoint) = (Http::default(), meow.clone());
                    let make = || meow_client(http.clone(), endpoint.clone());
                    meow_sum.add(load(connections, seconds, make).await);
                }
            }
            let (rates, costs) = ((bare_sum.rate, meow_sum.rate), (bare_sum.cost(), meow_sum.cost()));
            println!(
                "{connections:>3} connections: bare hyper {:>7.0}/s, meow {:>7.0}/s, ratio {:.2}; \
                 {:>5.1} us, {:>5.1} us of processor, ratio {:.2}",
                rates.0,
                rates.1,
                rates.1 / rates.0,
                costs.0,
                costs.1,
                costs.0 / costs.1,
            );
        }
        if !(with_bare && with_meow) {
            println!("{} exchanges in all", ALL.load(Relaxed));
        }
    });
}

/// What some rounds gave.
#[derive(Default)]
struct Figures {
    /// The best rate of a round, per second.
    rate: f64,
    requests: f64,
    ticks: f64,
}

impl Figures {
    fn add(&mut self, round: Self) {
        self.rate = self.rate.max(round.rate);
        self.requests += round.requests;
        self.ticks += round.ticks;
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

async fn load<A: Asker, F: Future<Output = A>>(
    connections: usize,
    seconds: f64,
    make: impl Fn() -> F,
) -> Figures {
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (mut asker, stop, count) = (make().await, Arc::clone(&stop), Arc::clone(&count));
        tasks.push(tokio::spawn(async move {
            while !stop.load(Relaxed) {
                asker.ask().await;
                count.fetch_add(1, Relaxed);
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (from, ticks_before, start) = (count.load(Relaxed), ticks(), Instant::now());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let requests = (count.load(Relaxed) - from) as f64;
    let figures =
        Figures { rate: requests / start.elapsed().as_secs_f64(), requests, ticks: ticks() - ticks_before };
    stop.store(true, Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    ALL.fetch_add(count.load(Relaxed), Relaxed);
    figures
}

async fn bare_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let service = service_fn(|request: Request<Incoming>| async {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(Response::new(Full::new(body)))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
            );
        }
    });
    address
}

struct Bare(hyper::client::conn::http1::SendRequest<Full<Bytes>>, Bytes);

async fn bare_client(address: SocketAddr) -> Bare {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    Bare(sender, Bytes::from(vec![7; SIZE]))
}

impl Asker for Bare {
    async fn ask(&mut self) {
        let request = Request::post("/").header("host", "localhost").body(Full::new(self.1.clone())).unwrap();
        self.0.ready().await.unwrap();
        let response = self.0.send_request(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), SIZE);
    }
}

async fn meow_server() -> Endpoint {
    let http = Http::default();
    let mut listener = DynTransport::listen(&http, &"http://127.0.0.1:0".parse().unwrap()).await.unwrap();
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

struct Meow(Http, Endpoint, Bytes);

async fn meow_client(http: Http, endpoint: Endpoint) -> Meow {
    Meow(http, endpoint, Bytes::from(vec![7; SIZE]))
}

impl Asker for Meow {
    async fn ask(&mut self) {
        let mut link = DynTransport::connect(&self.0, &self.1).await.unwrap();
        link.tx.send(self.2.clone()).await.unwrap();
        link.tx.finish().await.unwrap();
        assert_eq!(link.rx.recv().await.unwrap().unwrap().len(), SIZE);
        assert!(link.rx.recv().await.unwrap().is_none());
    }
}
