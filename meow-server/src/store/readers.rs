//! The reading connections, lent one at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use rusqlite::Connection;

use super::StoreError;

/// A fixed number of reading connections.
pub(super) struct Readers {
    connections: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        Self { connections: connections.into_iter().map(Mutex::new).collect(), turn: AtomicUsize::new(0) }
    }

    /// Runs on an idle connection, or waits for the next in turn.
    pub(super) fn with<T>(
        &self,
        run: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        for connection in &self.connections {
            match connection.try_lock() {
                Ok(connection) => return run(&connection),
                // A reader that panicked left nothing behind: its statements were reset on the way.
                Err(TryLockError::Poisoned(connection)) => return run(&connection.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let place = turn.checked_rem(self.connections.len()).and_then(|i| self.connections.get(i));
        let Some(connection) = place else { return Err(StoreError::NoReaders) };
        run(&connection.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
