//! Listening: sockets to connections, connections to requests.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use meow_core::Result;
use meow_core::transport::{Accept, Endpoint, Host, Link, Listener};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::config::{Account, ServerConfig};
use crate::error::HttpError;
use crate::places::{Place, Places};
use crate::serve::Server;
use crate::watch::{Activity, Budget, Watch};

/// Pause after the system refused to accept, for example because no file descriptor was left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Largest read and write buffer of an HTTP/1.1 connection.
const H1_BUFFER: usize = 64 * 1024;
/// Flow-control window of an HTTP/2 stream, and of a connection: what a client may send ahead.
const H2_WINDOW: u32 = 64 * 1024;
/// What one HTTP/2 stream buffers of its answer.
const H2_SEND_BUFFER: usize = 64 * 1024;
/// Streams that a client may open and reset before they were looked at; then the connection is closed (rapid reset).
const H2_RESETS: usize = 20;
/// Streams that we may reset for a client's errors; then the connection is closed.
const H2_ERRORS: usize = 256;

/// What a connection needs beside its requests.
struct Shared {
    server: Server,
    config: Arc<ServerConfig>,
    budget: Arc<Budget>,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
}

pub(crate) async fn listen(
    config: &Arc<ServerConfig>,
    tls: Option<&Arc<rustls::ServerConfig>>,
    endpoint: &Endpoint,
) -> Result<Listener> {
    let tls = match (endpoint.scheme(), tls) {
        ("https", None) => return Err(HttpError::NoIdentity.into()),
        ("https", Some(tls)) => Some(TlsAcceptor::from(Arc::clone(tls))),
        _ => None,
    };
    let mut accounts = config.accounts.clone();
    if let Some(credentials) = endpoint.credentials() {
        let password = Zeroizing::new(credentials.password().unwrap_or_default().to_owned());
        accounts.push(Account { user: credentials.user().to_owned(), password });
    }
    if accounts.iter().any(|account| account.user.contains(':')) {
        return Err(HttpError::Credentials.into());
    }
    let port = endpoint.port().ok_or(HttpError::Endpoint("the port is missing"))?;
    let listener = match endpoint.host().ok_or(HttpError::Endpoint("the host is missing"))? {
        Host::Ip(address) => TcpListener::bind((*address, port)).await,
        Host::Name(name) => TcpListener::bind((name.as_str(), port)).await,
    }
    .map_err(HttpError::Bind)?;
    let local = endpoint.clone().with_port(listener.local_addr().map_err(HttpError::Bind)?.port());

    let (arrivals, waiting) = mpsc::channel(config.max_waiting.max(1));
    let server = Server {
        path: endpoint.path().to_owned(),
        limits: config.limits,
        profile: crate::profile(config.limits),
        accounts,
        proxies: config.trusted_proxies.clone(),
        body_timeout: config.body_timeout,
        arrivals,
    };
    let stop = CancellationToken::new();
    let budget = Budget::new(config.max_buffered);
    let shared = Arc::new(Shared { server, config: Arc::clone(config), budget, tls, stop: stop.clone() });
    let tasks = TaskTracker::new();
    tasks.spawn(accept_all(listener, shared, tasks.clone()));
    Ok(Listener::new(Acceptor { waiting, tasks, stop }, local))
}

