//! A path for TCP that breaks connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use meow_core::Result;
use meow_core::transport::{BoxFuture, Endpoint};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Medium, address, system};

/// Breaks connections after so many bytes from the dialling side, wherever that is in a frame. Every second one
/// lives.
#[derive(Debug)]
pub struct CuttingTcp {
    after: usize,
    lost: Arc<AtomicU64>,
    tasks: Mutex<JoinSet<()>>,
}

impl CuttingTcp {
    /// Breaks every second connection after so many bytes.
    pub fn new(after: usize) -> Self {
        Self { after, lost: Arc::default(), tasks: Mutex::default() }
    }
}

impl Medium for CuttingTcp {
    fn before<'a>(&'a self, local: &'a Endpoint) -> BoxFuture<'a, Result<Endpoint>> {
        Box::pin(async move {
            let target = address(local)?;
            let listener = TcpListener::bind(SocketAddr::new(target.ip(), 0)).await.map_err(system)?;
            let port = listener.local_addr().map_err(system)?.port();
            let (lost, after) = (Arc::clone(&self.lost), self.after);
            self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
                let (mut paths, mut number) = (JoinSet::new(), 0);
                while let Ok((near, _)) = listener.accept().await {
                    number += 1;
                    let after = if number % 2 == 0 { usize::MAX } else { after };
                    // Nobody there: closing the near side says so.
                    let Ok(far) = TcpStream::connect(target).await else { continue };
                    paths.spawn(path(near, far, after, Arc::clone(&lost)));
                }
            });
            Ok(local.clone().with_port(port))
        })
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn mendable(&self) -> bool {
        false
    }
}

/// Passes bytes on between two streams, but no more than so many from the near one.
pub(super) async fn path<S>(near: S, far: S, after: usize, lost: Arc<AtomicU64>)
where
    S: AsyncRead + AsyncWrite,
{
    let ((near_in, near_out), (far_in, far_out)) = (tokio::io::split(near), tokio::io::split(far));
    tokio::select! {
        broken = pass(near_in, far_out, after) => {
            if broken {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        _ = pass(far_in, near_out, usize::MAX) => {}
    }
}

/// Copies until the end, or so many bytes: true then.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut left: usize) -> bool {
    let mut buffer = [0; 512];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return false };
        let Some(bytes) = buffer.get(..length.min(left)) else { return false };
        // The other side closed: the connection is over for both.
        if to.write_all(bytes).await.is_err() {
            return false;
        }
        left -= bytes.len();
        if bytes.len() < length {
            return true;
        }
    }
}
