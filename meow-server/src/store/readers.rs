//! The reading connections, lent one at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::Connection;

use super::StoreError;
use super::connection::{Role, Source};

/// A fixed number of reading connections.
pub(super) struct Readers {
    connections: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
}

impl Readers {
    pub(super) fn open(source: &Source) -> Result<Self, StoreError> {
        let open = |_| Ok(Mutex::new(source.connect(Role::Reader)?));
        let connections = (0..source.options.readers.max(1)).map(open).collect::<Result<_, StoreError>>()?;
        Ok(Self { connections, turn: AtomicUsize::new(0) })
    }

    /// Runs on an idle connection, or waits for the next in turn.
    pub(super) fn with<T>(
        &self,
        source: &Source,
        run: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.lend()?;
        let outcome = run(&connection);
        source.renew_after(&outcome, Role::Reader, &mut connection);
        outcome
    }

    fn lend(&self) -> Result<MutexGuard<'_, Connection>, StoreError> {
        for connection in &self.connections {
            match connection.try_lock() {
                Ok(connection) => return Ok(connection),
                // A reader that panicked left nothing behind: its statements were reset on the way.
                Err(TryLockError::Poisoned(connection)) => return Ok(connection.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let place = turn.checked_rem(self.connections.len()).and_then(|i| self.connections.get(i));
        Ok(place.ok_or(StoreError::NoReaders)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
