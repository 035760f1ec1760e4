#![doc = include_str!("../README.md")]

mod config;
mod dial;
mod error;
pub mod framing;
pub mod kiss;
mod listen;
mod port;

pub use config::{MAX_MTU, MIN_MTU, Mode, Settings};

use meow_core::Result;
use meow_core::transport::{Endpoint, Link, LinkProfile, Listener, Transport};

/// The scheme `serial`. Everything is set by the options of the URL.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial(());

impl Serial {
    /// The transport.
    pub fn new() -> Self {
        Self::default()
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
        Ok(dial::open(Settings::of(endpoint)?)?)
    }

    /// Opens the device. The listener has one link at once, the line itself.
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        listen::listen(endpoint)
    }
}
