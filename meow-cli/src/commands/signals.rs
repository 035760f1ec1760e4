//! Being asked to stop.

use meow::Error;
use tokio::sync::watch;

use crate::exit::system;

/// Whether the user or the system has asked the program to end.
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Resolves when it has been asked.
    pub(super) async fn asked(&self) {
        if self.0.clone().wait_for(|asked| *asked).await.is_err() {
            // Nobody listens for signals any more: the system's own way of ending a program holds.
            std::future::pending::<()>().await;
        }
    }

    /// Whether it has been asked.
    pub(super) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}

/// Starts to listen for signals.
pub(super) fn stop() -> Result<Stop, Error> {
    let signal = first()?;
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        signal.await;
        tell.send_replace(true);
        // Those who ask later must find it too.
        tell.closed().await;
    });
    Ok(Stop(told))
}

/// Resolves with the first Ctrl-C or SIGTERM.
#[cfg(unix)]
fn first() -> Result<impl Future<Output = ()>, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let catch = |kind| signal(kind).map_err(|e| system("signals cannot be caught", e));
    let (mut interrupt, mut terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves with the first Ctrl-C.
#[cfg(not(unix))]
fn first() -> Result<impl Future<Output = ()>, Error> {
    let mut interrupt =
        tokio::signal::windows::ctrl_c().map_err(|e| system("signals cannot be caught", e))?;
    Ok(async move {
        let _ = interrupt.recv().await;
    })
}
