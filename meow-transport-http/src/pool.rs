//! Connections kept for the next exchange.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use meow_core::Result;
use meow_core::transport::Endpoint;
use tokio::sync::{OnceCell, Semaphore};

use crate::config::ClientConfig;
use crate::conn::Conn;
use crate::dial::dial;
use crate::error::HttpError;
use crate::request::Target;
use crate::tls;

/// Rounds of the sweep in the idle timeout; a connection is closed after up to one round more than that.
const ROUNDS: u64 = 4;

pub(crate) struct Pool {
    config: ClientConfig,
    /// Built at the first https dial: an application without any does not read the system's roots.
    tls: OnceCell<Arc<rustls::ClientConfig>>,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    by_name: HashMap<Name, Arc<Place>>,
    /// What was worked out once for each endpoint in use.
    routes: HashMap<Endpoint, Arc<Route>>,
    /// The one that was asked for last: many clients have one server, and to compare is cheaper than to hash.
    last: Option<(Endpoint, Arc<Route>)>,
    /// Whether a task clears out what is unused.
    swept: bool,
}

/// How to ask one endpoint: its place, and what every request says.
pub(crate) struct Route {
    place: Arc<Place>,
    pub(crate) target: Target,
}

/// What one connection can serve: scheme, and host and port. Never a password: that goes with each request.
type Name = (bool, String);

/// One host and port.
struct Place {
    idle: Mutex<Idle>,
    most_idle: usize,
    slots: Semaphore,
}

/// Connections that nobody uses, the most recently used last, each with the round it came back in.
#[derive(Default)]
struct Idle {
    conns: Vec<(Box<Conn>, u64)>,
    /// Counted up by the sweep, so that keeping a connection reads no clock.
    round: u64,
}

/// A connection on loan. Dropped, it is closed; [`give_back`](Lease::give_back) keeps it.
pub(crate) struct Lease {
    pub(crate) conn: Box<Conn>,
    slot: Slot,
}

/// One of the connections that a host may have; free again when dropped.
struct Slot(Arc<Route>);

impl Lease {
    /// For a connection whose last answer was read to its end.
    pub(crate) fn give_back(self) {
        let Self { mut conn, slot } = self;
        if !conn.rest() {
            return;
        }
        let place = &slot.0.place;
        let mut idle = place.idle();
        if idle.conns.len() < place.most_idle {
            let round = idle.round;
            idle.conns.push((conn, round));
        }
    }

    pub(crate) fn route(&self) -> &Route {
        &self.slot.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.place.slots.add_permits(1);
    }
}

impl Place {
    fn idle(&self) -> MutexGuard<'_, Idle> {
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

    /// The way to this endpoint, which is checked when it is first used.
    pub(crate) fn route(self: &Arc<Self>, endpoint: &Endpoint) -> Result<Arc<Route>> {
        let mut places = self.places();
        if let Some((_, route)) = places.last.as_ref().filter(|(last, _)| last == endpoint) {
            return Ok(Arc::clone(route));
        }
        let route = match places.routes.get(endpoint) {
            Some(route) => Arc::clone(route),
            None => {
                crate::check(endpoint)?;
                let target = Target::new(endpoint)?;
                let place = self.place(&mut places, (endpoint.scheme() == "https", endpoint.authority()));
                let route = Arc::new(Route { place, target });
                places.routes.insert(endpoint.clone(), Arc::clone(&route));
                route
            }
        };
        places.last = Some((endpoint.clone(), Arc::clone(&route)));
        Ok(route)
    }

    /// A connection that was kept and is still good, unless the host has all the connections it may have.
    pub(crate) fn kept_lease(&self, route: &Arc<Route>) -> Option<Lease> {
        route.place.slots.try_acquire().ok()?.forget();
        let slot = Slot(Arc::clone(route));
        Some(Lease { conn: kept(&route.place)?, slot })
    }

