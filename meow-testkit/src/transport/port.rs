//! Ports for servers that are told where to listen, because they have to be at the same place after a restart or because
//! somebody in between must know it.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that systems give to whoever asks for any port, so that no connection of another test takes it while the server
/// is down.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port that is free for TCP and UDP at 127.0.0.1, and that this process has not been given before.
///
/// # Errors
/// That of the last port that was tried, where none is free.
pub fn own_port() -> io::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other processes begin elsewhere.
    let begin = std::process::id() % u32::from(COUNT);
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..COUNT {
        let nth = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        // Far apart, since processes that follow each other begin side by side.
        let port = FIRST + ((begin * 97 + nth) % u32::from(COUNT)) as u16;
        let at = (Ipv4Addr::LOCALHOST, port);
        match TcpListener::bind(at).and_then(|_tcp| UdpSocket::bind(at)) {
            Ok(_) => return Ok(port),
            Err(e) => last = e,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_differ() {
        let ports: std::collections::HashSet<u16> = (0..20).map(|_| own_port().unwrap()).collect();
        assert_eq!(ports.len(), 20);
        for port in ports {
            assert!((FIRST..FIRST + COUNT).contains(&port));
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
