//! The servers that packets may go to, by the short form of their fingerprint.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meow_core::lane::ServerReference;
use meow_core::onion::HopId;
use meow_core::transport::Endpoint;
use meow_core::{Error, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::HopLimits;

/// Schemes by which a packet may leave: those that name a place on the network. Whatever else a URL says is a place on
/// this machine (ATTACKS 44).
const SCHEMES: [&str; 5] = ["http", "https", "udp", "mqtt", "mqtts"];

/// The servers that are known here.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    targets: HashMap<HopId, Arc<Target>>,
}

/// A server to which packets may go.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) fingerprint: [u8; 32],
    pub(crate) urls: Vec<Endpoint>,
    waiting: Arc<Semaphore>,
    links: Arc<Semaphore>,
    /// Until when its proof is believed, by the relay's monotonic clock.
    proven: Mutex<Duration>,
}

impl Catalog {
    /// # Errors
    /// `Usage` for a URL that no relay dials for others, and for two servers with one short form.
    pub(crate) fn new(servers: Vec<ServerReference>, limits: &HopLimits) -> Result<Self> {
        let mut targets: HashMap<HopId, Target> = HashMap::new();
        for server in servers {
            if !SCHEMES.contains(&server.url.scheme()) || server.url.credentials().is_some() {
                let text = format!(
                    "packets cannot be sent on to {} URLs, nor to URLs with a user or password; choose one of {}",
                    server.url.scheme(),
                    SCHEMES.join(", ")
                );
                return Err(Error::new(ErrorKind::Usage, text));
            }
            let target = targets.entry(HopId::of(&server.fingerprint)).or_insert_with(|| Target {
                fingerprint: server.fingerprint,
                urls: Vec::new(),
                waiting: Arc::new(Semaphore::new(limits.per_target)),
                links: Arc::new(Semaphore::new(limits.links_per_target)),
                proven: Mutex::default(),
            });
            if target.fingerprint != server.fingerprint {
                let text =
                    "two servers to send on to have the same first half of their fingerprints: leave one out";
                return Err(Error::new(ErrorKind::Usage, text));
            }
            target.urls.push(server.url);
        }
        Ok(Self { targets: targets.into_iter().map(|(id, target)| (id, Arc::new(target))).collect() })
    }

    pub(crate) fn find(&self, id: &HopId) -> Option<Arc<Target>> {
        self.targets.get(id).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.targets.len()
    }
}

impl Target {
    /// A place among the packets that wait for this server.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.waiting).try_acquire_owned().ok()
    }

    /// A link to it, as soon as one may be opened.
    pub(crate) async fn link(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.links).acquire_owned().await.ok()
    }

    pub(crate) fn is_proven(&self, now: Duration) -> bool {
        now < *self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn prove(&self, until: Duration) {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(url: &str, first: u8, last: u8) -> ServerReference {
        let mut fingerprint = [first; 32];
        fingerprint[31] = last;
        ServerReference { url: url.parse().unwrap(), fingerprint, invite: None }
    }

    #[test]
    fn a44_only_network_schemes_without_passwords_are_in_a_catalog() {
        let limits = HopLimits::default();
        for url in
            ["file:///tmp/x", "serial:///dev/ttyS0", "memory://x", "unix:///run/x", "http://u:p@example.org"]
        {
            let e = Catalog::new(vec![reference(url, 1, 1)], &limits).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Usage, "{url}");
            assert!(!e.to_string().contains("u:p"));
        }
        let all = SCHEMES.map(|scheme| reference(&format!("{scheme}://example.org:1"), 1, 1));
        let catalog = Catalog::new(all.to_vec(), &limits).unwrap();
        assert_eq!((catalog.len(), catalog.find(&HopId([1; 16])).unwrap().urls.len()), (1, 5));
        assert!(catalog.find(&HopId([2; 16])).is_none());
    }

    #[test]
    fn two_servers_with_one_short_form_are_refused() {
        let both = vec![reference("http://a.example", 1, 1), reference("http://b.example", 1, 2)];
        assert_eq!(Catalog::new(both, &HopLimits::default()).unwrap_err().kind(), ErrorKind::Usage);
    }
}
