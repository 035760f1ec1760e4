#![doc = include_str!("../README.md")]

mod cobs;
mod config;
mod device;
mod dial;
mod error;
pub mod framing;
pub mod kiss;
mod listen;
mod port;

pub use config::{MAX_MTU, MIN_MTU, Mode, Settings};
pub use device::{BoxStream, Stream};

use std::sync::Arc;

use meow_core::Result;
use meow_core::transport::{Endpoint, Link, LinkProfile, Listener, Transport};

/// The scheme `serial`. Everything is set by the options of the URL.
#[derive(Clone)]
pub struct Serial {
    device: device::Open,
}

impl Serial {
    /// The transport, over the devices of this machine.
    pub fn new() -> Self {
        Self { device: Arc::new(device::by_path) }
    }

    /// The transport over other streams of bytes: a modem behind Bluetooth or a terminal server, a simulated one. `open` is
    /// called when an endpoint is opened, and again each time that the stream has ended or failed. It must not block; an
    /// error of [`std::io::ErrorKind::NotFound`] means that the device is away.
    pub fn over<F>(open: F) -> Self
    where
        F: Fn(&Settings) -> std::io::Result<BoxStream> + Send + Sync + 'static,
    {
        Self { device: Arc::new(move |settings| Ok(device::Device::Other(open(settings)?))) }
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
        Ok(dial::open(Settings::of(endpoint)?, Arc::clone(&self.device))?)
    }

    /// Opens the device. The listener has one link at once, the line itself.
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        listen::listen(endpoint, Arc::clone(&self.device))
    }
}
