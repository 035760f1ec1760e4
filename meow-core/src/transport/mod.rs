//! The transport abstraction: message-framed links with a profile (DESIGN, section "Transports").
//!
//! An implementer writes [`Transport`], [`Accept`], [`SendFrames`] and [`RecvFrames`] with plain `async fn`;
//! blanket impls box them ([`DynTransport`]) so that a registry can hold many schemes. Nothing here does I/O.

mod addresses;
mod endpoint;
mod link;
mod names;
mod network;
mod profile;
mod subnet;

pub use addresses::{AddressBlock, AddressBlockError, Addresses};
pub use endpoint::{Credentials, Endpoint, EndpointError, Host, MAX_URL, Options};
pub use link::{
    Accept, Frame, Link, LinkReceiver, LinkSender, Listener, Peer, RecvFrames, SendFrames, check_frame,
};
pub use names::{LookupError, Names, Resolve};
pub use network::{Network, Tally};
pub use profile::{CostClass, LinkProfile, Pattern};
pub use subnet::Subnet;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{Error, Result};

/// A future on the heap, for the boxed twins of the traits here.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One way to carry frames, chosen by URL scheme.
pub trait Transport: Send + Sync + 'static {
    /// The URL schemes served, in lower case, without `://`.
    fn schemes(&self) -> &'static [&'static str];

    /// What a link to this endpoint will probably be like. Does no I/O. Also checks the endpoint's options:
    /// an unknown or malformed one is an error.
    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile>;

    /// Opens a link.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no half-open link behind.
    fn connect(&self, endpoint: &Endpoint) -> impl Future<Output = Result<Link>> + Send;

    /// Opens a link to somebody who does the same towards this side at this moment, where translators of addresses may stand
    /// before both. What that takes beyond [`connect`](Self::connect) is for the transport to know; by default, nothing.
    /// The far side may get the link from its listener instead. Only for a place that is known to be the far side's: it may
    /// get many small packets.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no half-open link behind.
    fn connect_through(&self, endpoint: &Endpoint) -> impl Future<Output = Result<Link>> + Send {
        self.connect(endpoint)
    }

    /// Opens a link to a place of which nobody but a stranger says who is there. If nobody answers, that place gets three packets
    /// at most, in all (ATTACKS 28). By default a transport connects as ever: whoever dials by the word of strangers asks none
    /// for it that does not know better.
    ///
    /// # Errors
    /// Of kind `System` only where nothing has left for that place: who may dial it but once dials it again then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no half-open link behind.
    fn connect_sparingly(&self, endpoint: &Endpoint) -> impl Future<Output = Result<Link>> + Send {
        self.connect(endpoint)
    }

    /// Starts listening.
    ///
    /// # Cancel safety
    /// Dropping the future stops listening.
    fn listen(&self, endpoint: &Endpoint) -> impl Future<Output = Result<Listener>> + Send;
}

/// The boxed twin of [`Transport`], implemented for every transport.
pub trait DynTransport: Send + Sync + 'static {
    /// See [`Transport::schemes`].
    fn schemes(&self) -> &'static [&'static str];
    /// See [`Transport::estimate`].
    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile>;
    /// See [`Transport::connect`].
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Link>>;
    /// See [`Transport::connect_through`].
    fn connect_through<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Link>>;
    /// See [`Transport::connect_sparingly`].
    fn connect_sparingly<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Link>>;
    /// See [`Transport::listen`].
    fn listen<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Listener>>;
}

impl<T: Transport> DynTransport for T {
    fn schemes(&self) -> &'static [&'static str] {
        Transport::schemes(self)
    }
    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        Transport::estimate(self, endpoint)
    }
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Link>> {
        Box::pin(Transport::connect(self, endpoint))
    }
    fn connect_through<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Link>> {
        Box::pin(Transport::connect_through(self, endpoint))
    }
    fn connect_sparingly<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Link>> {
        Box::pin(Transport::connect_sparingly(self, endpoint))
    }
    fn listen<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Listener>> {
        Box::pin(Transport::listen(self, endpoint))
    }
}

/// A shared transport of any scheme.
pub type SharedTransport = Arc<dyn DynTransport>;

impl From<EndpointError> for Error {
    fn from(e: EndpointError) -> Self {
        Error::new(crate::ErrorKind::Usage, e.to_string()).with_source(e)
    }
}
