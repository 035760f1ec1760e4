//! Dialing: name to addresses, addresses to a socket, a socket to TLS.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use meow_core::transport::{Addresses, Endpoint, Host, Names};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::conn::{Conn, Stream};
use crate::error::HttpError;

/// Head start of each address before the next one is tried beside it (RFC 8305).
const STAGGER: Duration = Duration::from_millis(250);

/// Opens a connection. `tls` is there for https.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    tls: Option<Arc<rustls::ClientConfig>>,
    names: &Names,
    addresses: &Addresses,
) -> Result<Conn, HttpError> {
    let host = endpoint.host().ok_or(HttpError::Endpoint("the host is missing"))?;
    let port = endpoint.port().ok_or(HttpError::Endpoint("the port is missing"))?;
    // Here and not before: what is asked for is what is dialled, however it was spelled and whatever a name says later.
    let system = |name, port| tokio::net::lookup_host((name, port));
    let found = names.permitted(host, port, addresses, system).await?;
    let socket = race(found).await.map_err(HttpError::Connect)?;
    socket.set_nodelay(true).map_err(HttpError::Connect)?;
    let to = socket.peer_addr().map_err(HttpError::Connect)?.ip();
    let Some(config) = tls else { return Ok(Conn::new(to, Stream::Plain(socket))) };
    let connecting = TlsConnector::from(config).connect(server_name(host)?, socket);
    Ok(Conn::new(to, Stream::Tls(Box::new(connecting.await.map_err(handshake_error)?))))
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
