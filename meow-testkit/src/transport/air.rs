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
/// Delimiter and escape of KISS.
const FEND: u8 = 0xc0;
const FESC: u8 = 0xdb;

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

/// What one modem is like.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Modem {
    /// How many of a thousand frames get lost of those that it sends, and of those that it hears; beside what the channel loses.
    pub loss: u16,
    /// Its host speaks KISS with it, as with a TNC; otherwise it sends what the host writes at once as one frame.
    pub kiss: bool,
}

impl Modem {
    /// One that is spoken to in KISS.
    pub fn kiss() -> Self {
        Self { kiss: true, ..Self::default() }
    }

    /// One that loses so many of a thousand frames.
    #[must_use]
    pub fn losing(mut self, thousandths: u16) -> Self {
        self.loss = thousandths;
        self
    }
}

impl Channel {
    /// LoRa at spreading factor 9 and 125 kHz: 1,760 bits a second, and whole frames.
    pub fn sf9(loss: u16, seed: u64) -> Self {
        Self { loss, ..Self::of(1760, seed) }
    }

    /// So many bits a second, 50 ms of preamble, whole frames, and nothing lost but by collisions.
    pub fn of(bit_rate: u64, seed: u64) -> Self {
        Self { bit_rate, preamble: Duration::from_millis(50), loss: 0, passes_bytes: false, seed }
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
    modems: Vec<Place>,
    on_air: Vec<Sending>,
    counts: Counts,
}

/// A modem's place on the channel.
#[derive(Debug)]
struct Place {
    modem: Modem,
    /// Where it puts what it has heard; none once its host is gone.
    host: Option<mpsc::UnboundedSender<Vec<u8>>>,
    airtime: Duration,
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
        let (modems, on_air, counts) = (Vec::new(), Vec::new(), Counts::default());
        Self(Arc::new(Mutex::new(State { channel, dice, modems, on_air, counts })))
    }

    /// A modem that sends what its host writes at once as one frame, as transparent radio modems do. This is the host's
    /// side of its serial line.
    pub fn modem(&self) -> DuplexStream {
        self.plug(Modem::default())
    }

    /// A modem like this one; the host's side of its serial line.
    pub fn plug(&self, modem: Modem) -> DuplexStream {
        let (host, line) = tokio::io::duplex(BUFFER);
        let (from_host, to_host) = tokio::io::split(line);
        let (queue, waiting) = mpsc::unbounded_channel();
        let mut state = self.state();
        state.modems.push(Place { modem, host: Some(queue), airtime: Duration::ZERO });
        let station = state.modems.len() - 1;
        drop(state);
        tokio::spawn(self.clone().send_all(station, modem.kiss, from_host));
        tokio::spawn(pass_on(waiting, to_host));
        host
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Airtime of one modem so far, in the order in which they were made.
    pub fn airtime(&self, modem: usize) -> Duration {
        self.state().modems.get(modem).map_or(Duration::ZERO, |place| place.airtime)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send_all(self, station: usize, kiss: bool, mut from_host: ReadHalf<DuplexStream>) {
        let mut buffer = vec![0; BUFFER];
        let mut begun = Vec::new();
        // Zero, or an error, is the end of the host.
        while let Ok(n @ 1..) = from_host.read(&mut buffer).await {
            let written = buffer.get(..n).unwrap_or_default();
            if !kiss {
                self.send(station, written, written.len()).await;
                continue;
            }
            for part in written.split_inclusive(|byte| *byte == FEND) {
                begun.extend_from_slice(part);
                if part.last() != Some(&FEND) {
                    continue;
                }
                let frame = std::mem::take(&mut begun);
                // The command, the escapes and the delimiter stay on the line; two delimiters in a row hold nothing.
                let around = 2 + frame.iter().filter(|byte| **byte == FESC).count();
                if frame.len() > around {
                    self.send(station, &frame, frame.len() - around).await;
                }
            }
        }
        if let Some(place) = self.state().modems.get_mut(station) {
            place.host = None;
        }
    }

    /// One frame, from its preamble to its last byte; `length` of its bytes are on the air.
    async fn send(&self, station: usize, frame: &[u8], length: usize) {
        let (start, hears, preamble, passes_bytes) = {
            let mut state = self.state();
            let spoilt = !state.on_air.is_empty();
            state.on_air.iter_mut().for_each(|other| other.spoilt = true);
            state.on_air.push(Sending { from: station, spoilt });
            let hears = state.who_hears(station);
            let airtime = state.channel.preamble + state.channel.time(length);
            state.counts.frames += 1;
            state.counts.airtime += airtime;
            if let Some(own) = state.modems.get_mut(station) {
                own.airtime += airtime;
            }
            (Instant::now(), hears, state.channel.preamble, state.channel.passes_bytes)
        };
        let chunk = if passes_bytes { CHUNK } else { frame.len() };
        let mut over = 0;
        for part in frame.chunks(chunk) {
            over += part.len();
            let at = start + preamble + self.state().channel.time(over.min(length));
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
        for (to, place) in state.modems.iter().enumerate() {
            let speaks = state.on_air.iter().any(|sending| sending.from == to);
            if let Some(host) = &place.host
                && hears.get(to) == Some(&true)
                && !speaks
            {
                // A host that is gone hears nothing.
                let _ = host.send(part.clone());
            }
        }
    }
}

impl State {
    /// Which modems do not miss the next frame of this one.
    fn who_hears(&mut self, from: usize) -> Vec<bool> {
        let lost = self.modems.get(from).is_some_and(|place| self.dice.hits(place.modem.loss));
        let mut hears = Vec::with_capacity(self.modems.len());
        for (to, place) in self.modems.iter().enumerate().filter(|(_, place)| place.host.is_some()) {
            let missed =
                to != from && (lost | self.dice.hits(self.channel.loss) | self.dice.hits(place.modem.loss));
            self.counts.lost += u64::from(missed);
            hears.resize(to, false);
            hears.push(to != from && !missed);
        }
        hears
    }
}

async fn pass_on(mut waiting: mpsc::UnboundedReceiver<Vec<u8>>, mut to_host: WriteHalf<DuplexStream>) {
    while let Some(bytes) = waiting.recv().await {
        if to_host.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
