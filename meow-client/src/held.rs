//! Requests that servers hold: one task for each key, for as long as a client runs.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use meow_core::crypto::Random;
use meow_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::futures::Notified;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::sleep;

use crate::route::below;
use crate::run::{client_ended, task_ended};

/// Longest pause after failures that nobody asked for, on average.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// How long what has changed waits for more at most.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The tasks, each with what it was started by.
pub(crate) struct Held<K, V = ()> {
    running: JoinSet<(K, Result<()>)>,
    open: HashMap<K, (V, AbortHandle)>,
}

impl<K: Copy + Eq + Hash + Send + 'static, V> Default for Held<K, V> {
    fn default() -> Self {
        Self { running: JoinSet::new(), open: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash + Send + 'static, V> Held<K, V> {
    /// What the task of this key was started by, while it runs.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.open.get(key).map(|(by, _)| by)
    }

    /// The keys whose tasks run, each with what it was started by.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&K, &V)> {
        self.open.iter().map(|(key, (by, _))| (key, by))
    }

    /// Starts the task of a key, in place of the one before.
    pub(crate) fn start(&mut self, key: K, by: V, task: impl Future<Output = Result<()>> + Send + 'static) {
        let started = self.running.spawn(async move { (key, task.await) });
        if let Some((_, before)) = self.open.insert(key, (by, started)) {
            before.abort();
        }
    }

    /// Stops the tasks of all other keys.
    pub(crate) fn retain(&mut self, stays: impl Fn(&K) -> bool) {
        self.open.retain(|key, (_, task)| {
            let stays = stays(key);
            if !stays {
                task.abort();
            }
            stays
        });
    }

    /// Waits until a task has ended or `changed` comes, and then as long again as the look before `took`, a second at most: what
    /// many contacts bring together is one look, and looking takes half of the time. True, with all tasks stopped, when the
    /// network has changed since `network` was made or last gave true here, however long ago.
    ///
    /// # Errors
    /// That of a task; all others run on.
    pub(crate) async fn wait(
        &mut self,
        changed: Notified<'_>,
        network: &mut watch::Receiver<()>,
        took: Duration,
    ) -> Result<bool> {
        let woken = async {
            tokio::select! {
                Some(done) = self.running.join_next_with_id() => ended(&mut self.open, done)?,
                () = changed => {}
            }
            sleep(took.min(LONGEST_WAIT)).await;
            while let Some(done) = self.running.try_join_next_with_id() {
                ended(&mut self.open, done)?;
            }
            Ok(false)
        };
        tokio::select! {
            biased;
            news = network.changed() => news.map_err(client_ended)?,
            woken = woken => return woken,
        }
        self.running.shutdown().await;
        self.open.clear();
        Ok(true)
    }
}

fn ended<K: Eq + Hash, V>(
    open: &mut HashMap<K, (V, AbortHandle)>,
    done: Result<(Id, (K, Result<()>)), JoinError>,
) -> Result<()> {
    match done {
        Err(e) if e.is_cancelled() => Ok(()),
        done => {
            let (task, (key, result)) = done.map_err(task_ended)?;
            // One that ended by itself just before it was stopped leaves the one that took its place alone.
            if open.get(&key).is_some_and(|(_, running)| running.id() == task) {
                open.remove(&key);
            }
            result
        }
    }
}

/// The pause after the failure of this number in a row (from 1): what was asked for, and longer each time; partly drawn, so that
/// those who failed together do not come again together.
pub(crate) fn pause_after(failures: u32, asked: Duration, random: &mut dyn Random) -> Result<Duration> {
    let longer = Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(LONGEST_PAUSE);
    let most = usize::try_from(longer.as_millis()).unwrap_or(usize::MAX);
    let drawn = Duration::from_millis(below(most, random)? as u64);
    Ok(asked.min(LONGEST_ASKED).max(longer / 2) + drawn)
}

