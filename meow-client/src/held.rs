//! Requests that servers hold: one task for each key, for as long as a client runs.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use meow_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::futures::Notified;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::sleep;

use crate::client::Inner;
use crate::route::below;
use crate::run::task_ended;

/// Longest pause after failures.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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

    /// Waits until a task has ended or `changed` comes, and then as long again as the look before `took`: what many contacts
    /// bring together is one look, and looking takes half of the time at most. True, with all tasks stopped, when the network
    /// has changed.
    ///
    /// # Errors
    /// That of a task; all others run on.
    pub(crate) async fn wait(
        &mut self,
        changed: Notified<'_>,
        network: Notified<'_>,
        took: Duration,
    ) -> Result<bool> {
        let woken = async {
            tokio::select! {
                Some(done) = self.running.join_next_with_id() => ended(&mut self.open, done)?,
                () = changed => {}
            }
            sleep(took).await;
            while let Some(done) = self.running.try_join_next_with_id() {
                ended(&mut self.open, done)?;
            }
            Ok(false)
        };
        tokio::select! {
            woken = woken => return woken,
            () = network => {}
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

impl Inner {
    /// The pause after the failure of this number in a row (from 1): what a busy server asks, and longer each time; drawn, so
    /// that those who failed together do not come again together.
    pub(crate) fn pause_after(&self, failures: u32, why: &Error) -> Result<Duration> {
        let asked = match why.retry() {
            Retry::After(secs) if why.kind() == ErrorKind::Limit => Duration::from_secs(secs.into()),
            _ => Duration::ZERO,
        };
        let longer = backoff(failures);
        let most = usize::try_from(longer.as_millis()).unwrap_or(usize::MAX);
        let drawn = below(most, &mut *self.random.lock())?;
        Ok((asked.max(longer / 2) + Duration::from_millis(drawn as u64)).min(LONGEST_PAUSE))
    }
}

/// 1, 2, 4 ... seconds, up to [`LONGEST_PAUSE`].
pub(crate) fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(LONGEST_PAUSE)
}
