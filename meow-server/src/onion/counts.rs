//! What became of packets, as numbers only: who sent what where is not kept.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What became of onion packets since the relay was started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct HopCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> HopCounts {
                HopCounts { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Taken, whatever became of them.
    taken,
    /// That did not open, or whose content was touched.
    unreadable,
    /// Seen before.
    replayed,
    /// Served here.
    delivered,
    /// Answers that were handed to a waiting link.
    answered,
    /// Answers for which no link waited any more.
    unawaited,
    /// Taken by the next server.
    forwarded,
    /// For a server that is not known here.
    unknown,
    /// For a server for which too many wait already.
    crowded,
    /// That the next server refused, or did not take within the packet's life.
    failed,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
