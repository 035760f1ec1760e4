#![doc = include_str!("../README.md")]

mod config;
mod conn;
mod dial;
mod error;
mod exchange;
mod forwarded;
pub mod framing;
mod listen;
mod places;
mod pool;
mod request;
pub mod response;
mod serve;
mod tls;
mod watch;

pub use config::{Account, ClientConfig, Identity, Roots, ServerConfig};
pub use forwarded::{Network, NetworkError};
pub use framing::Limits;

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use meow_core::Result;
use meow_core::transport::{Endpoint, Link, LinkProfile, Listener, Pattern, Transport};

use error::HttpError;
use pool::Pool;

/// The content type of every request and every answer.
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The schemes `http` and `https`: each POST is one exchange link.
///
/// Clones share one connection pool. A server can tell that what comes over one connection comes from one
/// client; who must not be linked dials through separate values.
#[derive(Clone)]
pub struct Http {
    pool: Arc<Pool>,
    server: Arc<ServerConfig>,
    server_tls: Option<Arc<rustls::ServerConfig>>,
}

impl Http {
    /// A transport with these configurations.
    ///
    /// # Errors
    /// [`Usage`](meow_core::ErrorKind::Usage) if a certificate or key does not parse, or the key is not the certificate's.
    pub fn new(client: ClientConfig, server: ServerConfig) -> Result<Self> {
        let server_tls = server.identity.as_ref().map(tls::server).transpose()?;
        Ok(Self { pool: Pool::new(client), server: Arc::new(server), server_tls })
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { pool: Pool::new(ClientConfig::default()), server: Arc::default(), server_tls: None }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What an exchange under these limits can do.
fn profile(limits: Limits) -> LinkProfile {
    LinkProfile::new(Pattern::Exchange, limits.max_frame)
}

fn check(endpoint: &Endpoint) -> Result<()> {
    endpoint.options().finish()?;
    if endpoint.host().is_none() {
        return Err(HttpError::Endpoint("the host is missing").into());
    }
    if endpoint.credentials().is_some_and(|credentials| credentials.user().contains(':')) {
        return Err(HttpError::Credentials.into());
    }
    Ok(())
}

impl Transport for Http {
    fn schemes(&self) -> &'static [&'static str] {
        &["http", "https"]
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        check(endpoint)?;
        Ok(profile(self.pool.config().limits))
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        exchange::open(&self.pool, endpoint).await
    }

    /// Listens on host and port, and serves POST requests on exactly the endpoint's path. A user and password in
    /// the endpoint become an account beside the configured ones. A listener that is dropped winds up as if closed, in
    /// the background.
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        check(endpoint)?;
        listen::listen(&self.server, self.server_tls.as_ref(), endpoint).await
    }
}
