//! Putting a relay together, and what its owner holds while it runs.

mod exchange;
mod hop;
mod node;
mod serve;
mod session;
mod upkeep;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use meow_core::crypto::{Random, SystemRandom};
use meow_core::lane::ServerReference;
use meow_core::store::MailboxStore;
use meow_core::transport::{Endpoint, Host, Listener};
use meow_core::{Error, ErrorKind, Result};
use meow_transport::Transports;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::service::DynService;
use crate::store::{SqliteMailboxStore, StoreOptions};
use crate::{
    Admission, Blobs, Clock, Hop, HopCounts, Mailboxes, Presence, RelayLimits, ServerIdentity, Service,
    SystemClock,
};
use node::Node;

/// Most URLs in a descriptor.
const MAX_URLS: usize = 8;

/// A relay: the server that keeps sealed mail. Start with [`Relay::builder`].
#[derive(Debug)]
pub struct Relay(());

impl Relay {
    /// A relay still to be put together.
    pub fn builder() -> RelayBuilder {
        RelayBuilder {
            transports: Transports::new(),
            listen: Vec::new(),
            public_urls: Vec::new(),
            store: None,
            identity: None,
            limits: RelayLimits::default(),
            admission: Admission::default(),
            services: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            random: Box::new(SystemRandom),
            hop: None,
        }
    }
}

/// The parts of a relay. A store, an identity and one endpoint to listen at are needed.
#[must_use]
pub struct RelayBuilder {
    transports: Transports,
    listen: Vec<Endpoint>,
    public_urls: Vec<Endpoint>,
    store: Option<Arc<dyn MailboxStore>>,
    identity: Option<ServerIdentity>,
    limits: RelayLimits,
    admission: Admission,
    services: Vec<Arc<dyn DynService>>,
    clock: Arc<dyn Clock>,
    random: Box<dyn Random>,
    hop: Option<Hop>,
}

impl RelayBuilder {
    /// The transports to listen with.
    pub fn transports(mut self, transports: Transports) -> Self {
        self.transports = transports;
        self
    }

    /// Listens here. May be given more than once. Port 0 lets the system choose.
    pub fn listen(mut self, endpoint: Endpoint) -> Self {
        self.listen.push(endpoint);
        self
    }

    /// A URL by which clients reach the relay, where that is not the one listened at. May be given more than once, the
    /// preferred one first; at most eight.
    pub fn public_url(mut self, url: Endpoint) -> Self {
        self.public_urls.push(url);
        self
    }

