//! Whether each server was told of a new count since something was sealed: an older copy of the store is found out by that,
//! whichever of them answers it first.

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
    /// How often that had been when the last request that a server has counted took its counter, by the key of the mailbox.
    counted: HashMap<[u8; 64], u64>,
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

    /// The server of a mailbox has taken the counter of the request that was begun then.
    pub(crate) fn taken(&self, contact: &ContactId, mailbox: &[u8; 64], then: u64) {
        let mut all = self.lock();
        let counted = all.entry(*contact).or_default().counted.entry(*mailbox).or_default();
        *counted = then.max(*counted);
    }

    /// Whether the next request about a mailbox is to be counted: something was sealed since, or the process that sealed it
    /// may have ended before this server could be told.
    pub(crate) fn due(&self, contact: &ContactId, mailbox: &[u8; 64]) -> bool {
        let all = self.lock();
        all.get(contact)
            .is_none_or(|turns| turns.counted.get(mailbox).is_none_or(|then| turns.sealed > *then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a37_what_one_server_has_counted_says_nothing_of_another() {
        let (counted, id) = (Counted::default(), ContactId::from_bytes([1; 16]));
        let (one, two) = ([1; 64], [2; 64]);
        assert!(counted.due(&id, &one) && counted.due(&id, &two), "once in each process");
        counted.taken(&id, &one, counted.now(&id));
        counted.taken(&id, &two, counted.now(&id));
        assert!(!counted.due(&id, &one) && !counted.due(&id, &two));
        let before = counted.now(&id);
        counted.seals(&id);
        counted.taken(&id, &one, counted.now(&id));
        // The other one does not answer, or its counter was taken before.
        counted.taken(&id, &two, before);
        assert!(!counted.due(&id, &one) && counted.due(&id, &two));
    }
}
