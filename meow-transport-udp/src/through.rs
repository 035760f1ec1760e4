//! Through two address translators of which one gives each connection a port of its own: no one can be told where to
//! dial. So one side opens many sockets, each with a port of its own at its translator, and the other one knocks at many
//! ports from the one socket that it is known by. With 256 of the one and 1,200 of the other, some pair meets in 99 of 100
//! cases; from there on the way is open. Each side does both, since neither knows which of them it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use meow_core::crypto::{Random as _, SystemRandom};

use crate::error::UdpError;

/// Sockets that are opened, each for one port at the translator.
const SOCKETS: usize = 256;
/// Ports that are knocked at.
const KNOCKS: usize = 1200;
/// Knocks between two pauses.
const AT_ONCE: usize = 40;
/// How long each pause is.
const PAUSE: Duration = Duration::from_millis(80);
/// How long the first one to be found is waited for, beyond the knocks.
const PATIENCE: Duration = Duration::from_secs(3);
/// The first of the ports that a translator gives.
const FIRST_PORT: u16 = 1024;
/// What a knock says. Its first bit is that of no QUIC packet: whoever gets it drops it.
const KNOCK: [u8; 1] = [0];

/// Knocks at random ports of this address, from a socket that is in use otherwise.
pub(crate) async fn knock(from: &UdpSocket, at: IpAddr) -> Result<(), UdpError> {
    for port in ports(KNOCKS)?.chunks(AT_ONCE) {
        for port in port {
            // One that the system does not take is as good as lost on the way.
            let _ = from.send_to(&KNOCK, SocketAddr::new(at, *port));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Opens many ways to one place, and gives the socket of the first that is found from there.
pub(crate) async fn spread(to: SocketAddr) -> Result<UdpSocket, UdpError> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let mut waiting = FuturesUnordered::new();
    for _ in 0..SOCKETS {
        // Where the system gives no more sockets, fewer have to do.
        let Ok(socket) = tokio::net::UdpSocket::bind(any).await else { break };
        // From nowhere else is anything heard.
        if socket.connect(to).await.is_err() || socket.send(&KNOCK).await.is_err() {
            continue;
        }
        waiting.push(async move {
            let mut buffer = [0; 64];
            loop {
                match socket.recv(&mut buffer).await {
                    Ok(_) => return Some(socket),
                    // A port that was closed a moment ago may open yet.
                    Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {}
                    Err(_) => return None,
                }
            }
        });
    }
    let found = async {
        while let Some(socket) = waiting.next().await {
            if let Some(socket) = socket {
                return Ok(socket);
            }
        }
        Err(UdpError::ConnectTimeout)
    };
    let knocking = PAUSE * u32::try_from(KNOCKS / AT_ONCE).unwrap_or(u32::MAX);
    let found =
        tokio::time::timeout(knocking + PATIENCE, found).await.unwrap_or(Err(UdpError::ConnectTimeout))?;
    let found = found.into_std().map_err(UdpError::Bind)?;
    // A socket that is connected takes no other destination, which QUIC would name.
    let own = found.local_addr().map_err(UdpError::Bind)?;
    drop(found);
    UdpSocket::bind(SocketAddr::new(any.ip(), own.port())).map_err(UdpError::Bind)
}

/// Different random ports.
fn ports(most: usize) -> Result<Vec<u16>, UdpError> {
    let range = u32::from(u16::MAX - FIRST_PORT) + 1;
    let mut bytes = vec![0; most * 4];
    SystemRandom.fill(&mut bytes).map_err(|_| UdpError::Setting)?;
    let drawn = bytes.chunks_exact(4).filter_map(|four| {
        let four: [u8; 4] = four.try_into().ok()?;
        u16::try_from(u32::from_le_bytes(four) % range + u32::from(FIRST_PORT)).ok()
    });
    let mut ports: Vec<u16> = drawn.collect();
    let mut known = std::collections::HashSet::new();
    ports.retain(|port| known.insert(*port));
    Ok(ports)
}

/// A socket that QUIC uses, and that can be knocked from.
#[derive(Clone)]
pub(crate) struct Own {
    pub(crate) quic: quinn::Endpoint,
    pub(crate) raw: Arc<UdpSocket>,
}

impl Own {
    /// Puts QUIC onto a socket that only dials.
    pub(crate) fn dialling(socket: UdpSocket) -> Result<Self, UdpError> {
        Self::new(socket, quinn::EndpointConfig::default(), None)
    }

    /// Puts QUIC onto a socket.
    pub(crate) fn new(
        socket: UdpSocket,
        sides: quinn::EndpointConfig,
        server: Option<quinn::ServerConfig>,
    ) -> Result<Self, UdpError> {
        let raw = Arc::new(socket.try_clone().map_err(UdpError::Bind)?);
        let runtime = Arc::new(quinn::TokioRuntime);
        let quic = quinn::Endpoint::new(sides, server, socket, runtime).map_err(UdpError::Bind)?;
        Ok(Self { quic, raw })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_lie_where_translators_give_them() {
        let ports = ports(KNOCKS).unwrap();
        assert!(ports.len() > KNOCKS - 100 && ports.iter().all(|port| *port >= FIRST_PORT));
        let different: std::collections::HashSet<_> = ports.iter().collect();
        assert_eq!(different.len(), ports.len());
    }

    #[tokio::test]
    async fn whoever_is_found_first_keeps_its_port() {
        let there = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = there.local_addr().unwrap();
        let (found, from) = tokio::join!(spread(to), async {
            let mut buffer = [0; 8];
            let (_, mut from) = there.recv_from(&mut buffer).await.unwrap();
            for _ in 0..9 {
                from = there.recv_from(&mut buffer).await.unwrap().1;
            }
            there.send_to(&KNOCK, from).await.unwrap();
            from
        });
        assert_eq!(found.unwrap().local_addr().unwrap().port(), from.port());
    }
}
