//! Echo of 1 KiB over a pseudo-terminal: this crate in cable mode beside the bare terminal, in one process and one run.
//!
//! `cargo bench -p meow-transport-serial --bench echo [-- SECONDS]` prints, with one and with 16 requests under way,
//! requests per second (the best of some rounds) and the median latency of a request, each with its ratio.
//!
//! Both sides of both are tokio tasks on two workers. The bare one reads and writes 1,024 bytes, and beside that the 1,032 that
//! this crate's frames have with their sum and delimiters: of those, four do not fit into the terminal's 4,096. A last line has
//! segments and acknowledgements too: a link for each request.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meow_core::transport::{DynTransport, Endpoint, Link, LinkReceiver, LinkSender};
use meow_transport::Transports;
use meow_transport_serial::{BoxStream, Serial};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Semaphore;
use tokio_serial::SerialStream;

const SIZE: usize = 1024;
/// The same as a frame on the line.
const LINE: usize = 1032;
const ROUNDS: usize = 5;

/// Microseconds for 1 KiB: what this crate does to a frame at one end and at the other, and of that COBS, beside the crate of
/// that name.
fn framing() {
    fn each<T>(mut work: impl FnMut() -> T) -> f64 {
        const TIMES: u32 = 20_000;
        let best = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            (0..TIMES).for_each(|_| drop(std::hint::black_box(work())));
            start.elapsed()
        });
        best.min().unwrap().as_secs_f64() * 1e6 / f64::from(TIMES)
    }
    let frame: Vec<u8> = (0..SIZE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let line = meow_transport_serial::framing::encode(&frame);
    assert_eq!(meow_transport_serial::framing::encode(&[7; SIZE]).len(), LINE);
    let (stuffed, body) = (cobs::encode_vec(&frame), &line[..line.len() - 1]);
    println!(
        "1 KiB framed in {:.2} us and taken apart in {:.2}; by the crate cobs, COBS alone: {:.2} and {:.2}",
        each(|| meow_transport_serial::framing::encode(&frame)),
        each(|| meow_transport_serial::framing::decode(body)),
        each(|| cobs::encode_vec(&frame)),
        each(|| cobs::decode_vec(&stuffed)),
    );
}

fn main() {
    framing();
    let seconds = std::env::args().filter_map(|text| text.parse::<f64>().ok()).next().unwrap_or(1.0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for under_way in [1, 16] {
            let [mut bare, mut same, mut meow] = [0; 3].map(|_| Figures::default());
            for _ in 0..ROUNDS {
                for (figures, bytes) in [(&mut bare, SIZE), (&mut same, LINE)] {
                    let (near, far) = SerialStream::pair().unwrap();
                    let server = tokio::spawn(bare_server(far, bytes));
                    let (rx, tx) = tokio::io::split(near);
                    figures.add(load(under_way, seconds, Bare(tx, bytes), Bare(rx, bytes)).await);
                    server.abort();
                }

                let (near, far) = SerialStream::pair().unwrap();
                let server = tokio::spawn(echo(line(far).await));
                let link = line(near).await;
                meow.add(load(under_way, seconds, Meow(link.tx), Meow(link.rx)).await);
                server.abort();
            }
            println!("{under_way:>3} under way: meow {:>7.0}/s, {:>6.1} us", meow.rate, meow.median);
            for (bare, bytes) in [(bare, SIZE), (same, LINE)] {
                println!(
                    "    bare, {bytes} bytes: {:>7.0}/s, {:>6.1} us; ratio of rates {:.2}, of latency {:.2}",
                    bare.rate,
                    bare.median,
                    meow.rate / bare.rate,
                    meow.median / bare.median,
                );
            }
        }
        segmented(seconds).await;
    });
}

/// What some rounds gave: the best rate, and the best median in microseconds.
struct Figures {
    rate: f64,
    median: f64,
}

impl Default for Figures {
    fn default() -> Self {
        Self { rate: 0.0, median: f64::INFINITY }
    }
}

impl Figures {
    fn add(&mut self, (rate, median): (f64, f64)) {
        self.rate = self.rate.max(rate);
        self.median = self.median.min(median);
    }
}

trait Sender: Send + 'static {
    fn send(&mut self) -> impl Future<Output = ()> + Send;
}

trait Receiver: Send + 'static {
    fn receive(&mut self) -> impl Future<Output = ()> + Send;
}

