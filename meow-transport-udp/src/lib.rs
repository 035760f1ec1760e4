#![doc = include_str!("../README.md")]

mod budget;
mod config;
mod dial;
mod error;
mod framing;
mod link;
mod listen;
mod open;
mod proof;
mod reset;
mod seats;
mod through;

pub use config::{ClientConfig, ServerConfig};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use meow_core::Result;
use meow_core::transport::{Endpoint, Link, LinkProfile, Listener, Transport};
use quinn::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};

use dial::Dialer;
use error::UdpError;

/// Bytes of one connection that may be under way in each direction, and so lie in memory on either side (256 KiB).
const WINDOW: VarInt = VarInt::from_u32(256 * 1024);

/// What both sides of a connection have in common.
fn transport(silence: Duration) -> Result<TransportConfig, UdpError> {
    let silence = IdleTimeout::try_from(silence).map_err(|_| UdpError::Setting)?;
    // A request of two packets is answered sooner than it would be acknowledged by itself.
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(VarInt::from_u32(8));
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(silence))
        .ack_frequency_config(Some(acknowledgements))
        .datagram_receive_buffer_size(None)
        .receive_window(WINDOW)
        .stream_receive_window(WINDOW)
        .send_window(WINDOW.into_inner());
    Ok(transport)
}

/// The scheme `udp`: each bidirectional QUIC stream is one link.
///
/// Clones share their connections. A server can tell that what comes over one connection comes from one client; who
/// must not be linked dials through separate values.
#[derive(Clone)]
pub struct Udp {
    dialer: Arc<Dialer>,
    server: Arc<ServerConfig>,
}

impl Udp {
    /// A transport with these configurations.
    pub fn new(client: ClientConfig, server: ServerConfig) -> Self {
        Self { dialer: Dialer::new(client), server: Arc::new(server) }
    }
}

impl Default for Udp {
    /// Dials; listening needs [`ServerConfig::identity`].
    fn default() -> Self {
        Self::new(ClientConfig::default(), ServerConfig::default())
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp").field("server", &self.server).finish_non_exhaustive()
    }
}

fn check(endpoint: &Endpoint) -> Result<()> {
    endpoint.options().finish()?;
    let wrong = if endpoint.host().is_none() {
        Some("the host is missing")
    } else if endpoint.port().is_none() {
        Some("the port is missing")
    } else if endpoint.credentials().is_some() {
        Some("it takes no user and password")
    } else if endpoint.path() != "/" {
        Some("it has no path")
    } else {
        None
    };
    wrong.map_or(Ok(()), |what| Err(UdpError::Endpoint(what).into()))
}

impl Transport for Udp {
    fn schemes(&self) -> &'static [&'static str] {
        &["udp"]
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        check(endpoint)?;
        Ok(link::profile(self.dialer.config().max_frame))
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        self.dialer.connect(endpoint).await
    }

    async fn connect_through(&self, endpoint: &Endpoint) -> Result<Link> {
        self.dialer.connect_through(endpoint).await
    }

    /// One packet, and a farewell if nothing has come back after two and a half seconds.
    async fn connect_sparingly(&self, endpoint: &Endpoint) -> Result<Link> {
        self.dialer.connect_sparingly(endpoint).await
    }

    /// Listens on host and port. A listener that is dropped winds up as if closed, in the background.
    ///
    /// # Errors
    /// `Usage` without [`ServerConfig::identity`]; `System` when the port is taken.
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        let shared = self.dialer.config().from_listener.then_some(&self.dialer);
        listen::listen(&self.server, endpoint, shared).await
    }
}
