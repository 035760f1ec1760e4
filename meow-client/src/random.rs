//! One source of randomness, shared by all tasks of a client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meow_core::crypto::{CryptoError, Random};

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

/// Locked for each piece alone: for what draws many and reckons in between.
impl Random for SharedRandom {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        self.lock().fill(buffer)
    }
}

#[cfg(test)]
mod tests {
    use meow_core::crypto::SeededRandom;

    use super::*;

    #[test]
    fn what_draws_piece_by_piece_leaves_the_source_to_others_in_between() {
        let (shared, mut alone) = (SharedRandom::new(SeededRandom::new(1)), SeededRandom::new(1));
        let mut drawing = shared.clone();
        for _ in 0..3 {
            let (mut piece, mut want) = ([0; 8], [0; 8]);
            drawing.fill(&mut piece).unwrap();
            alone.fill(&mut want).unwrap();
            assert_eq!(piece, want);
            // The next one is another's.
            shared.0.try_lock().unwrap().fill(&mut piece).unwrap();
            alone.fill(&mut want).unwrap();
            assert_eq!(piece, want);
        }
    }
}
