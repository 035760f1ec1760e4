//! A path for Unix sockets that breaks connections.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use meow_core::Result;
use meow_core::transport::{BoxFuture, Endpoint};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::tcp::path;
use super::{Medium, malformed, system};

/// Breaks connections after so many bytes from the dialling side, wherever that is in a frame. Every second one lives. For
/// endpoints whose path is that of a socket.
#[derive(Debug)]
pub struct CuttingUnix {
    after: usize,
    lost: Arc<AtomicU64>,
    tasks: Mutex<JoinSet<()>>,
}

impl CuttingUnix {
    /// Breaks every second connection after so many bytes.
    pub fn new(after: usize) -> Self {
        Self { after, lost: Arc::default(), tasks: Mutex::default() }
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
            let (lost, after) = (Arc::clone(&self.lost), self.after);
            self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
                let (mut paths, mut number) = (JoinSet::new(), 0);
                while let Ok((near, _)) = listener.accept().await {
                    number += 1;
                    let after = if number % 2 == 0 { usize::MAX } else { after };
                    // Nobody there: closing the near side says so.
                    let Ok(far) = UnixStream::connect(&target).await else { continue };
                    paths.spawn(path(near, far, after, Arc::clone(&lost)));
                }
            });
            format!("{}://{before}", local.scheme()).parse().map_err(|_| malformed())
        })
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn mendable(&self) -> bool {
        false
    }
}
