//! Whole packets over transports of small or lossy frames: the driver of [`meow_core::segment::Machine`].

mod link;
mod listen;
mod station;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use meow_core::segment::{Config, DATA_HEADER, MAX_PACKET};
use meow_core::transport::{Endpoint, Link, LinkProfile, Listener, Pattern, SharedTransport, Transport};
use meow_core::{Error, ErrorKind, Result};
use tokio::sync::{Mutex, MutexGuard};

use listen::{BusAcceptor, LinkAcceptor};
use station::Station;

/// Links that wait to be accepted; more wait in the machine, which is bounded too.
const QUEUED_LINKS: usize = 16;

/// Cuts packets into segments where the links of a transport need it, and leaves other links as they are.
///
/// [`Transports`](crate::Transports) puts every transport into one of these. A link needs it if its pattern is
/// [`Bus`](Pattern::Bus), if it takes frames of less than 33,792 bytes, or if its frames can vanish (unless it is an
/// exchange, in which nothing can be acknowledged). What comes out takes whole packets up to 33,792 bytes; its
/// pattern, cost and bit rate stay those of the medium, and its profile's `single` says what travels in one piece.
///
/// A bus is opened once for each endpoint: all links to it, and a listener, share it. On a bus the listener of the
/// transport below has one link, the bus, and has it at once.
pub struct Segmented {
    inner: SharedTransport,
    stations: Mutex<Stations>,
}

type Stations = HashMap<String, Weak<Station>>;

impl Segmented {
    /// Wraps a transport.
    pub fn new(inner: SharedTransport) -> Self {
        Self { inner, stations: Mutex::default() }
    }

    /// The running station of this bus, with the lock under which a new one may be started.
    async fn station(&self, endpoint: &Endpoint) -> (Option<Arc<Station>>, MutexGuard<'_, Stations>) {
        let mut stations = self.stations.lock().await;
        stations.retain(|_, station| station.upgrade().is_some_and(|s| s.is_alive()));
        (stations.get(&*endpoint.expose()).and_then(Weak::upgrade), stations)
    }
}

/// Whether links like this have to be segmented.
fn needs(profile: &LinkProfile) -> bool {
    let lossy = !profile.reliable && profile.pattern != Pattern::Exchange;
    profile.pattern == Pattern::Bus || profile.max_frame < MAX_PACKET || lossy
}

/// How such a link looks from above.
fn above(below: &LinkProfile) -> LinkProfile {
    let bus = below.pattern == Pattern::Bus;
    let mut profile = below.clone();
    profile.max_frame = MAX_PACKET;
    profile.single = if bus { below.max_frame } else { below.max_frame.saturating_sub(DATA_HEADER) };
    profile.ordered = true;
    // On a bus, packets of a thin size go as they are and can vanish.
    profile.reliable = below.reliable || !bus;
    profile
}

/// The machine's settings for a link.
fn config(profile: &LinkProfile) -> Result<Config> {
    let mut config = Config::from_profile(profile)?;
    config.repeat &= profile.pattern != Pattern::Exchange;
    Ok(config)
}

impl Transport for Segmented {
    fn schemes(&self) -> &'static [&'static str] {
        self.inner.schemes()
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        let below = self.inner.estimate(endpoint)?;
        if !needs(&below) {
            return Ok(below);
        }
        config(&below)?;
        Ok(above(&below))
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let estimate = self.inner.estimate(endpoint)?;
        if estimate.pattern == Pattern::Bus {
            let (running, mut stations) = self.station(endpoint).await;
            let station = match running {
                Some(station) => station,
                None => {
                    let station = Station::start(self.inner.connect(endpoint).await?, None, None)?;
                    stations.insert(endpoint.expose().to_string(), Arc::downgrade(&station));
                    station
                }
            };
            return station.open();
        }
        let link = self.inner.connect(endpoint).await?;
        // The link's own word counts.
        if needs(&link.profile) { Station::start(link, None, None)?.open() } else { Ok(link) }
    }

    async fn connect_through(&self, endpoint: &Endpoint) -> Result<Link> {
        if self.inner.estimate(endpoint)?.pattern == Pattern::Bus {
            // Nothing stands between two stations of a bus.
            return self.connect(endpoint).await;
        }
        let link = self.inner.connect_through(endpoint).await?;
        if needs(&link.profile) { Station::start(link, None, None)?.open() } else { Ok(link) }
    }

    async fn connect_sparingly(&self, endpoint: &Endpoint) -> Result<Link> {
        if self.inner.estimate(endpoint)?.pattern == Pattern::Bus {
            // A station sends nothing to open a link.
            return self.connect(endpoint).await;
        }
        let link = self.inner.connect_sparingly(endpoint).await?;
        if needs(&link.profile) { Station::start(link, None, None)?.open() } else { Ok(link) }
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        if self.inner.estimate(endpoint)?.pattern != Pattern::Bus {
            let inner = self.inner.listen(endpoint).await?;
            let local = inner.local().clone();
            return Ok(Listener::new(LinkAcceptor::new(inner), local));
        }
        let (running, mut stations) = self.station(endpoint).await;
        let (arrivals, queue) = tokio::sync::mpsc::channel(QUEUED_LINKS);
        let (station, local) = match running {
            Some(station) => {
                station.listen(arrivals)?;
                (station, endpoint.clone())
            }
            None => {
                let mut below = self.inner.listen(endpoint).await?;
                let local = below.local().clone();
                let bus = below.accept().await?.ok_or_else(|| {
                    Error::new(ErrorKind::Unreachable, "the bus was closed while it was opened; try again")
                })?;
                let station = Station::start(bus, Some(arrivals), Some(below))?;
                stations.insert(local.expose().to_string(), Arc::downgrade(&station));
                (station, local)
            }
        };
        Ok(Listener::new(BusAcceptor::new(station, queue), local))
    }
}

impl fmt::Debug for Segmented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Segmented").field(&self.inner.schemes()).finish()
    }
}
