//! The relay with sessions, over HTTP and QUIC, 64 connections, relay and load in two processes; beside NATS JetStream
//! and mosquitto in the same run, where they are installed.
//!
//! `cargo bench --bench sessions [-- DEPOSITS] [http | udp]` (20,000; both beside the brokers, one alone): rates in turns,
//! ratios, and the relay's processor time. A text of 1 KiB is an item of 1,888 bytes and a packet of 2 KiB; the brokers get payloads of 1 KiB. One request is under way on each
//! connection. The relay confirms what is on the disk; the brokers confirm before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a bench")]

#[path = "../../meow-transport-udp/tests/common/bare.rs"]
mod bare;
mod brokers;
mod line;
mod load;
#[path = "../common/median.rs"]
mod median;
mod mosquitto;
mod nats;
#[path = "../common/process.rs"]
mod process;
mod relay;

use load::Load;
use median::median;
use mosquitto::Mosquitto;
use nats::Nats;
use process::cpu_us;
use relay::Relay;

/// As `meowd` has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) const CONNECTIONS: usize = 64;
/// Items of a page: as many as the relay has in an answer of 32 KiB.
pub(crate) const PAGE: usize = 17;
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    if std::env::var(relay::ROLE).is_ok() {
        return relay::relay().await;
    }
    let deposits = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(20_000);
    let only = std::env::args().skip(1).find(|a| a == "http" || a == "udp");
    let relay = Relay::start();
    let (nats, mosquitto) = match only {
        Some(_) => (None, None),
        None => (Nats::start().await, Mosquitto::start().await),
    };
    let (mut put, mut got, mut cost) = (Table::default(), Table::default(), Vec::new());
    let mut loads = Vec::new();
    for (name, url) in relay.urls() {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        loads.push((name, Load::new(&relay, url).await));
    }
    for _ in 0..ROUNDS {
        for (name, load) in &mut loads {
            let packets = load.deposits(deposits);
            let before = cpu_us(relay.process.id);
            put.add(name, load.deposit(packets).await);
            cost.push((*name, (cpu_us(relay.process.id) - before) / deposits as f64));
            let before = cpu_us(relay.process.id);
            got.add(name, load.drain().await);
            cost.push((
                if *name == "http" { "http, drained" } else { "udp, drained" },
                (cpu_us(relay.process.id) - before) / deposits as f64,
            ));
        }
        if let Some(nats) = &nats {
            put.add("nats", nats.publish(deposits).await);
            got.add("nats", nats.drain(deposits).await);
        }
        if let Some(mosquitto) = &mosquitto {
            put.add("mosquitto", mosquitto.publish(deposits).await);
            got.add("mosquitto", mosquitto.drain(deposits).await);
        }
    }
    put.print("confirmed a second");
    got.print("pulled and acknowledged a second");
    for name in ["http", "http, drained", "udp", "udp, drained"] {
        let own: Vec<_> = cost.iter().filter(|(of, _)| *of == name).map(|(_, us)| *us).collect();
        if !own.is_empty() {
            println!("the relay's processor time for an item, {name}: {:.1} us", median(own));
        }
    }
}

/// Rates by name, in the order in which they came first.
#[derive(Default)]
struct Table(Vec<(&'static str, Vec<f64>)>);

impl Table {
    fn add(&mut self, name: &'static str, rate: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rates)) => rates.push(rate),
            None => self.0.push((name, vec![rate])),
        }
    }

    /// Medians, and each over that of NATS.
    fn print(self, what: &str) {
        println!("{what}:");
        let nats = self.0.iter().find(|(name, _)| *name == "nats").map(|(_, rates)| median(rates.clone()));
        for (name, rates) in self.0 {
            let rate = median(rates);
            let ratio = nats.map_or(String::new(), |nats| format!("  {:.2} of NATS", rate / nats));
            println!("  {name:<12} {rate:>10.0}/s{ratio}");
        }
    }
}
