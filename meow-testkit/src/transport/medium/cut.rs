//! What media that break connections have in common.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;

/// Breaks every second connection after so many bytes from its near end.
#[derive(Debug)]
pub(super) struct Cuts {
    after: usize,
    lost: Arc<AtomicU64>,
    tasks: Mutex<JoinSet<()>>,
}

impl Cuts {
    pub(super) fn new(after: usize) -> Self {
        Self { after, lost: Arc::default(), tasks: Mutex::default() }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn after(&self) -> (usize, Arc<AtomicU64>) {
        (self.after, Arc::clone(&self.lost))
    }

    /// Goes on for as long as the medium lives.
    pub(super) fn spawn(&self, paths: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(paths);
    }
}

/// Leads each connection that is accepted to the far end that comes with it; where that is nobody, closing the near one says
/// so.
pub(super) async fn paths<S>(
    mut accept: impl AsyncFnMut() -> io::Result<(S, io::Result<S>)>,
    (after, lost): (usize, Arc<AtomicU64>),
) where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut paths, mut number) = (JoinSet::new(), 0);
    while let Ok((near, far)) = accept().await {
        number += 1;
        let after = if number % 2 == 0 { usize::MAX } else { after };
        let Ok(far) = far else { continue };
        paths.spawn(path(near, far, after, Arc::clone(&lost)));
    }
}

/// Passes bytes on between two streams, but no more than so many from the near one.
async fn path<S>(near: S, far: S, after: usize, lost: Arc<AtomicU64>)
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
