//! Listening: who may connect, and the links that connections bring.

use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, SelectAll};
use meow_core::Result;
use meow_core::crypto::SigningKey;
use meow_core::transport::{Accept, Endpoint, Host, Link, Listener, Peer};
use quinn::{Connection, Incoming, RecvStream, SendStream, VarInt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::budget::{Kept, Pool};
use crate::config::ServerConfig;
use crate::dial::Dialer;
use crate::error::UdpError;
use crate::link::{BUSY, DONE, link};
use crate::open::Open;
use crate::seats::{Seat, Seats};
use crate::through::Own;
use crate::{proof, reset, transport};

/// How long closing waits for its last packets to leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// The links of one connection.
type Links = BoxStream<'static, Link>;

/// What all connections of one listener share.
struct Shared {
    config: ServerConfig,
    endpoint: quinn::Endpoint,
    /// New connections, as the links that they bring. Each has a seat, so they are bounded.
    arrivals: mpsc::UnboundedSender<Links>,
    /// Set when the listener takes no more links.
    leaving: CancellationToken,
    /// Set when the endpoint takes no more connections.
    ended: CancellationToken,
    seats: Arc<Seats>,
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
    let (arrivals, connections) = mpsc::unbounded_channel();
    if let Some(dialler) = dialler {
        dialler.listens(&own);
    }
    let shared = Arc::new(Shared {
        config: config.clone(),
        endpoint: own.quic,
        arrivals,
        leaving: CancellationToken::new(),
        ended: CancellationToken::new(),
        seats: Seats::new(config.max_connections, config.max_per_address),
        unread: Pool::new(config.max_unread),
        dialler: dialler.map(Arc::downgrade),
    });
    tokio::spawn(Arc::clone(&shared).receive());
    let links = [shared.no_links()].into_iter().collect();
    Ok(Listener::new(
        Acceptor { shared: Some(shared), closing: None, connections, links, runtime: Handle::current() },
        local,
    ))
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
            } else if (open >= self.config.retry_from || self.seats.crowded(incoming.remote_address().ip()))
                && incoming.may_retry()
            {
                // Asked for by `may_retry`: it cannot fail then, and what it gives back would be refused anyway.
                let _ = incoming.retry();
            } else {
                self.admit(incoming);
            }
        }
        self.ended.cancel();
    }

    fn admit(self: &Arc<Self>, incoming: Incoming) {
        let Some(seat) = self.seats.take(incoming.remote_address().ip()) else {
            incoming.refuse();
            return;
        };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(handshake) = incoming.accept() else { return };
            match tokio::time::timeout(shared.config.handshake_timeout, handshake).await {
                // If it comes after the acceptor, dropping it closes it.
                Ok(Ok(connection)) => drop(shared.arrivals.send(Arc::clone(&shared).links(connection, seat))),
                Ok(Err(e)) => tracing::debug!("a QUIC handshake failed: {e}"),
                Err(_) => tracing::debug!("a QUIC handshake took too long"),
            }
        });
    }

    /// The links of a connection, one after the other, until it is closed or the listener is.
    fn links(self: Arc<Self>, connection: Connection, seat: Seat) -> Links {
        let served = Served {
            kept: Kept::new(&self.unread),
            open: Open::new(),
            idle: Box::pin(tokio::time::sleep(self.config.idle_timeout)),
            leaving: Box::pin(self.leaving.clone().cancelled_owned()),
            used: true,
            shared: self,
            connection,
            _seat: seat,
        };
        let next = async move |mut served: Served| {
            loop {
                if served.open.is_worn() {
                    served.leave().await;
                    return None;
                }
                tokio::select! {
                    biased;
                    streams = served.connection.accept_bi() => {
                        served.used = true;
                        return Some((served.link(streams.ok()?), served));
                    }
                    () = served.leaving.as_mut() => {
                        served.leave().await;
                        return None;
                    }
                    () = served.idle.as_mut() => {
                        if !served.keep() {
                            served.connection.close(DONE, b"");
                            return None;
                        }
                    }
                }
            }
        };
        futures_util::stream::unfold(served, next).boxed()
    }

    /// What stands beside the connections until the listener closes. Those who ask a set of streams are woken at once for
    /// another look whenever all of it had nothing: with one connection that would be for each link, and each time another
    /// processor.
    fn no_links(&self) -> Links {
        let leaving = self.leaving.clone();
        futures_util::stream::once(async move { leaving.cancelled().await })
            .filter_map(|()| std::future::ready(None))
            .boxed()
    }

    /// Takes no more links, lets the open ones end for a bounded time, then closes all.
    async fn wind_up(self: Arc<Self>, connections: SelectAll<Links>) {
        self.leaving.cancel();
        if let Some(dialler) = self.dialler.as_ref().and_then(Weak::upgrade) {
            dialler.listens_no_more(&self.endpoint);
        }
        // Nobody will serve what comes at the last moment; dropping it tells its dialler.
        let ending = connections.map(drop).for_each(std::future::ready);
        // Whether all ended by themselves or time ran out: nothing is left open below.
        let _ = tokio::time::timeout(self.config.drain, ending).await;
        self.endpoint.close(DONE, b"");
        let _ = tokio::time::timeout(FAREWELL, self.endpoint.wait_idle()).await;
    }
}