/// A half of the terminal, and how many bytes a request has.
struct Bare<T>(T, usize);

impl Sender for Bare<WriteHalf<SerialStream>> {
    async fn send(&mut self) {
        self.0.write_all(&[7; LINE][..self.1]).await.unwrap();
    }
}

impl Receiver for Bare<ReadHalf<SerialStream>> {
    async fn receive(&mut self) {
        self.0.read_exact(&mut [0; LINE][..self.1]).await.unwrap();
    }
}

struct Meow<T>(T);

impl Sender for Meow<LinkSender> {
    async fn send(&mut self) {
        self.0.send(Bytes::from_static(&[7; SIZE])).await.unwrap();
    }
}

impl Receiver for Meow<LinkReceiver> {
    async fn receive(&mut self) {
        assert_eq!(self.0.recv().await.unwrap().unwrap().len(), SIZE);
    }
}

async fn bare_server(mut far: SerialStream, bytes: usize) {
    let mut buffer = vec![0; bytes];
    while far.read_exact(&mut buffer).await.is_ok() {
        far.write_all(&buffer).await.unwrap();
    }
}

fn over(stream: SerialStream) -> Serial {
    let stream = Mutex::new(Some(stream));
    Serial::over(move |_| {
        let stream = stream.lock().unwrap().take().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(stream) as BoxStream)
    })
}

fn endpoint() -> Endpoint {
    "serial:///dev/pts?mtu=1100".parse().unwrap()
}

async fn line(stream: SerialStream) -> Link {
    DynTransport::connect(&over(stream), &endpoint()).await.unwrap()
}

async fn echo(mut link: Link) {
    while let Ok(Some(frame)) = link.rx.recv().await {
        link.tx.send(frame).await.unwrap();
    }
}

/// Requests per second and the median latency in microseconds, with so many requests under way.
async fn load(under_way: usize, seconds: f64, mut tx: impl Sender, mut rx: impl Receiver) -> (f64, f64) {
    let (places, count) = (Arc::new(Semaphore::new(under_way)), Arc::new(AtomicU64::new(0)));
    let (sent, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let sending = tokio::spawn({
        let places = Arc::clone(&places);
        async move {
            while let Ok(place) = places.acquire().await {
                place.forget();
                let _ = sent.send(Instant::now());
                tx.send().await;
            }
        }
    });
    let receiving = tokio::spawn({
        let (places, count) = (Arc::clone(&places), Arc::clone(&count));
        async move {
            let mut took = Vec::new();
            while let Some(start) = starts.recv().await {
                rx.receive().await;
                took.push(start.elapsed().as_nanos() as f64 / 1000.0);
                count.fetch_add(1, Relaxed);
                places.add_permits(1);
            }
            took
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (from, start) = (count.load(Relaxed), Instant::now());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let rate = (count.load(Relaxed) - from) as f64 / start.elapsed().as_secs_f64();
    // What is under way ends.
    places.close();
    sending.await.unwrap();
    let mut took = receiving.await.unwrap();
    took.sort_by(f64::total_cmp);
    (rate, took[took.len() / 2])
}

/// A link for each request, through segments with their acknowledgements.
async fn segmented(seconds: f64) {
    let (near, far) = SerialStream::pair().unwrap();
    let server = Transports::new().with(over(far));
    let mut listener = server.listen(&endpoint()).await.unwrap();
    tokio::spawn(async move {
        while let Ok(Some(mut link)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(Some(frame)) = link.rx.recv().await {
                    link.tx.send(frame).await.unwrap();
                }
                link.tx.finish().await.unwrap();
            });
        }
    });
    let client = Transports::new().with(over(near));
    let (mut took, start) = (Vec::new(), Instant::now());
    while start.elapsed().as_secs_f64() < seconds {
        let began = Instant::now();
        let mut link = client.connect(&endpoint()).await.unwrap();
        link.tx.send(Bytes::from_static(&[7; SIZE])).await.unwrap();
        link.tx.finish().await.unwrap();
        assert_eq!(link.rx.recv().await.unwrap().unwrap().len(), SIZE);
        took.push(began.elapsed().as_nanos() as f64 / 1000.0);
    }
    took.sort_by(f64::total_cmp);
    println!(
        "  1 in segments, a link each: {:>7.0}/s, {:>6.1} us",
        took.len() as f64 / seconds,
        took[took.len() / 2]
    );
}
