//! One source of randomness, shared by all tasks of a client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meow_core::crypto::Random;

/// A shared, lockable source.
#[derive(Clone)]
pub(crate) struct SharedRandom(Arc<Mutex<dyn Random>>);

impl SharedRandom {
    pub(crate) fn new(source: impl Random + 'static) -> Self {
        Self(Arc::new(Mutex::new(source)))
    }

    /// Locks the source. A panic of another holder leaves a source as good as before.
    pub(crate) fn lock(&self) -> MutexGuard<'_, dyn Random + 'static> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