/// A connection, from its handshake on.
struct Served {
    shared: Arc<Shared>,
    connection: Connection,
    kept: Arc<Kept>,
    /// Links, and what they sent until it has arrived.
    open: Arc<Open>,
    /// When to look whether anybody uses it, and whether a link came since the last look.
    idle: Pin<Box<Sleep>>,
    used: bool,
    /// When the listener takes no more links. Asked anew for each link, it would cost more than the link does here.
    leaving: Pin<Box<WaitForCancellationFutureOwned>>,
    _seat: Seat,
}

impl Served {
    /// Looks whether the connection is used, and when to look again.
    fn keep(&mut self) -> bool {
        self.idle.as_mut().reset(Instant::now() + self.shared.config.idle_timeout);
        let open = !self.open.is_empty();
        std::mem::take(&mut self.used) || open
    }

    fn link(&self, streams: (SendStream, RecvStream)) -> Link {
        let address = self.connection.remote_address();
        let mut peer = Peer::at(address.ip());
        peer.port = Some(address.port());
        link(streams, self.shared.config.max_frame, peer, &self.open, Some(Arc::clone(&self.kept)))
    }

    /// Tells the client that it must open no more links, refuses those that it opens all the same, and hangs up once the open
    /// ones have ended.
    async fn leave(&self) {
        let refusing = async {
            // A connection that is gone needs no word.
            if let Ok(mut word) = self.connection.open_uni().await {
                // An empty stream would not be sent before its end.
                let _ = word.finish();
            }
            while let Ok((mut tx, _)) = self.connection.accept_bi().await {
                let _ = tx.reset(BUSY);
            }
        };
        tokio::select! {
            biased;
            () = refusing => {}
            () = self.open.wait() => {}
        }
        self.connection.close(DONE, b"");
    }
}

struct Acceptor {
    /// None once it closes.
    shared: Option<Arc<Shared>>,
    /// While it closes.
    closing: Option<JoinHandle<()>>,
    connections: mpsc::UnboundedReceiver<Links>,
    /// Of the connections that have come. They are asked here, not by tasks of their own: one task less to wake for a link.
    links: SelectAll<Links>,
    /// Where the endpoint lives, and so where it is wound up, wherever this is dropped.
    runtime: Handle,
}

impl Acceptor {
    /// What winds the listener up, unless that was done.
    fn wind_up(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let shared = self.shared.take()?;
        self.connections.close();
        while let Ok(links) = self.connections.try_recv() {
            self.links.push(links);
        }
        Some(shared.wind_up(std::mem::take(&mut self.links)))
    }
}

impl Accept for Acceptor {
    async fn accept(&mut self) -> Result<Option<Link>> {
        while let Some(shared) = &self.shared {
            tokio::select! {
                Some(links) = self.connections.recv() => self.links.push(links),
                Some(link) = self.links.next() => return Ok(Some(link)),
                // The socket failed.
                () = shared.ended.cancelled() => break,
            }
        }
        Ok(None)
    }

    async fn close(&mut self) -> Result<()> {
        if let Some(winding_up) = self.wind_up() {
            // In a task of its own: whoever waits no longer for the end has closed all the same.
            self.closing = Some(tokio::spawn(winding_up));
        }
        if let Some(closing) = &mut self.closing {
            let closed = closing.await;
            self.closing = None;
            closed.map_err(|_| UdpError::Closed)?;
        }
        Ok(())
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        if let Some(winding_up) = self.wind_up() {
            self.runtime.spawn(winding_up);
        }
    }
}
