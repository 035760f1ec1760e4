//! The registry: schemes to transports.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use meow_core::transport::{Endpoint, Link, LinkProfile, Listener, SharedTransport, Transport};
use meow_core::{Error, ErrorKind, Result};

use crate::Segmented;

/// The transports that an application uses, by URL scheme. A plain value: nothing is registered globally.
///
/// Each transport is put into [`Segmented`]: whatever its frames are like, links take whole packets.
///
/// A scheme registered twice belongs to the transport registered last. So an application can start from a
/// ready-made set and put one scheme in with a configuration of its own.
#[derive(Clone, Default)]
pub struct Transports {
    by_scheme: BTreeMap<&'static str, SharedTransport>,
}

impl Transports {
    /// A registry that knows no scheme.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same registry with this transport serving all its schemes.
    #[must_use]
    pub fn with(self, transport: impl Transport) -> Self {
        self.with_shared(Arc::new(transport))
    }

    /// Like [`with`](Self::with), for a transport that is already shared.
    #[must_use]
    pub fn with_shared(mut self, transport: SharedTransport) -> Self {
        let transport: SharedTransport = Arc::new(Segmented::new(transport));
        for scheme in transport.schemes() {
            self.by_scheme.insert(scheme, Arc::clone(&transport));
        }
        self
    }

    /// The schemes served, sorted.
    pub fn schemes(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.by_scheme.keys().copied()
    }

    /// The transport that serves this endpoint's scheme.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownScheme`], listing the known schemes.
    pub fn get(&self, endpoint: &Endpoint) -> Result<&SharedTransport> {
        self.by_scheme.get(endpoint.scheme()).ok_or_else(|| {
            let known: Vec<_> = self.schemes().collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let text = format!("no transport serves {:?} URLs; known: {known}", endpoint.scheme());
            Error::new(ErrorKind::UnknownScheme, text)
        })
    }

    /// What a link to this endpoint will probably be like. Does no I/O.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownScheme`]; [`ErrorKind::Usage`] for options that the scheme does not have.
    pub fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        self.get(endpoint)?.estimate(endpoint)
    }

    /// Opens a link.
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate), and whatever the transport meets.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no half-open link behind.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        self.get(endpoint)?.connect(endpoint).await
    }

    /// Opens a link to somebody who does the same towards this side at this moment: see
    /// [`Transport::connect_through`].
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Dropping the future leaves no half-open link behind.
    pub async fn connect_through(&self, endpoint: &Endpoint) -> Result<Link> {
        self.get(endpoint)?.connect_through(endpoint).await
    }

    /// Opens a link to a place that only a stranger names: see [`Transport::connect_sparingly`].
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Dropping the future leaves no half-open link behind.
    pub async fn connect_sparingly(&self, endpoint: &Endpoint) -> Result<Link> {
        self.get(endpoint)?.connect_sparingly(endpoint).await
    }

    /// Starts listening.
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate), and whatever the transport meets.
    ///
    /// # Cancel safety
    /// Dropping the future stops listening.
    pub async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        self.get(endpoint)?.listen(endpoint).await
    }
}

impl fmt::Debug for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_scheme.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[test]
    fn an_unknown_scheme_lists_the_known_ones() {
        let transports = Transports::new().with(Memory::new());
        let e = transports.estimate(&"gopher://host".parse().unwrap()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::UnknownScheme);
        assert_eq!(e.to_string(), "no transport serves \"gopher\" URLs; known: memory");
        let e = Transports::new().estimate(&"memory://x".parse().unwrap()).unwrap_err();
        assert!(e.to_string().ends_with("known: none"));
    }

    /// Comes through, and does not connect otherwise.
    struct Tunnel(Memory);

    impl Transport for Tunnel {
        fn schemes(&self) -> &'static [&'static str] {
            &["memory"]
        }
        fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
            Transport::estimate(&self.0, endpoint)
        }
        async fn connect(&self, _: &Endpoint) -> Result<Link> {
            Err(Error::new(ErrorKind::Unreachable, "nobody is there"))
        }
        async fn connect_through(&self, endpoint: &Endpoint) -> Result<Link> {
            Transport::connect(&self.0, endpoint).await
        }
        async fn connect_sparingly(&self, endpoint: &Endpoint) -> Result<Link> {
            Transport::connect(&self.0, endpoint).await
        }
        async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
            Transport::listen(&self.0, endpoint).await
        }
    }

    #[tokio::test]
    async fn other_ways_to_connect_are_passed_on_by_wrappers() {
        let room = "memory://room".parse().unwrap();
        let minute = std::time::Duration::from_secs(60);
        let tunnel = crate::WithTimeout::new(Tunnel(Memory::new()), minute, minute);
        let tunnel = crate::FaultInjection::new(tunnel, crate::Faults::seeded(1));
        let tunnel = crate::WithRetry::new(tunnel, crate::retry::tests::Most);
        let transports = Transports::new().with(tunnel);
        let _listener = transports.listen(&room).await.unwrap();
        assert!(transports.connect(&room).await.is_err());
        assert!(transports.connect_through(&room).await.is_ok());
        assert!(transports.connect_sparingly(&room).await.is_ok());
    }

    #[tokio::test]
    async fn the_last_registration_of_a_scheme_wins() {
        let (old, new) = (Memory::new(), Memory::new());
        let transports = Transports::new().with(old.clone()).with(new.clone());
        let endpoint = "memory://room".parse().unwrap();
        let _listener = Transport::listen(&new, &endpoint).await.unwrap();
        assert!(transports.connect(&endpoint).await.is_ok());
        assert!(Transport::connect(&old, &endpoint).await.is_err());
        assert_eq!(format!("{transports:?}"), "{\"memory\"}");
    }
}