    /// Keeps identity and mailboxes in this folder, both made on the first start: the key file, and the embedded
    /// encrypted store. Takes the place of [`store`](Self::store) and [`identity`](Self::identity).
    ///
    /// # Errors
    /// Those of [`ServerIdentity::open_or_create`] and [`SqliteMailboxStore::open`].
    pub fn data(mut self, dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir).map_err(|e| {
            Error::new(ErrorKind::System, "the data folder cannot be made; check its path and permissions")
                .with_source(e)
        })?;
        let identity = ServerIdentity::open_or_create(dir, &mut *self.random)?;
        let path = dir.join("mailboxes.db");
        self.store =
            Some(Arc::new(SqliteMailboxStore::open(&path, &identity.store_key(), StoreOptions::default())?));
        self.identity = Some(identity);
        Ok(self)
    }

    /// Where mail is kept.
    pub fn store(mut self, store: Arc<dyn MailboxStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Who the relay is.
    pub fn identity(mut self, identity: ServerIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// What the relay allows.
    pub fn limits(mut self, limits: RelayLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Who may open a mailbox.
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// A service. Without any, the relay has [`Mailboxes`], [`Blobs`] and [`Presence`]; with one, it has those given and no others.
    /// The descriptor is always served.
    pub fn service(mut self, service: impl Service) -> Self {
        self.services.push(Arc::new(service));
        self
    }

    /// Another clock than the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Another source of randomness than the system's.
    pub fn random(mut self, random: impl Random + 'static) -> Self {
        self.random = Box::new(random);
        self
    }

    /// Makes the relay a hop of Matriochka chains. Without, it refuses onion packets.
    pub fn hop(mut self, hop: Hop) -> Self {
        self.hop = Some(hop);
        self
    }

    /// Starts to listen and to serve, on the current tokio runtime, which needs its timer and I/O.
    ///
    /// # Errors
    /// `Usage` for parts that are missing or do not fit, and whatever the transports and the identity's folder meet.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing running.
    pub async fn start(self) -> Result<RelayHandle> {
        let missing = |what| Error::new(ErrorKind::Usage, format!("a relay needs {what}"));
        let store = self.store.ok_or_else(|| missing("a store: call store()"))?;
        let identity = self.identity.ok_or_else(|| missing("an identity: call identity()"))?;
        if self.listen.is_empty() {
            return Err(missing("an endpoint to listen at: call listen()"));
        }
        self.limits.check()?;
        let mut services = self.services;
        if services.is_empty() {
            services = vec![Arc::new(Mailboxes::new()), Arc::new(Blobs::new()), Arc::new(Presence::new())];
        }
        let mut listeners = Vec::with_capacity(self.listen.len());
        for endpoint in &self.listen {
            listeners.push(self.transports.listen(endpoint).await.map_err(|e| at(endpoint, e))?);
        }
        let local: Vec<Endpoint> =
            listeners.iter().map(|l| l.local().clone().without_credentials()).collect();
        let urls = urls(self.public_urls, &local)?;
        let fingerprint = *identity.fingerprint();
        let first = urls.first().cloned().ok_or_else(|| missing("an endpoint to listen at"))?;
        let reference = ServerReference { url: first, fingerprint, invite: None };

        let stopping = CancellationToken::new();
        let node = Node::new(node::Parts {
            store,
            identity,
            urls,
            limits: Arc::new(self.limits),
            admission: self.admission,
            services,
            clock: self.clock,
            random: self.random,
            stopping: stopping.clone(),
            hop: self.hop,
        })?;
        let tasks = TaskTracker::new();
        tasks.spawn(upkeep::run(Arc::clone(&node)));
        tasks.spawn(hop::learn(Arc::clone(&node)));
        for (number, listener) in listeners.into_iter().enumerate() {
            tasks.spawn(serve::run(Arc::clone(&node), number, listener));
        }
        tasks.close();
        Ok(RelayHandle { node, reference, local, tasks, stopping: stopping.drop_guard() })
    }
}

impl fmt::Debug for RelayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayBuilder")
            .field("transports", &self.transports)
            .field("listen", &self.listen)
            .field("public_urls", &self.public_urls)
            .field("limits", &self.limits)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}

/// Says which endpoint an error is about: transports do not name it. Shown without user and password.
fn at(endpoint: &Endpoint, e: Error) -> Error {
    Error::new(e.kind(), format!("{endpoint}: {e}")).with_retry(e.retry()).with_source(e)
}

/// The URLs to tell clients.
fn urls(public: Vec<Endpoint>, local: &[Endpoint]) -> Result<Vec<Endpoint>> {
    if let Some(url) = public.iter().find(|url| url.credentials().is_some()) {
        let text =
            format!("the public URL {url} must not hold a user name or password: everybody gets to see it");
        return Err(Error::new(ErrorKind::Usage, text));
    }
    if public.len() > MAX_URLS {
        return Err(Error::new(ErrorKind::Usage, format!("a relay has at most {MAX_URLS} public URLs")));
    }
    if !public.is_empty() {
        return Ok(public);
    }
    Ok(local.iter().take(MAX_URLS).cloned().map(dialable).collect())
}

/// "All addresses" is nowhere to go to; on this machine, loopback is.
fn dialable(local: Endpoint) -> Endpoint {
    match local.host() {
        Some(Host::Ip(IpAddr::V4(ip))) if ip.is_unspecified() => local.with_ip(Ipv4Addr::LOCALHOST.into()),
        Some(Host::Ip(IpAddr::V6(ip))) if ip.is_unspecified() => local.with_ip(Ipv6Addr::LOCALHOST.into()),
        _ => local,
    }
}

/// A running relay. Dropping it stops the relay without letting open requests end; [`shutdown`](Self::shutdown) lets them.
pub struct RelayHandle {
    node: Arc<Node>,
    reference: ServerReference,
    local: Vec<Endpoint>,
    tasks: TaskTracker,
    stopping: DropGuard,
}

impl RelayHandle {
    /// What users paste to find this relay: its first public URL and its fingerprint.
    pub fn reference(&self) -> &ServerReference {
        &self.reference
    }

    /// The endpoints really listened at: port 0 replaced by the port that the system gave, without user and password.
    pub fn local_endpoints(&self) -> &[Endpoint] {
        &self.local
    }

    /// What became of onion packets since the start; `None` where the relay is no hop.
    pub fn hop_counts(&self) -> Option<HopCounts> {
        self.node.hop.as_ref().map(|hop| hop.counts.read())
    }

    /// Stops: takes no new links, answers held pulls, lets open requests end for a bounded time, and returns when the
    /// store is at rest. Whatever was confirmed is durable.
    ///
    /// # Cancel safety
    /// The relay stops all the same when the future is dropped.
    pub async fn shutdown(self) {
        drop(self.stopping);
        self.tasks.wait().await;
        self.node.rest().await;
    }
}

impl fmt::Debug for RelayHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayHandle").field("reference", &self.reference).finish_non_exhaustive()
    }
}

/// Closing is for the transport to do; here only its failure is told.
async fn close(mut listener: Listener) {
    if let Err(e) = listener.close().await {
        tracing::warn!(kind = e.kind().name(), "a listener did not close cleanly: {e}");
    }
}
