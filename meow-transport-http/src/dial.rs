//! Dialing: name to addresses, addresses to a socket, a socket to TLS, all to an HTTP/1.1 connection.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use meow_core::transport::{Addresses, Endpoint, Host};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::HttpError;

/// Head start of each address before the next one is tried beside it (RFC 8305).
const STAGGER: Duration = Duration::from_millis(250);
/// Largest read and write buffer of a connection.
const BUFFER: usize = 64 * 1024;

/// A connection that nobody drives but the exchange that holds it: no task stands between a link and its socket.
pub(crate) struct Conn {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    io: Connection<TokioIo<Stream>, Full<Bytes>>,
    ended: bool,
    /// One timer for all exchanges of this connection.
    pub(crate) deadline: Pin<Box<Sleep>>,
}

impl Conn {
    /// Reads and writes what can be. False once the connection is over.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        // Why it is over is told by the response that it breaks, if there is one.
        self.ended = self.ended || Pin::new(&mut self.io).poll(cx).is_ready();
        !self.ended
    }
}

/// Opens a connection. `tls` is there for https.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    tls: Option<Arc<rustls::ClientConfig>>,
    addresses: &Addresses,
) -> Result<Conn, HttpError> {
    let host = endpoint.host().ok_or(HttpError::Endpoint("the host is missing"))?;
    let port = endpoint.port().ok_or(HttpError::Endpoint("the port is missing"))?;
    let mut found: Vec<SocketAddr> = match host {
        Host::Ip(address) => vec![(*address, port).into()],
        Host::Name(name) => {
            tokio::net::lookup_host((name.as_str(), port)).await.map_err(HttpError::Resolve)?.collect()
        }
    };
    // Here and not before: what is asked for is what is dialled, however it was spelled and whatever a name says later.
    let any = found.len();
    found.retain(|address| addresses.permits(address.ip()));
    if any > 0 && found.is_empty() {
        return Err(HttpError::Address);
    }
    let socket = race(found).await.map_err(HttpError::Connect)?;
    socket.set_nodelay(true).map_err(HttpError::Connect)?;
    let stream = match tls {
        None => Stream::Plain(socket),
        Some(config) => {
            let connecting = TlsConnector::from(config).connect(server_name(host)?, socket);
            Stream::Tls(Box::new(connecting.await.map_err(handshake_error)?))
        }
    };
    let handshake = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream));
    let (sender, io) = handshake.await.map_err(HttpError::Broken)?;
    Ok(Conn { sender, io, ended: false, deadline: Box::pin(tokio::time::sleep_until(Instant::now())) })
}

fn server_name(host: &Host) -> Result<ServerName<'static>, HttpError> {
    match host {
        Host::Ip(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|_| HttpError::Endpoint("no certificate can be for a host of this name")),
    }
}

fn handshake_error(e: io::Error) -> HttpError {
    let wrong = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match wrong {
        Some(rustls::Error::InvalidCertificate(_)) => HttpError::WrongCertificate(e),
        _ => HttpError::Handshake(e),
    }
}

/// Connects to the address that answers first; both families take turns.
async fn race(found: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let (mut v6, mut v4): (VecDeque<_>, VecDeque<_>) = found.into_iter().partition(SocketAddr::is_ipv6);
    let mut next = || {
        let address = v6.pop_front().or_else(|| v4.pop_front());
        std::mem::swap(&mut v6, &mut v4);
        address
    };
    let mut tries = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        let last = match next() {
            Some(address) => {
                tries.push(TcpStream::connect(address));
                false
            }
            None if tries.is_empty() => return Err(failure),
            None => true,
        };
        tokio::select! {
            Some(tried) = tries.next() => match tried {
                Ok(socket) => return Ok(socket),
                Err(e) => failure = e,
            },
            () = tokio::time::sleep(STAGGER), if !last => {}
        }
    }
}

/// The socket, with or without TLS.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
