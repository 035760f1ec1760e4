//! The line as a link: frames out and in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use meow_core::Result;
use meow_core::segment::{Turn, is_answer};
use meow_core::transport::{Frame, Link, Peer, RecvFrames, SendFrames, check_frame};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use crate::config::{Mode, Settings};
use crate::device::{Half, Open};
use crate::error::SerialError;
use crate::ledger::Ledgers;
use crate::port::Port;
use crate::{framing, kiss};

/// Between two tries to open a device that is away: first and longest.
const FIRST_TRY: Duration = Duration::from_millis(100);
const LAST_TRY: Duration = Duration::from_secs(5);

/// How lines are opened.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) device: Open,
    pub(crate) ledgers: Ledgers,
}

impl Line {
    pub(crate) fn open(&self, settings: Settings) -> Result<Link, SerialError> {
        let (profile, mtu, mode) = (settings.profile(), settings.mtu, settings.mode);
        let (port, opened) = Port::open(settings, Arc::clone(&self.device), &self.ledgers)?;
        let decoder = match mode {
            Mode::Kiss => Decoder::Kiss(kiss::Decoder::new(mtu)),
            _ => Decoder::Cobs(framing::Decoder::new(mtu)),
        };
        let tx = Tx { port: Arc::clone(&port), torn: AtomicBool::new(false), last: None, finished: false };
        let rx = Rx { port, state: Reader::Open(opened), decoder, buffer: vec![0; 4096] };
        Ok(Link::new(tx, rx, profile, Peer::default()))
    }
}

/// After so long without a frame, a delimiter goes before the next one on a cable.
const QUIET: Duration = Duration::from_millis(20);

struct Tx {
    port: Arc<Port>,
    /// A frame was broken off on the line, so that the next one needs a delimiter before it.
    torn: AtomicBool,
    last: Option<Instant>,
    finished: bool,
}

impl Tx {
    /// Waits until a frame may go, and its airtime is written down.
    async fn turn(&self, on_air: usize, answer: bool) -> Result<(), SerialError> {
        let port = &self.port;
        loop {
            let turn = port.access().turn(port.now(), on_air, answer);
            match turn {
                Turn::Now if port.take(on_air) => return Ok(()),
                // The channel may be another one's afterwards.
                Turn::Now => port.reserve(on_air).await?,
                // Where nothing but the cable's own speed is in the way, the device knows best whether it still is.
                Turn::At(_) if port.settings.is_free() && port.is_drained().await => return Ok(()),
                Turn::At(at) => port.sleep_until(at).await,
            }
        }
    }
}

impl SendFrames for Tx {
    /// Waits for its turn on the channel; on a radio it also waits until the frame has left.
    async fn send(&mut self, frame: Frame) -> Result<()> {
        let settings = &self.port.settings;
        check_frame(&frame, settings.mtu)?;
        if self.finished {
            return Err(SerialError::Option("this line was finished; open it again".into()).into());
        }
        let (frame_bytes, delimiter) = match settings.mode {
            Mode::Kiss => (kiss::encode(&frame), 0xc0),
            _ => (framing::encode(&frame), 0),
        };
        // A TNC sends the frame without what stands round it on the line.
        let on_air = if settings.mode == Mode::Kiss { frame.len() } else { frame_bytes.len() };
        let line = [&[delimiter], &*frame_bytes].concat();
        let answer = is_answer(&frame);
        let end = loop {
            self.port.is_there().await?;
            self.turn(on_air, answer).await?;
            // What noise left on a quiet cable is cut off from the frame. A modem passes on what it received and no noise.
            let quiet = settings.mode == Mode::Cable && self.last.is_none_or(|last| last.elapsed() >= QUIET);
            let cut = self.torn.swap(true, Ordering::Relaxed) || quiet;
            let line = if cut { &*line } else { &*frame_bytes };
            // A frame that was broken off is another one the next time: with a turn and airtime of its own.
            if let Some(end) = self.port.write(line, on_air, answer).await? {
                break end;
            }
        };
        self.torn.store(false, Ordering::Relaxed);
        self.last = Some(Instant::now());
        if settings.is_radio() {
            self.port.sleep_until(end).await;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        self.finished = true;
        Ok(())
    }
}

enum Decoder {
    Cobs(framing::Decoder),
    Kiss(kiss::Decoder),
}

impl Decoder {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Cobs(decoder) => decoder.push(bytes),
            Self::Kiss(decoder) => decoder.push(bytes),
        }
    }
    fn frame(&mut self) -> Option<Bytes> {
        match self {
            Self::Cobs(decoder) => decoder.frame(),
            Self::Kiss(decoder) => decoder.frame(),
        }
    }
    fn reset(&mut self) {
        match self {
            Self::Cobs(decoder) => decoder.reset(),
            Self::Kiss(decoder) => decoder.reset(),
        }
    }
}

enum Reader {
    Open(Half),
    /// The device is away; when to try again, and how long to wait after that.
    Away(Instant, Duration),
}

struct Rx {
    port: Arc<Port>,
    state: Reader,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl RecvFrames for Rx {
    /// Goes on when the device goes away and comes back.
    async fn recv(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.decoder.frame() {
                return Ok(Some(frame));
            }
            match &mut self.state {
                Reader::Open(opened) => match opened.read(&mut self.buffer).await {
                    Ok(n) if n > 0 => {
                        self.port.access().heard(self.port.now(), n);
                        self.decoder.push(self.buffer.get(..n).unwrap_or_default());
                    }
                    end => {
                        tracing::warn!(error = ?end.err().map(|e| e.kind()), "a serial device is gone; waiting for it");
                        self.decoder.reset();
                        self.state = Reader::Away(Instant::now() + FIRST_TRY, FIRST_TRY);
                    }
                },
                Reader::Away(at, pause) => {
                    // May be cancelled here and come again: the device is let go of each time.
                    self.port.lost().await;
                    tokio::time::sleep_until(*at).await;
                    match self.port.reopen().await {
                        Ok(opened) => {
                            tracing::info!("a serial device is back");
                            self.state = Reader::Open(opened);
                        }
                        Err(_) => {
                            let pause = (*pause * 2).min(LAST_TRY);
                            self.state = Reader::Away(Instant::now() + pause, pause);
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        self.port.leave();
    }
}
