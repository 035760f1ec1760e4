#![doc = include_str!("../README.md")]

mod budget;
mod bus;
mod channel;
mod config;
mod dial;
mod error;
mod link;
mod listen;
mod prompt;
mod socket;
mod upkeep;
pub mod wire;

pub use config::{BrokerConfig, ClientConfig, Roots, ServerConfig};

use std::fmt;
use std::sync::Arc;

use meow_core::Result;
use meow_core::transport::{Endpoint, Link, LinkProfile, Listener, Transport};

use dial::Dialer;
use error::MqttError;
use wire::Prefix;

/// The largest frame in bytes: the largest sealed packet, and 1 KiB.
const MAX_FRAME: usize = 32 * 1024 + 1024;

/// The schemes `mqtt` and `mqtts`: links through a broker.
///
/// An endpoint names the broker, and in its path the prefix of all topics. Which server is meant says
/// [`Endpoint::server`]: dialling needs it. Clones share their connections. A server can tell that what comes over one
/// channel comes from one client, and a broker sees the same of a connection; who must not be linked dials through
/// separate values.
#[derive(Clone)]
pub struct Mqtt {
    dialer: Arc<Dialer>,
    server: Arc<ServerConfig>,
}

impl Mqtt {
    /// A transport with these configurations.
    pub fn new(client: ClientConfig, server: ServerConfig) -> Self {
        Self { dialer: Dialer::new(client), server: Arc::new(server) }
    }
}

impl Default for Mqtt {
    /// Dials; listening needs [`ServerConfig::identity`].
    fn default() -> Self {
        Self::new(ClientConfig::default(), ServerConfig::default())
    }
}

impl fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mqtt").field("server", &self.server).finish_non_exhaustive()
    }
}

fn check(endpoint: &Endpoint) -> Result<Prefix> {
    endpoint.options().finish()?;
    if endpoint.host().is_none() {
        return Err(MqttError::Endpoint("the host is missing").into());
    }
    if endpoint.port().is_none_or(|port| port == 0) {
        return Err(MqttError::Endpoint("the port is the broker's, and not 0").into());
    }
    Ok(Prefix::of(endpoint).map_err(MqttError::from)?)
}

impl Transport for Mqtt {
    fn schemes(&self) -> &'static [&'static str] {
        &["mqtt", "mqtts"]
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        check(endpoint)?;
        Ok(link::profile())
    }

    /// Opens a link to the server that [`Endpoint::server`] says.
    ///
    /// # Errors
    /// `Usage` without one; `Unreachable` when the broker, or the server on it, is not found; `Refused` when the broker
    /// wants another user or does not allow the topics; `WrongPeer` for its certificate.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no half-open link behind.
    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        self.dialer.connect(endpoint).await
    }

    /// Announces the server on the broker, and takes links. A listener that is dropped winds up as if closed, in the
    /// background. One listener for each Skp, broker and prefix: clients would take either of two.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and `Usage` without [`ServerConfig::identity`].
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        listen::listen(&self.server, endpoint).await
    }
}
