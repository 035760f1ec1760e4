#![doc = include_str!("../README.md")]

mod cobs;
mod config;
mod device;
mod dial;
mod error;
pub mod framing;
pub mod kiss;
mod ledger;
mod listen;
mod port;
mod record;

pub use config::{MAX_MTU, MIN_MTU, Mode, Settings};
pub use device::{BoxStream, Stream};

use std::sync::Arc;

use meow_core::Result;
use meow_core::transport::{Endpoint, Link, LinkProfile, Listener, Transport};

/// The scheme `serial`. Everything is set by the options of the URL, but for the folder of [`airtime_in`](Self::airtime_in).
#[derive(Clone)]
pub struct Serial {
    line: dial::Line,
}

impl Serial {
    /// The transport, over the devices of this machine.
    pub fn new() -> Self {
        Self {
            line: dial::Line { device: Arc::new(device::by_path), ledgers: ledger::Ledgers::by_default() },
        }
    }

    /// The transport over other streams of bytes: a modem behind Bluetooth or a terminal server, a simulated one. `open` is
    /// called when an endpoint is opened, and again each time that the stream has ended or failed. It must not block; an
    /// error of [`std::io::ErrorKind::NotFound`] means that the device is away.
    ///
    /// Where a duty cycle is asked for, the airtime of each path is kept as long as this value and its clones live, or longer
    /// by [`airtime_in`](Self::airtime_in), and one path is open once at a time.
    pub fn over<F>(open: F) -> Self
    where
        F: Fn(&Settings) -> std::io::Result<BoxStream> + Send + Sync + 'static,
    {
        let device: device::Open = Arc::new(move |settings| Ok(device::Device::Other(open(settings)?)));
        Self { line: dial::Line { device, ledgers: ledger::Ledgers::in_memory() } }
    }

    /// Keeps the airtime of devices with a duty cycle in this folder, in a file of 8 KiB for each; it is made if it is not there.
    /// Whoever has the same device open by turns needs the same folder, or more is sent than the duty cycle allows. Without this
    /// it is what `MEOW_AIRTIME` names, or `meow/airtime` in the user's folder for state (`$XDG_STATE_HOME`, or
    /// `$HOME/.local/state`; `%LOCALAPPDATA%`). A device whose airtime cannot be written down is not opened: an error of kind
    /// `System`.
    #[must_use]
    pub fn airtime_in(mut self, folder: impl Into<std::path::PathBuf>) -> Self {
        self.line.ledgers = ledger::Ledgers::Folder(folder.into());
        self
    }
}

impl Default for Serial {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serial").finish_non_exhaustive()
    }
}

impl Transport for Serial {
    fn schemes(&self) -> &'static [&'static str] {
        &["serial"]
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        Ok(Settings::of(endpoint)?.profile())
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        Ok(self.line.open(Settings::of(endpoint)?)?)
    }

    /// Opens the device. The listener has one link at once, the line itself.
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        listen::listen(endpoint, &self.line)
    }
}