    /// A connection, as soon as the host may have another one: a kept one that is still good, or a new one.
    pub(crate) async fn lease(&self, route: &Arc<Route>, endpoint: &Endpoint) -> Result<Lease, HttpError> {
        let free = tokio::time::timeout(self.config.connect_timeout, route.place.slots.acquire()).await;
        free.ok().and_then(Result::ok).ok_or(HttpError::Busy)?.forget();
        let slot = Slot(Arc::clone(route));
        if let Some(conn) = kept(&route.place) {
            return Ok(Lease { conn, slot });
        }
        let (names, addresses) = (&self.config.names, &self.config.addresses);
        let dialing = async { dial(endpoint, self.tls_for(endpoint).await?, names, addresses).await };
        let dialed = tokio::time::timeout(self.config.connect_timeout, dialing).await;
        let conn = dialed.map_err(|_| HttpError::ConnectTimeout)??;
        Ok(Lease { conn: Box::new(conn), slot })
    }

    async fn tls_for(&self, endpoint: &Endpoint) -> Result<Option<Arc<rustls::ClientConfig>>, HttpError> {
        if endpoint.scheme() != "https" {
            return Ok(None);
        }
        let build = || async {
            let roots = self.config.roots.clone();
            let built = tokio::task::spawn_blocking(move || tls::client(&roots)).await;
            // The task ends early only with its runtime.
            built.unwrap_or(Err(HttpError::Stopped))
        };
        Ok(Some(Arc::clone(self.tls.get_or_try_init(build).await?)))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // The map is whole after every statement that holds the lock.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(self: &Arc<Self>, places: &mut Places, name: Name) -> Arc<Place> {
        if !places.swept {
            places.swept = true;
            tokio::spawn(sweep(Arc::downgrade(self), self.config.idle_timeout));
        }
        let place = places.by_name.entry(name).or_insert_with(|| {
            let slots = Semaphore::new(self.config.connections_per_host.max(1));
            Arc::new(Place { idle: Mutex::default(), most_idle: self.config.idle_per_host, slots })
        });
        Arc::clone(place)
    }

    /// Closes what was idle for too long. True if nothing is left.
    fn clear(&self) -> bool {
        let mut places = self.places();
        places.last = None;
        for place in places.by_name.values() {
            let mut idle = place.idle();
            idle.round += 1;
            let oldest = idle.round.saturating_sub(ROUNDS);
            idle.conns.retain(|(_, round)| *round >= oldest);
        }
        // Held by this map alone: by no exchange, and by nobody who waits for a connection.
        places.routes.retain(|_, route| Arc::strong_count(route) > 1);
        places.by_name.retain(|_, place| Arc::strong_count(place) > 1 || !place.idle().conns.is_empty());
        places.swept = !places.by_name.is_empty();
        !places.swept
    }
}

/// A kept connection that is still good.
fn kept(place: &Place) -> Option<Box<Conn>> {
    loop {
        let (mut conn, _) = place.idle().conns.pop()?;
        if conn.is_good() {
            return Some(conn);
        }
    }
}

/// Runs for as long as there is something to clear.
async fn sweep(pool: Weak<Pool>, idle_timeout: Duration) {
    loop {
        tokio::time::sleep(idle_timeout / ROUNDS as u32).await;
        if pool.upgrade().is_none_or(|pool| pool.clear()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Stream;

    #[tokio::test]
    async fn endpoints_are_forgotten_and_the_connections_of_their_host_are_kept() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pool = Pool::new(ClientConfig::default());
        let route = |n: u32| pool.route(&format!("http://{address}/{n}").parse().unwrap()).unwrap();
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        route(0).place.slots.try_acquire().unwrap().forget();
        let conn = Box::new(Conn::new(address.ip(), Stream::Plain(socket)));
        Lease { conn, slot: Slot(route(0)) }.give_back();
        let used = route(1);
        (2..100).for_each(|n| drop(route(n)));
        assert!(!pool.clear());
        assert_eq!(pool.places().routes.len(), 1, "the one in use");
        drop(used);
        assert!(!pool.clear());
        let kept = pool.kept_lease(&route(7)).expect("one connection for all endpoints of the host");
        drop(kept);
        assert!(pool.clear() && pool.places().by_name.is_empty());
    }
}
