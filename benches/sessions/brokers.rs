//! What the brokers have in common: sockets, and one task for each connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use tokio::io::BufReader;
use tokio::net::TcpStream;

use crate::CONNECTIONS;

pub(crate) const PAYLOAD: usize = 1024;

pub(crate) async fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(BufReader::new(socket))
}

pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// `None`, said loudly, for a broker that is not installed; an error where all of them are asked for.
pub(crate) fn installed<T>(broker: Option<T>, name: &str) -> Option<T> {
    if broker.is_none() {
        assert!(std::env::var_os("MEOW_REQUIRE_SERVICES").is_none(), "{name} is not installed");
        println!("{name} is not installed: left out");
    }
    broker
}

/// How many messages each connection has of so many.
pub(crate) fn share(count: usize) -> usize {
    count.div_ceil(CONNECTIONS)
}

/// Runs one task for each connection with its socket; gives how many messages a second.
pub(crate) async fn all<F: Future<Output = ()> + Send + 'static>(
    count: usize,
    sockets: Vec<BufReader<TcpStream>>,
    one: impl Fn(usize, BufReader<TcpStream>) -> F,
) -> f64 {
    let began = Instant::now();
    let tasks: Vec<_> =
        sockets.into_iter().enumerate().map(|(n, socket)| tokio::spawn(one(n, socket))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    (share(count) * CONNECTIONS) as f64 / began.elapsed().as_secs_f64()
}
