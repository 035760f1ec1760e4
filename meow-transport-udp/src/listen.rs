//! Listening: who may connect, and the links that connections bring.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use meow_core::Result;
use meow_core::crypto::SigningKey;
use meow_core::transport::{Accept, Endpoint, Host, Link, Listener, Peer};
use quinn::{Connection, Incoming, VarInt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::{Kept, Pool};
use crate::config::ServerConfig;
use crate::dial::Dialer;
use crate::error::UdpError;
use crate::link::{BUSY, DONE, link};
use crate::through::Own;
use crate::{proof, reset, transport};

/// How long closing waits for its last packets to leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// What all connections of one listener share.
struct Shared {
    config: ServerConfig,
    endpoint: quinn::Endpoint,
    arrivals: mpsc::Sender<Link>,
    /// Counts links, and what they sent until it has arrived.
    open: Arc<TaskTracker>,
    /// Set when the listener takes no more links.
    leaving: CancellationToken,
    per_address: Mutex<HashMap<IpAddr, usize>>,
    /// For frames that are not complete.
    unread: Arc<Pool>,
    /// Who dials from this socket too.
    dialler: Option<Weak<Dialer>>,
}

pub(crate) async fn listen(
    config: &ServerConfig,
    endpoint: &Endpoint,
    dialler: Option<&Arc<Dialer>>,
) -> Result<Listener> {
    crate::check(endpoint)?;
    let port = endpoint.port().ok_or(UdpError::Endpoint("the port is missing"))?;
    let address = match endpoint.host().ok_or(UdpError::Endpoint("the host is missing"))? {
        Host::Ip(address) => SocketAddr::new(*address, port),
        Host::Name(name) => {
            let mut found =
                tokio::net::lookup_host((name.as_str(), port)).await.map_err(UdpError::Resolve)?;
            found.next().ok_or(UdpError::NoAddress)?
        }
    };
    let socket = UdpSocket::bind(address).map_err(UdpError::Bind)?;
    let bound = socket.local_addr().map_err(UdpError::Bind)?;
    let skp = config.identity.as_ref().ok_or(UdpError::NoIdentity)?;
    let (sides, accepting) = (reset::endpoint(skp, bound), server(config, skp)?);
    let own = Own::new(socket, sides, Some(accepting))?;
    let local = endpoint.clone().with_port(bound.port());
    let (arrivals, queue) = mpsc::channel(config.max_waiting.max(1));
    if let Some(dialler) = dialler {
        dialler.listens(&own);
    }
    let shared = Arc::new(Shared {
        config: config.clone(),
        endpoint: own.quic,
        arrivals,
        open: Arc::new(TaskTracker::new()),
        leaving: CancellationToken::new(),
        per_address: Mutex::default(),
        unread: Pool::new(config.max_unread),
        dialler: dialler.map(Arc::downgrade),
    });
    tokio::spawn(Arc::clone(&shared).receive());
    Ok(Listener::new(Acceptor { shared: Some(shared), queue }, local))
}

fn server(config: &ServerConfig, skp: &SigningKey) -> Result<quinn::ServerConfig, UdpError> {
    let mut transport = transport(config.silence_timeout)?;
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(config.max_links))
        .max_concurrent_uni_streams(VarInt::from_u32(0));
    let mut quic = quinn::ServerConfig::with_crypto(proof::server(skp)?);
    quic.transport_config(Arc::new(transport));
    // A token for later would tell which connections come from one client.
    let mut tokens = quinn::ValidationTokenConfig::default();
    tokens.sent(0);
    quic.validation_token_config(tokens);
    Ok(quic)
}

