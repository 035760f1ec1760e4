//! Waiting for moments.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use meow_core::Result;
use meow_core::identity::ContactId;
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;

use super::plan::{Kind, pass, planned};
use crate::client::Inner;
use crate::run::{of_the_store, task_ended};

/// Sends at once that are under way at most. Where more moments fall, those are missed.
const MOST: usize = 32;
/// The clock may have been set: it is looked at so often.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What is under way. For one contact at most one send: a moment that falls meanwhile is missed, whatever there is to send, and
/// messages keep their order. Loops overtake each other as they like.
#[derive(Default)]
pub(crate) struct Running {
    tasks: JoinSet<Result<usize>>,
    whose: HashMap<Id, (Kind, ContactId)>,
    /// Deposits confirmed so far.
    pub(crate) sent: usize,
}

impl Running {
    /// Waits for one to end; for ever where there is none.
    async fn next(&mut self) -> Result<()> {
        let Some(done) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        let (id, done) = done.map_err(task_ended)?;
        self.whose.remove(&id);
        match done {
            Ok(sent) => self.sent += sent,
            Err(e) if of_the_store(&e) => return Err(e),
            Err(e) => tracing::debug!(kind = e.kind().name(), "nothing could leave at a moment"),
        }
        Ok(())
    }

    /// Waits for all to end.
    pub(crate) async fn end(&mut self) -> Result<()> {
        while !self.tasks.is_empty() {
            self.next().await?;
        }
        Ok(())
    }
}

impl Inner {
    /// Sends at each moment until it is dropped or the store fails. With `counting`, servers of one's own are told of each
    /// new count, as pulls are held for long.
    ///
    /// # Cancel safety
    /// Dropping the future, and [`Running`] with it, loses nothing: what was sealed is in the outbox. Dropping the future
    /// alone leaves to [`Running::end`] what is under way.
    pub(crate) async fn cover_loop(self: &Arc<Self>, running: &mut Running, counting: bool) -> Result<()> {
        loop {
            let changed = self.cover.notified();
            let pause = self.start_due(running, counting).await?;
            tokio::select! {
                done = running.next() => done?,
                () = changed => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Begins what is due now, and says how long to wait for the next.
    pub(crate) async fn start_due(
        self: &Arc<Self>,
        running: &mut Running,
        counting: bool,
    ) -> Result<Duration> {
        let busy: HashSet<_> = running.whose.values().copied().collect();
        let (all, now) = (self.read(planned).await?, self.now_ms());
        let mut pause = LONGEST_SLEEP;
        for (kind, id, next_ms) in all {
            if kind == Kind::Send && busy.contains(&(kind, id)) {
                continue;
            }
            if next_ms > now {
                pause = pause.min(Duration::from_millis(next_ms - now));
            } else if running.tasks.len() < MOST {
                let inner = Arc::clone(self);
                let task = running.tasks.spawn(async move {
                    let sent = match kind {
                        Kind::Send => inner.send_at_moment(id, counting).await,
                        Kind::Loop => inner.loop_at_moment(id).await.map(|()| 0),
                    };
                    if kind == Kind::Send {
                        inner.write(move |txn, inner| pass(txn, inner, &id)).await?;
                    }
                    sent
                });
                running.whose.insert(task.id(), (kind, id));
            }
        }
        Ok(pause)
    }
}
