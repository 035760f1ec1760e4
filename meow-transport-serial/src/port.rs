//! The device itself: opened by one at a time, and again when it is back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::crypto::{Random as _, SystemRandom};
use meow_core::segment::Access;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_serial::{DataBits, FlowControl, Parity, SerialPortBuilderExt as _, SerialStream, StopBits};

use crate::config::Settings;
use crate::error::SerialError;

/// What both halves of a line share.
pub(crate) struct Port {
    pub(crate) settings: Settings,
    access: Mutex<Access>,
    start: Instant,
    /// None while the device is away.
    writer: tokio::sync::Mutex<Option<WriteHalf<SerialStream>>>,
    /// The device is back, or the reader is gone.
    changed: Notify,
    reader_gone: std::sync::atomic::AtomicBool,
}

impl Port {
    pub(crate) fn open(settings: Settings) -> Result<(Arc<Self>, ReadHalf<SerialStream>), SerialError> {
        let mut seed = [0; 8];
        SystemRandom.fill(&mut seed).map_err(SerialError::Random)?;
        let (opened, writer) = open(&settings)?;
        let access = Access::new(settings.rules.clone(), u64::from_le_bytes(seed));
        let port = Self {
            settings,
            access: Mutex::new(access),
            start: Instant::now(),
            writer: tokio::sync::Mutex::new(Some(writer)),
            changed: Notify::new(),
            reader_gone: false.into(),
        };
        Ok((Arc::new(port), opened))
    }

    /// Opens the device again.
    pub(crate) async fn reopen(&self) -> Result<ReadHalf<SerialStream>, SerialError> {
        let mut writer = self.writer.lock().await;
        *writer = None;
        let (opened, new) = open(&self.settings)?;
        *writer = Some(new);
        drop(writer);
        self.changed.notify_waiters();
        Ok(opened)
    }

    /// The device went away: what is written from here on waits until it is back.
    pub(crate) async fn lost(&self) {
        *self.writer.lock().await = None;
    }

    pub(crate) fn access(&self) -> MutexGuard<'_, Access> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) async fn sleep_until(&self, at: Duration) {
        tokio::time::sleep_until(self.start + at).await;
    }

    /// Nobody will open the device again.
    pub(crate) fn leave(&self) {
        self.reader_gone.store(true, std::sync::atomic::Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Writes all of it, once the device is there.
    pub(crate) async fn write(&self, bytes: &[u8]) -> Result<(), SerialError> {
        use tokio::io::AsyncWriteExt as _;
        loop {
            let changed = self.changed.notified();
            if self.reader_gone.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(SerialError::Closed);
            }
            let mut writer = self.writer.lock().await;
            match writer.as_mut() {
                Some(device) => match device.write_all(bytes).await {
                    Ok(()) => return Ok(()),
                    Err(e) => {
                        tracing::debug!("a serial device was lost while writing: {e}");
                        *writer = None;
                    }
                },
                None => {
                    drop(writer);
                    changed.await;
                }
            }
        }
    }
}

/// Opens the device; it is locked against everybody else who locks it.
fn open(settings: &Settings) -> Result<(ReadHalf<SerialStream>, WriteHalf<SerialStream>), SerialError> {
    let flow = if settings.hardware_flow { FlowControl::Hardware } else { FlowControl::None };
    let device = tokio_serial::new(&settings.path, settings.baud)
        .data_bits(DataBits::Eight)
        .parity(Parity::None)
        .stop_bits(StopBits::One)
        .flow_control(flow)
        .open_native_async()
        .map_err(|e| {
            // The library calls a device that is locked "no device" too.
            let there = std::fs::metadata(&settings.path).is_ok();
            let none = matches!(e.kind, tokio_serial::ErrorKind::NoDevice);
            if none && there { SerialError::Taken } else { std::io::Error::from(e).into() }
        })?;
    Ok(tokio::io::split(device))
}
