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
use radio::{contend, deliver, on_virtual_time};

const RATE: f64 = 1760.0;
/// Bytes of a piece in a frame of 252.
const PIECE: usize = 243;

fn main() {
    let trials = std::env::args().filter_map(|text| text.parse::<u64>().ok()).next().unwrap_or(40);
    println!("loss   bytes   time      goodput   of the limit   frames   ideal");
    for loss in [0, 100, 300] {
        for (packets, trials) in
            [(&[20][..], trials), (&[1024], trials), (&[32_768, 32_768], trials.div_ceil(8))]
        {
            let run = |seed| on_virtual_time(deliver(Channel::sf9(loss, seed), "", packets));
            let (time, frames) = medians((1..=trials).map(run).map(|d| (d.took, d.counts.frames)));
            let bytes: usize = packets.iter().sum();
            let goodput = bytes as f64 * 8.0 / time;
            println!(
                "{:>3} % {bytes:>7} {time:>7.2} s {goodput:>7.0} bit/s {:>10.2} {frames:>12.1} {:>7.2} s",
                loss / 10,
                goodput / RATE,
                ideal(packets, loss),
            );
        }
    }
    println!("stations that begin at once, 2,000 bytes each:");
    for passes_bytes in [true, false] {
        for senders in [1, 2, 4] {
            for options in ["", "&lbt=0"] {
                if senders == 4 && !options.is_empty() {
                    continue; // they drown each other until links give up
                }
                let run = |seed| {
                    let mut channel = Channel::sf9(0, seed);
                    channel.passes_bytes = passes_bytes;
                    let done = on_virtual_time(contend(channel, options, senders, 2000));
                    (done.took, done.counts)
                };
                let done: Vec<_> = (1..=trials).map(run).collect();
                let (time, frames) = medians(done.iter().map(|(took, counts)| (*took, counts.frames)));
                let (_, collided) = medians(done.iter().map(|(took, counts)| (*took, counts.collided)));
                let modem = if passes_bytes { "bytes as they come" } else { "whole frames" };
                let lbt = if options.is_empty() { "listens" } else { "lbt=0" };
                println!(
                    "{modem:>18}, {lbt:>7}, {senders}: {time:>6.1} s, {frames:.1} frames, {collided:.1} collided"
                );
            }
        }
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
