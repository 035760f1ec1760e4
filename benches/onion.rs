//! Onion packets beside the crate sphinx-packet, in one process and one run: ratios, not absolutes.
//!
//! `cargo bench --bench onion [-- SECONDS]`. Both sides of a row take turns in rounds; a row shows the medians of the
//! rounds and the median of the rounds' ratios.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

#[path = "common/median.rs"]
mod median;

use std::hint::black_box;
use std::time::{Duration, Instant};

use meow_core::crypto::{DhSecret, SystemRandom};
use meow_core::onion::{
    Delay, HEADER, HopId, HopKey, OnionClass, Opened, PREFIX, Step, seal, seal_with_reply,
};
use sphinx_packet::header::delays;
use sphinx_packet::packet::builder::SphinxPacketBuilder;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::{ProcessedPacketData, SphinxPacket};
use x25519_dalek::{PublicKey, StaticSecret};

use median::median;

const ROUNDS: usize = 15;
const HOPS: usize = 3;

fn main() {
    let seconds = std::env::args().filter_map(|text| text.parse::<f64>().ok()).next().unwrap_or(0.2);
    let bench = Bench { round: Duration::from_secs_f64(seconds) };
    println!("{:<46} {:>10} {:>10} {:>7}  mark", "", "sphinx", "meow", "ratio");
    for class in [OnionClass::Small, OnionClass::Large] {
        let (theirs, ours) = (Theirs::new(class.len()), Ours::new(class));
        let size = class.len() / 1024;
        let mark = |mark| if class == OnionClass::Small { mark } else { "-" };
        bench.row(&format!("one hop, {size} KiB"), mark("0.6"), || theirs.hop(), || ours.hop());
        bench.row(&format!("create, 3 hops, {size} KiB"), mark("0.7"), || theirs.create(), || ours.create());
        bench.row(
            &format!("create with 3 hops back, {size} KiB"),
            "-",
            || theirs.create(),
            || ours.create_with_reply(),
        );
    }
    let scalar = DhSecret::generate(&mut SystemRandom).unwrap();
    let point = DhSecret::generate(&mut SystemRandom).unwrap().public();
    let floor = median(
        (0..ROUNDS)
            .map(|_| {
                bench.time(&mut || {
                    black_box(scalar.agree(&point).unwrap());
                })
            })
            .collect(),
    );
    println!("\none X25519 multiplication: {floor:.2} us");

    let (theirs, small) = (Theirs::new(2048), OnionClass::Small);
    let added = small.len() - small.request_room(false);
    println!("bytes before the content: sphinx-packet {} (header {}), ", theirs.overhead(), theirs.header());
    println!("meow {added} (prefix {PREFIX}, header {HEADER}, seal 16, kind 1, padding 1)");
    println!("with a reply block for the answer: meow {}", small.len() - small.request_room(true));
}

struct Bench {
    round: Duration,
}

impl Bench {
    fn row(&self, name: &str, mark: &str, mut theirs: impl FnMut(), mut ours: impl FnMut()) {
        let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (x, y) = (self.time(&mut theirs), self.time(&mut ours));
            a.push(x);
            b.push(y);
            ratios.push(y / x);
        }
        let (x, y, ratio) = (median(a), median(b), median(ratios));
        println!("{name:<46} {x:>7.2} us {y:>7.2} us {ratio:>7.2}  {mark}");
    }

    /// Microseconds a call.
    fn time(&self, work: &mut impl FnMut()) -> f64 {
        let (began, mut calls) = (Instant::now(), 0u32);
        while began.elapsed() < self.round / ROUNDS as u32 {
            work();
            calls += 1;
        }
        began.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    }
}

/// Sphinx packets of the same length on the wire.
struct Theirs {
    secret: StaticSecret,
    route: Vec<Node>,
    destination: Destination,
    payload: usize,
    packet: Vec<u8>,
}

impl Theirs {
    fn new(len: usize) -> Self {
        let secrets: Vec<_> = (0..HOPS).map(|_| StaticSecret::random()).collect();
        let node =
            |(i, secret)| Node::new(NodeAddressBytes::from_bytes([i as u8; 32]), PublicKey::from(secret));
        let route = secrets.iter().enumerate().map(node).collect();
        let destination = Destination::new(DestinationAddressBytes::from_bytes([3; 32]), [4; 16]);
        let secret = secrets.into_iter().next().unwrap();
        let mut theirs = Self { secret, route, destination, payload: 1024, packet: Vec::new() };
        let header = theirs.build().to_bytes().len() - theirs.payload;
        theirs.payload = len - header;
        theirs.packet = theirs.build().to_bytes();
        assert_eq!(theirs.packet.len(), len);
        theirs
    }

    fn build(&self) -> SphinxPacket {
        let delays = delays::generate_from_average_duration(HOPS, Duration::from_millis(10));
        SphinxPacketBuilder::new()
            .with_payload_size(self.payload)
            .build_packet(vec![13u8; 256], &self.route, &self.destination, &delays)
            .unwrap()
    }

    fn create(&self) {
        black_box(self.build().to_bytes());
    }

    fn hop(&self) {
        let processed = SphinxPacket::from_bytes(&self.packet).unwrap().process(&self.secret).unwrap();
        match processed.data {
            ProcessedPacketData::ForwardHop { next_hop_packet, .. } => black_box(next_hop_packet.to_bytes()),
            ProcessedPacketData::FinalHop { .. } => unreachable!("there are three hops"),
        };
    }

    fn header(&self) -> usize {
        self.packet.len() - self.payload
    }

    fn overhead(&self) -> usize {
        self.header() + sphinx_packet::payload::PAYLOAD_OVERHEAD_SIZE
    }
}

struct Ours {
    class: OnionClass,
    key: HopKey,
    there: Vec<Step>,
    back: Vec<Step>,
    packet: Vec<u8>,
}

impl Ours {
    fn new(class: OnionClass) -> Self {
        let keys: Vec<_> =
            (0..HOPS).map(|_| HopKey::new(7, DhSecret::generate(&mut SystemRandom).unwrap())).collect();
        let step = |(i, key): (usize, &HopKey)| Step {
            id: HopId([i as u8; 16]),
            number: 7,
            key: *key.public(),
            delay: Delay::MAX,
        };
        let there: Vec<_> = keys.iter().enumerate().map(step).collect();
        let back = there.iter().rev().copied().collect();
        let packet = seal(class, &there, &[13; 256], &mut SystemRandom).unwrap();
        Self { class, key: keys.into_iter().next().unwrap(), there, back, packet }
    }

    fn create(&self) {
        black_box(seal(self.class, &self.there, &[13; 256], &mut SystemRandom).unwrap());
    }

    fn create_with_reply(&self) {
        let (there, back) = (&self.there, &self.back);
        black_box(seal_with_reply(self.class, there, back, &[13; 256], &mut SystemRandom).unwrap());
    }

    fn hop(&self) {
        black_box(Opened::open(self.packet.clone(), &self.key).unwrap().release().unwrap());
    }
}
