//! Pulls that are held open until mail comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

type Mailbox = [u8; 32];

/// The bounded table of held pulls.
#[derive(Debug)]
pub(crate) struct HeldPulls {
    places: Arc<Semaphore>,
    most_per_mailbox: usize,
    /// Oldest first.
    by_mailbox: Mutex<HashMap<Mailbox, Vec<Arc<Notify>>>>,
}

/// A place in the table, not yet used.
#[derive(Debug)]
pub(crate) struct Place {
    _taken: OwnedSemaphorePermit,
}

impl HeldPulls {
    pub(crate) fn new(most: usize, most_per_mailbox: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), most_per_mailbox, by_mailbox: Mutex::default() }
    }

    /// Reserves a place. `None` when all are taken.
    pub(crate) fn reserve(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|taken| Place { _taken: taken })
    }

    /// Uses a place, before the mailbox is looked into, so that no deposit slips by between. A mailbox that has its share
    /// already gives up its oldest: that pull ends, with what there is.
    pub(crate) fn hold(self: &Arc<Self>, place: Place, mailbox: Mailbox) -> Held {
        let woken = Arc::<Notify>::default();
        let mut table = self.table();
        let own = table.entry(mailbox).or_default();
        if own.len() >= self.most_per_mailbox {
            own.remove(0).notify_one();
        }
        own.push(Arc::clone(&woken));
        drop(table);
        Held { pulls: Arc::clone(self), mailbox, woken, _place: place }
    }

    /// Wakes whoever waits for mail in this mailbox.
    pub(crate) fn wake(&self, mailbox: &Mailbox) {
        if let Some(own) = self.table().get(mailbox) {
            own.iter().for_each(|pull| pull.notify_one());
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Mailbox, Vec<Arc<Notify>>>> {
        // Nothing that holds the lock can panic between two changes that belong together.
        self.by_mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A held pull; its place is freed when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pulls: Arc<HeldPulls>,
    mailbox: Mailbox,
    woken: Arc<Notify>,
    _place: Place,
}

impl Held {
    /// Waits until mail came since the place was taken, or the place was given to a newer pull.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn woken(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.pulls.table();
        let Some(own) = table.get_mut(&self.mailbox) else { return };
        own.retain(|pull| !Arc::ptr_eq(pull, &self.woken));
        if own.is_empty() {
            table.remove(&self.mailbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn hold(pulls: &Arc<HeldPulls>, mailbox: Mailbox) -> Option<Held> {
        pulls.reserve().map(|place| pulls.hold(place, mailbox))
    }

    #[test]
    fn mail_wakes_those_of_its_mailbox_only() {
        let pulls = Arc::new(HeldPulls::new(10, 4));
        let (a, b) = (hold(&pulls, [1; 32]).unwrap(), hold(&pulls, [2; 32]).unwrap());
        pulls.wake(&[1; 32]);
        pulls.wake(&[3; 32]);
        assert!(a.woken().now_or_never().is_some());
        assert!(a.woken().now_or_never().is_none(), "once");
        assert!(b.woken().now_or_never().is_none());
    }

    #[test]
    fn places_are_bounded_and_freed() {
        let pulls = Arc::new(HeldPulls::new(3, 2));
        let held: Vec<_> = (0..3).map(|n| hold(&pulls, [n; 32]).unwrap()).collect();
        assert!(pulls.reserve().is_none());
        drop(held);
        assert!(pulls.table().is_empty());
        assert_eq!(pulls.places.available_permits(), 3);
        let reserved = pulls.reserve().unwrap();
        assert_eq!(pulls.places.available_permits(), 2);
        drop(reserved);
        assert_eq!(pulls.places.available_permits(), 3);
    }

    #[test]
    fn the_oldest_of_a_mailbox_makes_room() {
        let pulls = Arc::new(HeldPulls::new(10, 2));
        let held: Vec<_> = (0..3).map(|_| hold(&pulls, [1; 32]).unwrap()).collect();
        assert_eq!(pulls.table()[&[1; 32]].len(), 2);
        assert!(held[0].woken().now_or_never().is_some());
        assert!(held[1].woken().now_or_never().is_none());
        drop(held);
        assert!(pulls.table().is_empty());
    }
}
