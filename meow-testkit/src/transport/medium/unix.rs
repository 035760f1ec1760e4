//! A path for Unix sockets that breaks connections.

use std::path::PathBuf;

use meow_core::Result;
use meow_core::transport::{BoxFuture, Endpoint};
use tokio::net::{UnixListener, UnixStream};

use super::cut::{Cuts, paths};
use super::{Medium, malformed, system};

/// Breaks connections after so many bytes from the dialling side, wherever that is in a frame. Every second one lives. For
/// endpoints whose path is that of a socket.
#[derive(Debug)]
pub struct CuttingUnix(Cuts);

impl CuttingUnix {
    /// Breaks every second connection after so many bytes.
    pub fn new(after: usize) -> Self {
        Self(Cuts::new(after))
    }
}

impl Medium for CuttingUnix {
    fn before<'a>(&'a self, local: &'a Endpoint) -> BoxFuture<'a, Result<Endpoint>> {
        Box::pin(async move {
            let target = PathBuf::from(&*local.path_text());
            let before = format!("{}.cut", target.display());
            // Of an earlier run.
            let _ = std::fs::remove_file(&before);
            let listener = UnixListener::bind(&before).map_err(system)?;
            let accept = async move || Ok((listener.accept().await?.0, UnixStream::connect(&target).await));
            self.0.spawn(paths(accept, self.0.after()));
            format!("{}://{before}", local.scheme()).parse().map_err(|_| malformed())
        })
    }

    fn lost(&self) -> u64 {
        self.0.lost()
    }

    fn mendable(&self) -> bool {
        false
    }
}
