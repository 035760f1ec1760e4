//! Echo of 1 KiB through one broker: this crate beside bare rumqttc with QoS 1, in one process and one run, in turns.
//!
//! `cargo bench -p meow-transport-mqtt --bench echo [-- SECONDS]` takes mosquitto where it is installed, with
//! `set_tcp_nodelay` and without, else the broker of the testkit. It prints, with one request at a time and with 64, requests per second and the middle latency (of the
//! best of some rounds), each with its ratio: of rates, above 1 means better than bare rumqttc; of latencies, below 1.
//! The bare server answers in its event loop; another one hands requests to a task, as a server of links does. Beside
//! it stands the time that a record of such a request takes to be sealed and opened.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meow_core::crypto::{Secret, open_siv, seal_siv_in_place};
use meow_core::transport::{Endpoint, Link, Transport};
use meow_testkit::mqtt::{Behaviour, Broker};
use meow_transport_mqtt::Mqtt;
use meow_transport_mqtt::wire::{Direction, Item, open_record, seal_record};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, PublishOptions, QoS};
use tokio::sync::{mpsc, oneshot};

const SIZE: usize = 1024;
const ROUNDS: usize = 5;

fn main() {
    let seconds = std::env::args().filter_map(|text| text.parse::<f64>().ok()).next().unwrap_or(1.0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (own, core) = record();
        println!("a record of 1 KiB: {own:.2} us to seal and open; {core:.2} us by meow-core's AES-GCM-SIV");
        let Some(nodelay) = common::Mosquitto::configured(None, "set_tcp_nodelay true") else {
            let own = Broker::start(Behaviour::default()).await.unwrap();
            return beside("the testkit's broker", own.address().port(), &[1, 64], seconds).await;
        };
        beside("mosquitto with set_tcp_nodelay", nodelay.port, &[1, 64], seconds).await;
        let stock = common::Mosquitto::start(None).unwrap();
        beside("mosquitto as it comes", stock.port, &[1, 64], seconds).await;
    });
}

/// All through one broker, in turns.
async fn beside(broker: &str, port: u16, at_once: &[usize], seconds: f64) {
    println!("{broker}");
    let bare = Bare::start(port, "loop").await;
    let handed = Bare::start(port, "task").await;
    let mqtt = common::mqtt(|_, server| server.link_rate = 1_000_000);
    let local = common::echo(&mqtt, &format!("mqtt://127.0.0.1:{port}/bench")).await;
    for &at_once in at_once {
        let mut all: [Figures; 4] = Default::default();
        for _ in 0..ROUNDS {
            all[0].best(load(at_once, seconds, || async { bare.clone() }).await);
            all[1].best(load(at_once, seconds, || async { Held(mqtt.connect(&local).await.unwrap()) }).await);
            all[2].best(load(at_once, seconds, || async { Fresh(mqtt.clone(), local.clone()) }).await);
            all[3].best(load(at_once, seconds, || async { handed.clone() }).await);
        }
        let [bare, held, fresh, handed] = &all;
        println!("{at_once:>2} at once: bare rumqttc        {bare}");
        for (name, own) in
            [("bare, in a task", handed), ("meow, links held", held), ("meow, a link each", fresh)]
        {
            println!(
                "            {name:<18}  {own}, ratios {:.2} and {:.2}",
                own.rate / bare.rate,
                own.latency.as_secs_f64() / bare.latency.as_secs_f64(),
            );
        }
    }
}

/// Microseconds to seal and open a record with a frame of the size, and to seal and open as many bytes by the core; the
/// best of some rounds in turns.
fn record() -> (f64, f64) {
    let (key, mask) = (Secret::new([1; 32]), Secret::new([2; 32]));
    let keys = Direction::new(&key, mask).unwrap();
    let mut items = Vec::new();
    Item::Data(7, &[7; SIZE]).write(&mut items);
    let length = seal_record(&keys, 0, &items).unwrap().len();
    let (mut own, mut core) = (f64::MAX, f64::MAX);
    for _ in 0..20 {
        own = own.min(each(|number| {
            let record = seal_record(&keys, number, &items).unwrap();
            assert_eq!(open_record(&keys, &record).unwrap().0, number);
        }));
        core = core.min(each(|number| {
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&number.to_be_bytes());
            let mut record = vec![7; length - 16];
            seal_siv_in_place(&key, &nonce, &nonce[4..], &mut record, 8).unwrap();
            assert_eq!(open_siv(&key, &nonce, &nonce[4..], &record[8..]).unwrap().len(), length - 24);
        }));
    }
    (own, core)
}

/// Microseconds that each of some calls takes.
fn each(mut call: impl FnMut(u64)) -> f64 {
    let (start, calls) = (Instant::now(), 2_000);
    (0..calls).for_each(&mut call);
    start.elapsed().as_secs_f64() * 1e6 / calls as f64
}

