//! A path for TCP that breaks connections.

use std::net::SocketAddr;

use meow_core::Result;
use meow_core::transport::{BoxFuture, Endpoint};
use tokio::net::{TcpListener, TcpStream};

use super::cut::{Cuts, paths};
use super::{Medium, address, system};

/// Breaks connections after so many bytes from the dialling side, wherever that is in a frame. Every second one
/// lives.
#[derive(Debug)]
pub struct CuttingTcp(Cuts);

impl CuttingTcp {
    /// Breaks every second connection after so many bytes.
    pub fn new(after: usize) -> Self {
        Self(Cuts::new(after))
    }
}

impl Medium for CuttingTcp {
    fn before<'a>(&'a self, local: &'a Endpoint) -> BoxFuture<'a, Result<Endpoint>> {
        Box::pin(async move {
            let target = address(local)?;
            let listener = TcpListener::bind(SocketAddr::new(target.ip(), 0)).await.map_err(system)?;
            let port = listener.local_addr().map_err(system)?.port();
            let accept = async move || Ok((listener.accept().await?.0, TcpStream::connect(target).await));
            self.0.spawn(paths(accept, self.0.after()));
            Ok(local.clone().with_port(port))
        })
    }

    fn lost(&self) -> u64 {
        self.0.lost()
    }

    fn mendable(&self) -> bool {
        false
    }
}