/// The listening end. Dropped without `close`, it stops in the same way, but nobody waits for it.
struct Acceptor {
    waiting: mpsc::Receiver<Link>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Accept for Acceptor {
    async fn accept(&mut self) -> Result<Option<Link>> {
        Ok(self.waiting.recv().await)
    }

    async fn close(&mut self) -> Result<()> {
        self.waiting.close();
        // Nobody will serve those that wait; dropping them sends their clients away.
        while self.waiting.try_recv().is_ok() {}
        self.stop.cancel();
        self.tasks.close();
        // Each connection bounds its own stay by the configured drain time.
        self.tasks.wait().await;
        Ok(())
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept_all(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker) {
    let places = Places::new(shared.config.max_connections);
    let accepting = async {
        // Places are never closed, so this runs until it is dropped.
        while let Some(permit) = places.free().await {
            match listener.accept().await {
                Ok((socket, from)) => {
                    let from = from.ip();
                    let place = if shared.server.speaks_for_many(from) {
                        Some(Place::uncounted(permit))
                    } else {
                        places.give(permit, from)
                    };
                    // A connection that is too many of one source is dropped, which closes it.
                    match place {
                        Some(place) => {
                            drop(tasks.spawn(connection(socket, from, Arc::clone(&shared), place)))
                        }
                        None => tracing::debug!("a connection was closed: its source has too many"),
                    }
                }
                Err(e) => {
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    shared.stop.run_until_cancelled(accepting).await;
}

async fn connection(socket: TcpStream, from: IpAddr, shared: Arc<Shared>, _place: Place) {
    // Without it answers of several segments wait for the far side's delayed acknowledgement.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let Some(tls) = &shared.tls else { return http1(socket, from, &shared).await };
    let handshake = tokio::time::timeout(shared.config.handshake_timeout, tls.accept(socket));
    match shared.stop.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            http2(stream, from, &shared).await
        }
        Some(Ok(Ok(stream))) => http1(stream, from, &shared).await,
        Some(Ok(Err(e))) => tracing::debug!(error = %e, "TLS handshake failed"),
        Some(Err(_)) => tracing::debug!("TLS handshake took too long"),
        None => {}
    }
}

async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    from: IpAddr,
    shared: &Arc<Shared>,
) {
    let activity = Activity::new(&shared.budget);
    let service = service_fn(|request| shared.server.exchange(request, from, &activity));
    let connection = http1::Builder::new()
        // The watch does what this timer would do, at no cost per request.
        .header_read_timeout(None)
        .max_header_size(shared.config.max_header_bytes)
        .max_buf_size(shared.config.max_header_bytes.max(H1_BUFFER))
        // Queued writes keep an answer's share of the budget until its last byte is written.
        .writev(true)
        .serve_connection(TokioIo::new(stream), service);
    drive(connection, &activity, shared).await;
}

async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    from: IpAddr,
    shared: &Arc<Shared>,
) {
    let activity = Activity::new(&shared.budget);
    let service = service_fn(|request| {
        let (shared, activity) = (Arc::clone(shared), Arc::clone(&activity));
        async move { shared.server.exchange(request, from, &activity).await }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(shared.config.max_streams)
        .max_header_list_size(u32::try_from(shared.config.max_header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(H2_RESETS)
        .max_local_error_reset_streams(H2_ERRORS)
        .initial_stream_window_size(H2_WINDOW)
        .initial_connection_window_size(H2_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    drive(connection, &activity, shared).await;
}

/// Runs a connection until it ends, stalls, or has drained.
async fn drive(connection: impl GracefulConnection, activity: &Arc<Activity>, shared: &Shared) {
    let mut connection = pin!(connection);
    let patience = Patience::new(activity, &shared.config);
    // In a set of its own, what rarely happens is polled when it happens, and not at every request.
    let mut rare = FuturesUnordered::new();
    rare.push(async {
        tokio::select! {
            () = patience.runs_out() => false,
            () = shared.stop.cancelled() => true,
        }
    });
    let stopped = tokio::select! {
        biased;
        _ = connection.as_mut() => false,
        stopped = rare.next() => stopped == Some(true),
    };
    if stopped {
        connection.as_mut().graceful_shutdown();
        // Whether it ended by itself or was cut off is all the same here: dropping it closes the socket.
        let _ = tokio::time::timeout(shared.config.drain, connection).await;
    }
}

/// How long a connection without progress is borne.
struct Patience {
    watch: Watch,
    ticks: Interval,
}

impl Patience {
    fn new(activity: &Arc<Activity>, config: &ServerConfig) -> Self {
        // A zero interval is not allowed.
        let half = (config.stall_timeout / 2).max(Duration::from_millis(1));
        let ticks = tokio::time::interval_at(Instant::now() + half, half);
        Self { watch: Watch::new(Arc::clone(activity)), ticks }
    }

    async fn runs_out(mut self) {
        loop {
            self.ticks.tick().await;
            if self.watch.stalled() {
                return;
            }
        }
    }
}
