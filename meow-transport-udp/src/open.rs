//! What is open on a connection: its links, and what they sent until it has arrived.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::link::Out;

/// How often a connection may keep something of a link that is gone. `stopped` of the library enters the stream in a table of its
/// connection, and a stream that this side breaks off afterwards is never taken out: about a hundred bytes each.
const MOST_LEFT: usize = 1000;

/// Counts what is open.
#[derive(Default)]
pub(crate) struct Open {
    left: AtomicUsize,
    links: TaskTracker,
    finished: Mutex<Finished>,
}

/// Streams that were finished and may not have arrived.
#[derive(Default)]
struct Finished {
    streams: Vec<Out>,
    /// How many there may be before somebody looks which have arrived.
    look_at: usize,
}

impl Finished {
    fn look(&mut self) {
        self.streams.retain_mut(|out| !out.is_over());
        self.look_at = 2 * self.streams.len() + 16;
    }
}

impl Open {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Counts until it is dropped.
    pub(crate) fn token(&self) -> TaskTrackerToken {
        self.links.token()
    }

    /// Counts until this task ends.
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.links.spawn(task)
    }

    /// Counts a stream that was finished until it has arrived. Nobody is woken for that: a task for each link would take turns
    /// from those that bring frames.
    pub(crate) fn until_arrived(&self, mut out: Out) {
        // One that was stopped goes at once, or its place would be missing to the far side.
        if out.is_stopped() {
            return;
        }
        let mut finished = self.finished();
        finished.streams.push(out);
        if finished.streams.len() > finished.look_at {
            finished.look();
        }
    }

    /// The connection keeps something of a link that is gone.
    pub(crate) fn left_behind(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it keeps so much that another connection should take its place.
    pub(crate) fn is_worn(&self) -> bool {
        self.left.load(Ordering::Relaxed) >= MOST_LEFT
    }

    pub(crate) fn is_empty(&self) -> bool {
        let mut finished = self.finished();
        finished.look();
        finished.streams.is_empty() && self.links.is_empty()
    }

    /// Waits until nothing is open. What waits no longer may have forgotten what was under way.
    pub(crate) async fn wait(&self) {
        self.links.close();
        self.links.wait().await;
        let streams = std::mem::take(&mut self.finished().streams);
        for out in streams {
            out.arrived().await;
        }
    }

    /// Streams that are kept, whether they have arrived or not.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.finished().streams.len()
    }

    fn finished(&self) -> MutexGuard<'_, Finished> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
