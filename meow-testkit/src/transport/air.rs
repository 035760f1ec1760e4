//! A radio channel that several modems share: half duplex, slow, with loss, and with collisions that destroy what
//! overlaps. It runs on tokio's clock, so a test with a paused one spends no time on airtime.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::medium::Dice;

/// Bytes that a modem takes from its host at once: more than any frame.
const BUFFER: usize = 16 * 1024;
/// Bytes that are heard at once, where a modem passes them on as they come.
const CHUNK: usize = 2;

/// What the channel is like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Channel {
    /// Bits per second on the air.
    pub bit_rate: u64,
    /// Airtime of a frame beyond its bytes.
    pub preamble: Duration,
    /// How many of a thousand frames each receiver misses.
    pub loss: u16,
    /// Whether a modem passes bytes on as they come over the air, so that its host hears that somebody has begun. A LoRa
    /// modem passes whole frames on.
    pub passes_bytes: bool,
    /// Decides what is missed.
    pub seed: u64,
}

impl Channel {
    /// LoRa at spreading factor 9 and 125 kHz: 1,760 bits a second, and whole frames.
    pub fn sf9(loss: u16, seed: u64) -> Self {
        Self { bit_rate: 1760, preamble: Duration::from_millis(50), loss, passes_bytes: false, seed }
    }

    fn time(&self, bytes: usize) -> Duration {
        Duration::from_micros(bytes as u64 * 8_000_000 / self.bit_rate.max(1))
    }
}

/// What has happened on the air.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Frames that were sent.
    pub frames: u64,
    /// Frames that others destroyed.
    pub collided: u64,
    /// Frames that a receiver missed, counted once for each.
    pub lost: u64,
    /// Airtime of all frames.
    pub airtime: Duration,
}

/// The channel. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Air(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    channel: Channel,
    dice: Dice,
    /// Where each modem puts what it has heard.
    hosts: Vec<mpsc::UnboundedSender<Vec<u8>>>,
    on_air: Vec<Sending>,
    counts: Counts,
    /// Of each modem.
    airtime: Vec<Duration>,
}

/// A frame on the air, and whether another one has met it.
#[derive(Debug)]
struct Sending {
    from: usize,
    spoilt: bool,
}

impl Air {
    /// A channel without modems.
    pub fn new(channel: Channel) -> Self {
        let dice = Dice(channel.seed);
        let (hosts, on_air, counts, airtime) = (Vec::new(), Vec::new(), Counts::default(), Vec::new());
        Self(Arc::new(Mutex::new(State { channel, dice, hosts, on_air, counts, airtime })))
    }

    /// A modem that sends what its host writes at once as one frame, as transparent radio modems do. This is the host's
    /// side of its serial line.
    pub fn modem(&self) -> DuplexStream {
        let (host, modem) = tokio::io::duplex(BUFFER);
        let (from_host, to_host) = tokio::io::split(modem);
        let (queue, waiting) = mpsc::unbounded_channel();
        let mut state = self.state();
        state.hosts.push(queue);
        state.airtime.push(Duration::ZERO);
        let station = state.hosts.len() - 1;
        drop(state);
        tokio::spawn(self.clone().send_all(station, from_host));
        tokio::spawn(pass_on(waiting, to_host));
        host
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Airtime of one modem so far, in the order in which they were made.
    pub fn airtime(&self, modem: usize) -> Duration {
        self.state().airtime.get(modem).copied().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send_all(self, station: usize, mut from_host: ReadHalf<DuplexStream>) {
        let mut buffer = vec![0; BUFFER];
        // Zero, or an error, is the end of the host.
        while let Ok(n @ 1..) = from_host.read(&mut buffer).await {
            self.send(station, buffer.get(..n).unwrap_or_default()).await;
        }
    }

    /// One frame, from its preamble to its last byte.
    async fn send(&self, station: usize, frame: &[u8]) {
        let (start, hears, preamble, passes_bytes) = {
            let mut state = self.state();
            let spoilt = !state.on_air.is_empty();
            state.on_air.iter_mut().for_each(|other| other.spoilt = true);
            state.on_air.push(Sending { from: station, spoilt });
            let (stations, loss) = (state.hosts.len(), state.channel.loss);
            let hears: Vec<_> = (0..stations).map(|to| to != station && !state.dice.hits(loss)).collect();
            let airtime = state.channel.preamble + state.channel.time(frame.len());
            state.counts.frames += 1;
            state.counts.airtime += airtime;
            if let Some(own) = state.airtime.get_mut(station) {
                *own += airtime;
            }
            state.counts.lost +=
                hears.iter().enumerate().filter(|(to, h)| *to != station && !**h).count() as u64;
            (Instant::now(), hears, state.channel.preamble, state.channel.passes_bytes)
        };
        let chunk = if passes_bytes { CHUNK } else { frame.len() };
        let mut over = 0;
        for part in frame.chunks(chunk) {
            over += part.len();
            let at = start + preamble + self.state().channel.time(over);
            sleep_until(at).await;
            self.heard(station, part, &hears, passes_bytes);
        }
        let mut state = self.state();
        if let Some(at) = state.on_air.iter().position(|sending| sending.from == station) {
            let sending = state.on_air.swap_remove(at);
            state.counts.collided += u64::from(sending.spoilt);
        }
    }

    /// A part of a frame is over: whoever is silent and does not miss it has heard it.
    fn heard(&self, from: usize, part: &[u8], hears: &[bool], passes_bytes: bool) {
        let state = self.state();
        let spoilt = state.on_air.iter().any(|sending| sending.from == from && sending.spoilt);
        if spoilt && !passes_bytes {
            return; // the modem notices, and passes nothing on
        }
        let mut part = part.to_vec();
        if spoilt {
            part.iter_mut().for_each(|byte| *byte ^= 0x55);
        }
        for (to, queue) in state.hosts.iter().enumerate() {
            let speaks = state.on_air.iter().any(|sending| sending.from == to);
            if hears.get(to) == Some(&true) && !speaks {
                // A host that is gone hears nothing.
                let _ = queue.send(part.clone());
            }
        }
    }
}

async fn pass_on(mut waiting: mpsc::UnboundedReceiver<Vec<u8>>, mut to_host: WriteHalf<DuplexStream>) {
    while let Some(bytes) = waiting.recv().await {
        if to_host.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