impl Shared {
    async fn receive(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            let open = self.endpoint.open_connections();
            if self.leaving.is_cancelled() || open >= self.config.max_connections {
                incoming.refuse();
            } else if (open >= self.config.retry_from || self.crowded(incoming.remote_address().ip()))
                && incoming.may_retry()
            {
                // Asked for by `may_retry`: it cannot fail then, and what it gives back would be refused anyway.
                let _ = incoming.retry();
            } else {
                self.admit(incoming);
            }
        }
    }

    /// Whether an address has so many connections that it is made to answer before another one: who gives a forged address
    /// takes no more than a part of the seats from its owner.
    fn crowded(&self, address: IpAddr) -> bool {
        let taken = self.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        taken.get(&network(address)).is_some_and(|count| *count >= self.config.max_per_address.div_ceil(4))
    }

    fn admit(self: &Arc<Self>, incoming: Incoming) {
        let Some(seat) = Seat::take(self, incoming.remote_address().ip()) else {
            incoming.refuse();
            return;
        };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(handshake) = incoming.accept() else { return };
            match tokio::time::timeout(shared.config.handshake_timeout, handshake).await {
                Ok(Ok(connection)) => shared.serve(connection).await,
                Ok(Err(e)) => tracing::debug!("a QUIC handshake failed: {e}"),
                Err(_) => tracing::debug!("a QUIC handshake took too long"),
            }
            drop(seat);
        });
    }

    async fn serve(&self, connection: Connection) {
        let kept = Kept::new(&self.unread);
        loop {
            let streams = tokio::select! {
                streams = connection.accept_bi() => streams,
                () = self.leaving.cancelled() => return leave(&connection).await,
            };
            let Ok((mut tx, rx)) = streams else { return };
            match self.arrivals.try_reserve() {
                Ok(place) => {
                    let mut peer = Peer::at(connection.remote_address().ip());
                    peer.port = Some(connection.remote_address().port());
                    place.send(link(
                        (tx, rx),
                        self.config.max_frame,
                        peer,
                        &self.open,
                        Some(Arc::clone(&kept)),
                    ));
                }
                Err(_) => {
                    // The stream may be gone already.
                    let _ = tx.reset(BUSY);
                }
            }
        }
    }

    /// Takes no more links, lets the open ones end for a bounded time, then closes all.
    async fn wind_up(self: Arc<Self>) {
        self.leaving.cancel();
        if let Some(dialler) = self.dialler.as_ref().and_then(Weak::upgrade) {
            dialler.listens_no_more(&self.endpoint);
        }
        self.open.close();
        // Whether all ended by themselves or time ran out: nothing is left open below.
        let _ = tokio::time::timeout(self.config.drain, self.open.wait()).await;
        self.endpoint.close(DONE, b"");
        let _ = tokio::time::timeout(FAREWELL, self.endpoint.wait_idle()).await;
    }
}

/// Tells a client that it must open no more links, and refuses those that it opens all the same.
async fn leave(connection: &Connection) {
    // A connection that is gone needs no word.
    if let Ok(mut word) = connection.open_uni().await {
        // An empty stream would not be sent before its end.
        let _ = word.finish();
    }
    while let Ok((mut tx, _)) = connection.accept_bi().await {
        let _ = tx.reset(BUSY);
    }
}

/// One of the connections that an address may have.
struct Seat {
    shared: Arc<Shared>,
    network: IpAddr,
}

impl Seat {
    fn take(shared: &Arc<Shared>, address: IpAddr) -> Option<Self> {
        let network = network(address);
        let mut taken = shared.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(network).or_insert(0);
        if *count >= shared.config.max_per_address {
            return None;
        }
        *count += 1;
        Some(Self { shared: Arc::clone(shared), network })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.shared.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

/// Who owns one address of an IPv6 /64 owns them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

struct Acceptor {
    /// None once closed.
    shared: Option<Arc<Shared>>,
    queue: mpsc::Receiver<Link>,
}

impl Acceptor {
    /// Nobody will serve those that wait in the queue; dropping them tells their diallers.
    fn turn_away(&mut self) {
        self.queue.close();
        while self.queue.try_recv().is_ok() {}
    }
}

impl Accept for Acceptor {
    async fn accept(&mut self) -> Result<Option<Link>> {
        Ok(self.queue.recv().await)
    }

    async fn close(&mut self) -> Result<()> {
        self.turn_away();
        if let Some(shared) = &self.shared {
            Arc::clone(shared).wind_up().await;
            self.shared = None;
        }
        Ok(())
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.turn_away();
        if let (Some(shared), Ok(runtime)) = (self.shared.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(shared.wind_up());
        }
    }
}