/// How long a busy server asks to be left alone.
pub(crate) fn asked_by(e: &Error) -> Duration {
    match e.retry() {
        Retry::After(secs) if e.kind() == ErrorKind::Limit => Duration::from_secs(secs.into()),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use meow_core::crypto::SeededRandom;
    use tokio::sync::Notify;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::{Instant, timeout};

    use super::*;

    /// Where nothing else comes.
    async fn wait(held: &mut Held<u8, &'static str>, took: Duration) -> Result<bool> {
        let (changed, network) = (Notify::new(), watch::Sender::new(()));
        held.wait(changed.notified(), &mut network.subscribe(), took).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_while_it_looks_is_taken_together() {
        let mut held = Held::default();
        for (key, secs) in [(1, 1), (2, 3), (3, 60)] {
            held.start(key, "first", async move {
                sleep(Duration::from_secs(secs)).await;
                Ok(())
            });
        }
        let (began, took) = (Instant::now(), Duration::from_millis(500));
        assert!(!wait(&mut held, took).await.unwrap());
        assert_eq!(began.elapsed(), Duration::from_millis(1500));
        assert_eq!([1, 2, 3].map(|key| held.get(&key).is_some()), [false, true, true]);
        // However long a look takes, the next one begins within a second.
        assert!(!wait(&mut held, Duration::from_secs(100)).await.unwrap());
        assert_eq!(began.elapsed(), Duration::from_secs(4));
        assert_eq!([1, 2, 3].map(|key| held.get(&key).is_some()), [false, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_the_place_of_another_stays() {
        let (mut held, (ended, mut ends)) = (Held::default(), unbounded_channel());
        let task = |name: &'static str, secs| {
            let ended = ended.clone();
            async move {
                sleep(Duration::from_secs(secs)).await;
                ended.send(name).unwrap();
                Ok(())
            }
        };
        held.start(1, "old", task("old", 1));
        held.start(1, "new", task("new", 5));
        held.start(2, "other", task("other", 9));
        // That one was stopped is no reason to stop another.
        while held.get(&1).is_some() {
            assert_eq!(held.get(&1), Some(&"new"));
            wait(&mut held, Duration::ZERO).await.unwrap();
        }
        assert_eq!(ends.try_recv(), Ok("new"));
        held.retain(|key| *key == 1);
        assert_eq!(held.get(&2), None);
        sleep(Duration::from_secs(60)).await;
        assert!(ends.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_network_stops_all_and_comes_before_the_rest() {
        let (mut held, changed, network) = (Held::default(), Notify::new(), watch::Sender::new(()));
        let mut news = network.subscribe();
        held.start(1, "", std::future::pending());
        changed.notify_one();
        network.send_replace(());
        assert!(held.wait(changed.notified(), &mut news, Duration::ZERO).await.unwrap());
        assert_eq!(held.get(&1), None);
        // Also while it waits for what else may end.
        held.start(1, "", std::future::pending());
        let soon = async {
            sleep(Duration::from_millis(100)).await;
            network.send_replace(());
        };
        let waited = held.wait(changed.notified(), &mut news, Duration::from_millis(500));
        assert!(tokio::join!(waited, soon).0.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_network_is_not_missed_while_nobody_waits_and_counts_once() {
        let (mut held, changed, network) = (Held::default(), Notify::new(), watch::Sender::new(()));
        let mut news = network.subscribe();
        held.start(1, "", std::future::pending());
        changed.notify_one();
        assert!(!held.wait(changed.notified(), &mut news, Duration::ZERO).await.unwrap());
        // The loop has not begun to wait again.
        network.send_replace(());
        held.start(2, "", std::future::pending());
        let waited = held.wait(changed.notified(), &mut news, Duration::ZERO);
        assert!(timeout(LONGEST_PAUSE, waited).await.expect("it was told").unwrap());
        assert_eq!([1, 2].map(|key| held.get(&key)), [None, None]);
        changed.notify_one();
        assert!(!held.wait(changed.notified(), &mut news, Duration::ZERO).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_of_one_is_told() {
        let mut held = Held::default();
        held.start(1, "", async { Err(Error::new(ErrorKind::Damaged, "the store")) });
        assert_eq!(wait(&mut held, Duration::ZERO).await.unwrap_err().kind(), ErrorKind::Damaged);
        assert_eq!(held.get(&1), None);
    }

    #[test]
    fn pauses_grow_heed_what_is_asked_and_are_never_all_alike() {
        let mut random = SeededRandom::new(1);
        for (failures, asked, from, to) in [
            (1, 0, 500, 1500),
            (3, 0, 2000, 6000),
            (40, 0, 30_000, 90_000),
            (1, 7, 7000, 8000),
            (9, 9999, 300_000, 360_000),
        ] {
            let asked = Duration::from_secs(asked);
            let mut all: Vec<_> =
                (0..200).map(|_| pause_after(failures, asked, &mut random).unwrap().as_millis()).collect();
            assert!(all.iter().all(|ms| (from..=to).contains(ms)), "{failures}, {asked:?}: {all:?}");
            all.sort_unstable();
            all.dedup();
            assert!(all.len() > 100, "{failures}, {asked:?}: {all:?}");
        }
        let error = |kind, secs| Error::new(kind, "").with_retry(Retry::After(secs));
        assert_eq!(asked_by(&error(ErrorKind::Limit, 7)), Duration::from_secs(7));
        assert_eq!(asked_by(&error(ErrorKind::Unreachable, 7)), Duration::ZERO);
    }
}