/// What a round gave.
#[derive(Default)]
struct Figures {
    rate: f64,
    latency: Duration,
}

impl Figures {
    fn best(&mut self, round: Self) {
        if round.rate > self.rate {
            *self = round;
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>7.0}/s, {:>6} us", self.rate, self.latency.as_micros())
    }
}

/// Something that asks once and returns.
trait Asker: Send + 'static {
    fn ask(&mut self) -> impl Future<Output = ()> + Send;
}

async fn load<A: Asker, F: Future<Output = A>>(
    at_once: usize,
    seconds: f64,
    make: impl Fn() -> F,
) -> Figures {
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..at_once {
        let (mut asker, stop, count) = (make().await, Arc::clone(&stop), Arc::clone(&count));
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while !stop.load(Relaxed) {
                let began = Instant::now();
                asker.ask().await;
                times.push(began.elapsed());
                count.fetch_add(1, Relaxed);
            }
            times
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (from, start) = (count.load(Relaxed), Instant::now());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let rate = (count.load(Relaxed) - from) as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Relaxed);
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    times.sort();
    Figures { rate, latency: times[times.len() / 2] }
}

/// One connection that asks, and one that answers; requests are told apart by a number.
#[derive(Clone)]
struct Bare {
    client: AsyncClient,
    requests: String,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Bytes>>>>,
    next: Arc<AtomicU64>,
}

fn options(name: &str, port: u16) -> MqttOptions {
    let mut options = MqttOptions::new(name, ("127.0.0.1", port));
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_max_request_batch(32).set_network_options(network);
    options
}

impl Bare {
    /// With the server's answers from its event "loop", or from a "task".
    async fn start(port: u16, how: &'static str) -> Self {
        let name = |side: &str| format!("{side} {how}");
        let (requests, answers) = (format!("bare/{how}/requests"), format!("bare/{how}/answers"));
        let (server, mut events) = AsyncClient::builder(options(&name("server"), port)).unbounded().build();
        let (answering, to) = (server.clone(), answers.clone());
        // A task that stays takes the requests, as that of a link does.
        let (handing, mut handed) = mpsc::unbounded_channel::<Bytes>();
        let publish = move |payload| {
            answering.try_publish(to.clone(), payload, PublishOptions::new(QoS::AtLeastOnce)).unwrap();
        };
        let publishing = publish.clone();
        tokio::spawn(async move {
            while let Some(payload) = handed.recv().await {
                publishing(payload);
            }
        });
        tokio::spawn(async move {
            loop {
                // It ends with the bench.
                let Ok(event) = events.poll().await else { return };
                if let Event::Incoming(Packet::Publish(message)) = event {
                    if how == "task" {
                        handing.send(message.payload).unwrap();
                    } else {
                        publish(message.payload);
                    }
                }
            }
        });
        let (client, mut events) = AsyncClient::builder(options(&name("client"), port)).unbounded().build();
        let waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Bytes>>>> = Arc::default();
        let answered = Arc::clone(&waiting);
        tokio::spawn(async move {
            loop {
                let Ok(event) = events.poll().await else { return };
                if let Event::Incoming(Packet::Publish(message)) = event {
                    let number = u64::from_be_bytes(*message.payload.first_chunk().unwrap());
                    if let Some(asker) = answered.lock().unwrap().remove(&number) {
                        asker.send(message.payload).unwrap();
                    }
                }
            }
        });
        for (client, topic) in [(&server, &requests), (&client, &answers)] {
            let notice = client.subscribe_tracked(topic.clone(), QoS::AtLeastOnce).await.unwrap();
            notice.wait_completion_async().await.unwrap();
        }
        Self { client, requests, waiting, next: Arc::default() }
    }
}

impl Asker for Bare {
    async fn ask(&mut self) {
        let number = self.next.fetch_add(1, Relaxed);
        let mut request = vec![7; SIZE];
        request[..8].copy_from_slice(&number.to_be_bytes());
        let (tx, rx) = oneshot::channel();
        self.waiting.lock().unwrap().insert(number, tx);
        let options = PublishOptions::new(QoS::AtLeastOnce);
        self.client.publish(self.requests.clone(), request, options).await.unwrap();
        assert_eq!(rx.await.unwrap().len(), SIZE);
    }
}

/// A link that stays.
struct Held(Link);

impl Asker for Held {
    async fn ask(&mut self) {
        self.0.tx.send(vec![7; SIZE].into()).await.unwrap();
        assert_eq!(self.0.rx.recv().await.unwrap().unwrap().len(), SIZE);
    }
}

/// A link for each request.
struct Fresh(Mqtt, Endpoint);

impl Asker for Fresh {
    async fn ask(&mut self) {
        assert_eq!(common::ask(&self.0, &self.1, &[7; SIZE]).await.unwrap().len(), SIZE);
    }
}
