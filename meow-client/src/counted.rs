//! Whether a server was told of a new count since something was sealed: an older copy of the store is found out by that.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use meow_core::identity::ContactId;

/// What this process has sealed and counted, by contact.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<HashMap<ContactId, Turns>>);

#[derive(Debug, Default)]
struct Turns {
    /// How often something was sealed.
    sealed: u64,
    /// How often that had been when the last request that a server has counted took its counter.
    counted: u64,
}

impl Counted {
    fn lock(&self) -> MutexGuard<'_, HashMap<ContactId, Turns>> {
        // Whole after every statement that holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is sealed. To be called within the transaction that stores it.
    pub(crate) fn seals(&self, contact: &ContactId) {
        self.lock().entry(*contact).or_default().sealed += 1;
    }

    /// How often something was sealed. To be called within the transaction that takes the counter of a request: then the
    /// store of that counter is no older than what was sealed.
    pub(crate) fn now(&self, contact: &ContactId) -> u64 {
        self.lock().get(contact).map_or(0, |turns| turns.sealed)
    }

    /// A server has taken the counter of the request that was begun then.
    pub(crate) fn taken(&self, contact: &ContactId, then: u64) {
        let mut all = self.lock();
        let turns = all.entry(*contact).or_default();
        turns.counted = turns.counted.max(then);
    }

    /// Whether the next request is to be counted.
    pub(crate) fn due(&self, contact: &ContactId) -> bool {
        self.lock().get(contact).is_some_and(|turns| turns.sealed > turns.counted)
    }
}
