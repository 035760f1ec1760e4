//! The device itself: opened by one at a time, and again when it is back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::crypto::{Random as _, SystemRandom};
use meow_core::segment::{Access, Spent};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::config::Settings;
use crate::device::{Half, Open};
use crate::error::SerialError;
use crate::ledger::{Ledger, Ledgers};

/// What the clock of a port shows when it is opened: airtime of the hour before has a place on it.
const BEGIN: Duration = Duration::from_secs(2 * 3600);

/// What both halves of a line share.
pub(crate) struct Port {
    pub(crate) settings: Settings,
    device: Open,
    access: Mutex<Access>,
    /// Where a duty cycle is to be kept. Given back before the device is closed, for whoever opens that next.
    ledger: Mutex<Option<Ledger>>,
    start: Instant,
    /// None while the device is away.
    writer: tokio::sync::Mutex<Option<Half>>,
    /// The device is back, or the reader is gone.
    changed: Notify,
    reader_gone: std::sync::atomic::AtomicBool,
}

impl Port {
    pub(crate) fn open(
        settings: Settings,
        device: Open,
        ledgers: &Ledgers,
    ) -> Result<(Arc<Self>, Half), SerialError> {
        let mut seed = [0; 8];
        SystemRandom.fill(&mut seed).map_err(SerialError::Random)?;
        let opened = Half::new(device(&settings)?);
        let writer = opened.clone();
        // Once the device is one's own, so is its ledger.
        let (ledger, spent) = ledgers.open(settings.path(), &settings.rules, BEGIN)?.unzip();
        let access = Access::new(settings.rules.clone(), u64::from_le_bytes(seed));
        let port = Self {
            settings,
            device,
            access: Mutex::new(access.resumed(BEGIN, spent.unwrap_or_default())),
            ledger: Mutex::new(ledger),
            start: Instant::now(),
            writer: tokio::sync::Mutex::new(Some(writer)),
            changed: Notify::new(),
            reader_gone: false.into(),
        };
        Ok((Arc::new(port), opened))
    }

    /// Opens the device again.
    pub(crate) async fn reopen(&self) -> Result<Half, SerialError> {
        let mut writer = self.writer.lock().await;
        *writer = None;
        let opened = Half::new((self.device)(&self.settings)?);
        *writer = Some(opened.clone());
        drop(writer);
        self.changed.notify_waiters();
        Ok(opened)
    }

    /// The device went away: what is written from here on waits until it is back.
    pub(crate) async fn lost(&self) {
        *self.writer.lock().await = None;
    }

    /// Whether the device is there and everything that was written to it has left.
    pub(crate) async fn is_drained(&self) -> bool {
        self.writer.lock().await.as_ref().is_some_and(Half::is_drained)
    }

    pub(crate) fn access(&self) -> MutexGuard<'_, Access> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        BEGIN + self.start.elapsed()
    }

    pub(crate) async fn sleep_until(&self, at: Duration) {
        tokio::time::sleep_until(self.start + at.saturating_sub(BEGIN)).await;
    }

    fn ledger(&self) -> MutexGuard<'_, Option<Ledger>> {
        // Whoever panicked in there has written nothing down that could be used.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spent(&self) -> Vec<Spent> {
        self.access().spent().copied().collect()
    }

    /// Takes the airtime of a frame of what is written down as used; false if it has to be [reserved](Self::reserve) first.
    pub(crate) fn take(&self, on_air: usize) -> bool {
        let airtime = self.settings.rules.airtime(on_air);
        self.ledger().as_mut().is_none_or(|ledger| ledger.take(self.now(), airtime))
    }

    /// Writes airtime for this frame and some more down as used.
    pub(crate) async fn reserve(self: &Arc<Self>, on_air: usize) -> Result<(), SerialError> {
        let port = Arc::clone(self);
        let write = move || {
            let mut ledger = port.ledger();
            let (now, airtime) = (port.now(), port.settings.rules.airtime(on_air));
            ledger.as_mut().map_or(Ok(()), |ledger| ledger.reserve(now, &port.spent(), airtime))
        };
        tokio::task::spawn_blocking(write).await.map_err(|_| SerialError::Closed)?
    }

    /// Nobody will open the device again.
    pub(crate) fn leave(&self) {
        self.reader_gone.store(true, std::sync::atomic::Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Waits until the device is there, for as long as its settings say.
    pub(crate) async fn is_there(&self) -> Result<(), SerialError> {
        timeout(self.settings.patience(), self.comes()).await.map_err(|_| SerialError::Away)?
    }

    async fn comes(&self) -> Result<(), SerialError> {
        loop {
            let changed = self.changed.notified();
            if self.reader_gone.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(SerialError::Closed);
            }
            if self.writer.lock().await.is_some() {
                return Ok(());
            }
            changed.await;
        }
    }

    /// Writes a frame whose turn it is, and gives the end of its time on the air. None if the device is away, or went away
    /// meanwhile.
    pub(crate) async fn write(
        &self,
        line: &[u8],
        on_air: usize,
        answer: bool,
    ) -> Result<Option<Duration>, SerialError> {
        use tokio::io::AsyncWriteExt as _;
        let mut writer = self.writer.lock().await;
        let Some(device) = writer.as_mut() else { return Ok(None) };
        // Counted before it is written: what is written in part is on the air too.
        let end = self.access().sent(self.now(), on_air, answer);
        match timeout(self.settings.patience(), device.write_all(line)).await {
            Ok(Ok(())) => Ok(Some(end)),
            Err(_) => Err(SerialError::Stuck),
            Ok(Err(e)) => {
                tracing::debug!("a serial device was lost while writing: {e}");
                *writer = None;
                self.access().broken_off();
                Ok(None)
            }
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let ledger = self.ledger().take();
        if let Some(ledger) = ledger {
            ledger.close(self.now(), &self.spent());
        }
    }
}
