//! What became of packets, as numbers only: who sent what where is not kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How often the log tells of the counts, at most: often enough to see a next server that is gone, and no record of when
/// somebody wrote.
const TELL: Duration = Duration::from_secs(3600);

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

        impl HopCounts {
            /// Tells the operator: numbers since the start, nothing else (docs/operations/logging.md).
            pub(crate) fn tell(&self, what: &str) {
                tracing::info!($($name = self.$name,)* "{what}");
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
    /// For this server once more, but their tags found no room, could not be written, or their key was gone.
    unnoted,
    /// That the next server refused, or did not take within the packet's life.
    failed,
    /// Dropped since the relay stopped while they were under way.
    stopped,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Gives the counts, at most once an hour and only where they changed since; runs until it is dropped.
pub(crate) async fn hourly(counts: &Counters, mut tell: impl FnMut(HopCounts)) {
    let mut clock = interval(TELL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is now.
    clock.tick().await;
    let mut told = HopCounts::default();
    loop {
        clock.tick().await;
        let now = counts.read();
        if now != told {
            told = now;
            tell(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn counts_are_told_once_an_hour_and_only_when_they_changed() {
        let (counts, mut told) = (Counters::default(), Vec::new());
        let minute = Duration::from_secs(60);
        let work = async {
            // Nothing happens for three hours, and then much within one.
            sleep(185 * minute).await;
            for _ in 0..50 {
                counts.taken.add();
                sleep(minute).await;
            }
            counts.failed.add();
            // Three more hours without anything.
            sleep(180 * minute).await;
            counts.stopped.add();
            sleep(60 * minute).await;
        };
        tokio::select! {
            () = hourly(&counts, |now| told.push((now.taken, now.failed, now.stopped))) => {}
            () = work => {}
        }
        assert_eq!(told, [(50, 1, 0), (50, 1, 1)]);
    }
}
