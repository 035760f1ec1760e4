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

/// Schemes by which a packet may leave. A serial line is a place on this machine: it may be named here because the
/// operator alone names servers. What a stranger names is never looked up in this list (ATTACKS 44).
const SCHEMES: [&str; 6] = ["http", "https", "udp", "mqtt", "mqtts", "serial"];

/// Whether a URL may have a user and password: with a broker the relay has an account of its own, as with its listener.
fn takes_account(scheme: &str) -> bool {
    matches!(scheme, "mqtt" | "mqtts")
}

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
            let scheme = server.url.scheme();
            if !SCHEMES.contains(&scheme) || server.url.credentials().is_some() && !takes_account(scheme) {
                let text = format!(
                    "packets cannot be sent on to {scheme} URLs, nor to URLs with a user or password but those of a \
                     broker; choose one of {}",
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
            // A broker has to be told which of the servers behind it is meant.
            target.urls.push(server.url.with_server(server.fingerprint));
        }
        Ok(Self { targets: targets.into_iter().map(|(id, target)| (id, Arc::new(target))).collect() })
    }

    pub(crate) fn find(&self, id: &HopId) -> Option<Arc<Target>> {
        self.targets.get(id).cloned()
    }

    pub(crate) fn urls(&self) -> impl Iterator<Item = &Endpoint> {
        self.targets.values().flat_map(|target| &target.urls)
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
    fn a44_only_listed_schemes_without_passwords_are_in_a_catalog() {
        let limits = HopLimits::default();
        for url in ["file:///tmp/x", "memory://x", "unix:///run/x", "http://u:p@example.org", "udp://u:p@a:1"]
        {
            let e = Catalog::new(vec![reference(url, 1, 1)], &limits).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Usage, "{url}");
            assert!(!e.to_string().contains("u:p"));
        }
        let place = |scheme| if scheme == "serial" { "/dev/ttyS0" } else { "example.org:1" };
        let all = SCHEMES.map(|scheme| reference(&format!("{scheme}://{}", place(scheme)), 1, 1));
        let catalog = Catalog::new(all.to_vec(), &limits).unwrap();
        let target = catalog.find(&HopId([1; 16])).unwrap();
        assert_eq!((catalog.len(), target.urls.len()), (1, 6));
        assert!(target.urls.iter().all(|url| url.server() == Some(&target.fingerprint)));
        Catalog::new(vec![reference("mqtts://cat:fish@broker.example/p", 1, 1)], &limits).unwrap();
        assert!(catalog.find(&HopId([2; 16])).is_none());
    }

    #[test]
    fn two_servers_with_one_short_form_are_refused() {
        let both = vec![reference("http://a.example", 1, 1), reference("http://b.example", 1, 2)];
        assert_eq!(Catalog::new(both, &HopLimits::default()).unwrap_err().kind(), ErrorKind::Usage);
    }
}
