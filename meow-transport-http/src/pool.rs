//! Connections kept for the next exchange.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use meow_core::transport::Endpoint;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::ClientConfig;
use crate::dial::{Conn, dial};
use crate::error::HttpError;
use crate::tls;

pub(crate) struct Pool {
    config: ClientConfig,
    /// Built at the first https dial: an application without any does not read the system's roots.
    tls: OnceCell<Arc<rustls::ClientConfig>>,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    by_name: HashMap<Name, Arc<Place>>,
    /// Whether a task clears out what is unused.
    swept: bool,
}

/// What one connection can serve: scheme, and host and port. Never a password: that goes with each request.
type Name = (bool, String);

/// One host and port.
struct Place {
    /// The most recently used last.
    idle: Mutex<Vec<(Box<Conn>, Instant)>>,
    slots: Arc<Semaphore>,
}

/// A connection on loan. Dropped, it is closed; [`give_back`](Lease::give_back) keeps it.
pub(crate) struct Lease {
    pub(crate) conn: Box<Conn>,
    place: Arc<Place>,
    most_idle: usize,
    _slot: OwnedSemaphorePermit,
}

impl Lease {
    /// For a connection whose last answer was read to its end.
    pub(crate) fn give_back(self) {
        let mut idle = self.place.idle();
        if idle.len() < self.most_idle {
            idle.push((self.conn, Instant::now()));
        }
    }
}

impl Place {
    fn idle(&self) -> MutexGuard<'_, Vec<(Box<Conn>, Instant)>> {
        // The list is whole after every statement that holds the lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    pub(crate) fn new(config: ClientConfig) -> Arc<Self> {
        Arc::new(Self { config, tls: OnceCell::new(), places: Mutex::default() })
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// A connection to the endpoint's host: a kept one that is still good, or a new one.
    pub(crate) async fn lease(self: &Arc<Self>, endpoint: &Endpoint) -> Result<Lease, HttpError> {
        let place = self.place((endpoint.scheme() == "https", endpoint.authority()));
        let slot = match Arc::clone(&place.slots).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => {
                let free = Arc::clone(&place.slots).acquire_owned();
                let free = tokio::time::timeout(self.config.connect_timeout, free).await;
                free.ok().and_then(Result::ok).ok_or(HttpError::Busy)?
            }
        };
        let conn = match self.kept(&place).await {
            Some(conn) => conn,
            None => {
                let dialing = async { dial(endpoint, self.tls_for(endpoint).await?).await };
                let dialed = tokio::time::timeout(self.config.connect_timeout, dialing).await;
                Box::new(dialed.map_err(|_| HttpError::ConnectTimeout)??)
            }
        };
        Ok(Lease { conn, place, most_idle: self.config.idle_per_host, _slot: slot })
    }

    async fn kept(&self, place: &Place) -> Option<Box<Conn>> {
        loop {
            let (mut conn, since) = place.idle().pop()?;
            // Nobody drove it since: this look notices whether the server has closed it.
            let good = poll_fn(|cx| Poll::Ready(conn.drive(cx) && conn.sender.is_ready())).await;
            if good && since.elapsed() < self.config.idle_timeout {
                return Some(conn);
            }
        }
    }

    async fn tls_for(&self, endpoint: &Endpoint) -> Result<Option<Arc<rustls::ClientConfig>>, HttpError> {
        if endpoint.scheme() != "https" {
            return Ok(None);
        }
        let config = self.tls.get_or_try_init(|| async { tls::client(&self.config.roots) }).await?;
        Ok(Some(Arc::clone(config)))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // The map is whole after every statement that holds the lock.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(self: &Arc<Self>, name: Name) -> Arc<Place> {
        let mut places = self.places();
        if let Some(place) = places.by_name.get(&name) {
            return Arc::clone(place);
        }
        if !places.swept {
            places.swept = true;
            tokio::spawn(sweep(Arc::downgrade(self), self.config.idle_timeout));
        }
        let slots = Arc::new(Semaphore::new(self.config.connections_per_host.max(1)));
        let place = Arc::new(Place { idle: Mutex::default(), slots });
        places.by_name.insert(name, Arc::clone(&place));
        place
    }

    /// Closes what was idle for too long. True if nothing is left.
    fn clear(&self) -> bool {
        let mut places = self.places();
        places.by_name.retain(|_, place| {
            let mut idle = place.idle();
            idle.retain(|(_, since)| since.elapsed() < self.config.idle_timeout);
            // Held only by this map: no lease, nobody waiting for one.
            !idle.is_empty() || Arc::strong_count(place) > 1
        });
        places.swept = !places.by_name.is_empty();
        !places.swept
    }
}

/// Runs for as long as there is something to clear.
async fn sweep(pool: Weak<Pool>, every: std::time::Duration) {
    loop {
        tokio::time::sleep(every).await;
        if pool.upgrade().is_none_or(|pool| pool.clear()) {
            return;
        }
    }
}
