//! What a radio channel of 1,760 bits a second carries (LoRa, spreading factor 9), on virtual time: the simulated modems of
//! `meow-testkit`, this crate in transparent mode, segments above it.
//!
//! `cargo bench -p meow-transport-serial --bench air [-- TRIALS]` prints medians. The limit is the channel's bit rate: what
//! no headers, preambles, acknowledgements and losses would leave. "ideal" is a code of which any sufficient number of
//! frames will do, with a sender who knows when to stop and one acknowledgement: no parity can do better.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

#[path = "../tests/common/radio.rs"]
mod radio;

use std::time::Duration;

use meow_testkit::transport::air::Channel;
use radio::{chat, contend, deliver, on_virtual_time};

const RATE: f64 = 1760.0;
/// Bytes of a piece in a frame of 252.
const PIECE: usize = 243;

/// Stations have their devices open for so long before they have anything to say: they know that the channel is free.
const BEFORE: Duration = Duration::from_secs(60);

fn main() {
    let trials = std::env::args().filter_map(|text| text.parse::<u64>().ok()).next().unwrap_or(40);
    messages(trials);
    at_once(trials);
    at_moments_of_their_own(trials);
}

fn messages(trials: u64) {
    println!("before  loss   bytes   time      goodput   of the limit   frames   ideal");
    for (before, loss) in [(BEFORE, 0), (BEFORE, 100), (BEFORE, 300), (Duration::ZERO, 0)] {
        for (packets, trials) in
            [(&[20][..], trials), (&[1024], trials), (&[32_768, 32_768], trials.div_ceil(8))]
        {
            let run = |seed| on_virtual_time(deliver(Channel::sf9(loss, seed), "", before, packets));
            let (time, frames) = medians((1..=trials).map(run).map(|d| (d.took, d.counts.frames)));
            let bytes: usize = packets.iter().sum();
            let goodput = bytes as f64 * 8.0 / time;
            println!(
                "{:>4} s  {:>3} % {bytes:>7} {time:>7.2} s {goodput:>7.0} bit/s {:>10.2} {frames:>12.1} {:>7.2} s",
                before.as_secs(),
                loss / 10,
                goodput / RATE,
                ideal(packets, loss),
            );
        }
    }
}

fn at_once(trials: u64) {
    println!("stations that begin at once, 2,000 bytes each:");
    for passes_bytes in [true, false] {
        for (senders, options, before) in [
            (1, "", BEFORE),
            (2, "", BEFORE),
            (4, "", BEFORE),
            (2, "", Duration::ZERO),
            (4, "", Duration::ZERO),
            (1, "&lbt=0", BEFORE),
            (2, "&lbt=0", BEFORE), // more drown each other until links give up
        ] {
            let run = |seed| {
                let mut channel = Channel::sf9(0, seed);
                channel.passes_bytes = passes_bytes;
                let done = on_virtual_time(contend(channel, options, before, senders, 2000));
                (done.took, done.counts)
            };
            let done: Vec<_> = (1..=trials).map(run).collect();
            let (time, frames) = medians(done.iter().map(|(took, counts)| (*took, counts.frames)));
            let (_, collided) = medians(done.iter().map(|(took, counts)| (*took, counts.collided)));
            let modem = if passes_bytes { "bytes as they come" } else { "whole frames" };
            let lbt = if options.is_empty() { "listens" } else { "lbt=0" };
            let before = before.as_secs();
            println!(
                "{modem:>18}, {lbt:>7}, open {before:>2} s, {senders}: {time:>6.1} s, {frames:.1} frames, {collided:.1} collided"
            );
        }
    }
}

fn at_moments_of_their_own(trials: u64) {
    println!("stations with 20 bytes again and again, at moments of their own:");
    for (senders, gap) in [(1, 60), (2, 60), (4, 60), (8, 60), (20, 60), (20, 300), (40, 120)] {
        let run = |seed| on_virtual_time(chat(Channel::sf9(0, seed), senders, Duration::from_secs(gap), 20));
        let mut took = Vec::new();
        let (mut frames, mut collided) = (0, 0);
        let trials = trials.div_ceil(4);
        for seed in 1..=trials {
            let (each, counts) = run(seed);
            took.extend(each);
            (frames, collided) = (frames + counts.frames, collided + counts.collided);
        }
        took.sort_unstable();
        let at = |part: usize| took[took.len() * part / 100].as_secs_f64();
        let messages = took.len() as f64;
        println!(
            "{senders:>3}, every {gap} s each: median {:.2} s, mean {:.2}, 95 of 100 {:.2}; {:.2} frames a message, {:.3} collided",
            at(50),
            took.iter().sum::<Duration>().as_secs_f64() / messages,
            at(95),
            frames as f64 / messages,
            f64::from(u32::try_from(collided).unwrap()) / messages,
        );
    }
}

fn medians(runs: impl Iterator<Item = (Duration, u64)>) -> (f64, f64) {
    let (mut times, mut counts): (Vec<_>, Vec<_>) =
        runs.map(|(time, count)| (time.as_secs_f64(), count)).unzip();
    times.sort_by(f64::total_cmp);
    counts.sort_unstable();
    (times[times.len() / 2], counts[counts.len() / 2] as f64)
}

/// Seconds on the air until enough frames of a perfect code have arrived; no turnaround, no back-off.
fn ideal(packets: &[usize], loss: u16) -> f64 {
    // Nine bytes of segment header and four of framing, and the preamble, for each frame.
    let frames =
        |bytes: usize| bytes.div_ceil(PIECE) as f64 * (0.05 + 13.0 * 8.0 / RATE) + bytes as f64 * 8.0 / RATE;
    packets.iter().map(|bytes| frames(*bytes)).sum::<f64>() / (1.0 - f64::from(loss) / 1000.0)
}
