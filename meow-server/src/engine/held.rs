//! Pulls that are held open until mail comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

type Mailbox = [u8; 32];

/// The bounded table of held pulls.
pub(crate) struct HeldPulls {
    most: usize,
    most_per_mailbox: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    count: usize,
    /// Oldest first.
    by_mailbox: HashMap<Mailbox, Vec<Arc<Pull>>>,
}

#[derive(Default)]
struct Pull {
    woken: Notify,
}

impl HeldPulls {
    pub(crate) fn new(most: usize, most_per_mailbox: usize) -> Self {
        Self { most, most_per_mailbox, table: Mutex::default() }
    }

    /// Takes a place, before the mailbox is looked into, so that no deposit slips by between. `None` when all places
    /// are taken. A mailbox that has its share already gives up its oldest: that pull ends, with what there is.
    pub(crate) fn hold(self: &Arc<Self>, mailbox: Mailbox) -> Option<Held> {
        let mut table = self.table();
        let own = table.by_mailbox.get_mut(&mailbox);
        if let Some(oldest) =
            own.filter(|pulls| pulls.len() >= self.most_per_mailbox).map(|pulls| pulls.remove(0))
        {
            oldest.woken.notify_one();
            table.count -= 1;
        }
        if table.count >= self.most {
            return None;
        }
        let pull = Arc::<Pull>::default();
        table.count += 1;
        table.by_mailbox.entry(mailbox).or_default().push(Arc::clone(&pull));
        drop(table);
        Some(Held { pulls: Arc::clone(self), mailbox, pull })
    }

    /// Wakes whoever waits for mail in this mailbox.
    pub(crate) fn wake(&self, mailbox: &Mailbox) {
        if let Some(pulls) = self.table().by_mailbox.get(mailbox) {
            pulls.iter().for_each(|pull| pull.woken.notify_one());
        }
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.table().count
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that holds the lock can panic between two changes that belong together.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the table, freed when dropped.
pub(crate) struct Held {
    pulls: Arc<HeldPulls>,
    mailbox: Mailbox,
    pull: Arc<Pull>,
}

impl Held {
    /// Waits until mail came since the place was taken, or the place was given to a newer pull.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn woken(&self) {
        self.pull.woken.notified().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.pulls.table();
        let Some(pulls) = table.by_mailbox.get_mut(&self.mailbox) else { return };
        let before = pulls.len();
        pulls.retain(|pull| !Arc::ptr_eq(pull, &self.pull));
        let freed = before - pulls.len();
        if pulls.is_empty() {
            table.by_mailbox.remove(&self.mailbox);
        }
        table.count -= freed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn mail_wakes_those_of_its_mailbox_only() {
        let pulls = Arc::new(HeldPulls::new(10, 4));
        let (a, b) = (pulls.hold([1; 32]).unwrap(), pulls.hold([2; 32]).unwrap());
        pulls.wake(&[1; 32]);
        pulls.wake(&[3; 32]);
        assert!(a.woken().now_or_never().is_some());
        assert!(a.woken().now_or_never().is_none(), "once");
        assert!(b.woken().now_or_never().is_none());
    }

    #[test]
    fn places_are_bounded_and_freed() {
        let pulls = Arc::new(HeldPulls::new(3, 2));
        let held: Vec<_> = (0..3).map(|n| pulls.hold([n; 32]).unwrap()).collect();
        assert!(pulls.hold([9; 32]).is_none());
        drop(held);
        assert_eq!(pulls.count(), 0);
        assert!(pulls.table().by_mailbox.is_empty());
        assert!(pulls.hold([9; 32]).is_some());
    }

    #[test]
    fn the_oldest_of_a_mailbox_makes_room() {
        let pulls = Arc::new(HeldPulls::new(10, 2));
        let held: Vec<_> = (0..3).map(|_| pulls.hold([1; 32]).unwrap()).collect();
        assert_eq!(pulls.count(), 2);
        assert!(held[0].woken().now_or_never().is_some());
        assert!(held[1].woken().now_or_never().is_none());
        drop(held);
        assert_eq!(pulls.count(), 0);
    }
}
