//! The one thread that writes: it takes what has queued up, commits it with one sync, and answers all.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use meow_core::store::{DepositOutcome, MailboxStore, PullOutcome, Quota, Write, WriteOutcome};
use meow_core::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};

use super::HeldPulls;

/// Payload bytes that share one sync at most, so that one batch neither takes long nor much memory.
const BATCH_BYTES: usize = 4 << 20;
/// Writes from which on a batch lets nobody go first.
const GATHERED: usize = 32;
/// So many more have to come whenever others went first.
const A_FEW: usize = 3;

enum Job {
    Write { write: Box<Write>, now: u64, reply: oneshot::Sender<Result<WriteOutcome, WriteError>> },
    Expire { now: u64, reply: oneshot::Sender<Result<usize>> },
    Stop { reply: oneshot::Sender<()> },
}

/// Why a write has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    /// Too many writes wait.
    #[error("too many writes wait for the store")]
    Full,
    /// The store failed; nothing of it was written.
    #[error("the store failed")]
    Failed,
    /// The relay has stopped.
    #[error("the relay has stopped")]
    Stopped,
}

/// The handle of the writer's queue.
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Writer {
    /// Waits until the store is at rest: a thread that still closes it while the process ends would crash in
    /// SQLCipher's own cleaning up.
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.jobs, closed));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer thread ended before its time");
        }
    }
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        store: Arc<dyn MailboxStore>,
        held: Arc<HeldPulls>,
        quota: Quota,
        queue: usize,
        batch: usize,
    ) -> Result<Self> {
        let (jobs, queued) = mpsc::channel(queue);
        let thread = Thread { store, held, quota, batch, queued, complained: None };
        let thread = thread::Builder::new()
            .name("meow-writer".into())
            .spawn(move || thread.run())
            .map_err(|e| Error::new(ErrorKind::System, "cannot start the writer thread").with_source(e))?;
        Ok(Self { jobs, thread: Some(thread) })
    }

    /// Applies one write; when this returns an outcome, it is durable.
    ///
    /// # Cancel safety
    /// A write whose future is dropped may still be applied.
    pub(crate) async fn write(&self, write: Write, now: u64) -> Result<WriteOutcome, WriteError> {
        let (reply, outcome) = oneshot::channel();
        self.jobs.try_send(Job::Write { write: Box::new(write), now, reply }).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => WriteError::Full,
            mpsc::error::TrySendError::Closed(_) => WriteError::Stopped,
        })?;
        outcome.await.map_err(|_| WriteError::Stopped)?
    }

    /// Deletes some of what has expired, and returns how many rows that were.
    pub(crate) async fn expire(&self, now: u64) -> Result<usize> {
        let stopped = |_| Error::new(ErrorKind::System, "the relay has stopped");
        let (reply, deleted) = oneshot::channel();
        self.jobs.send(Job::Expire { now, reply }).await.map_err(|_| stopped(()))?;
        deleted.await.map_err(|_| stopped(()))?
    }

    /// Ends the thread after all that is queued.
    pub(crate) async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.jobs.send(Job::Stop { reply }).await.is_ok() {
            // An error means that the thread is gone, which is what was asked for.
            let _ = stopped.await;
        }
    }
}

struct Thread {
    store: Arc<dyn MailboxStore>,
    held: Arc<HeldPulls>,
    quota: Quota,
    batch: usize,
    queued: mpsc::Receiver<Job>,
    /// When it was last logged that the store fails, while it does.
    complained: Option<Instant>,
}

/// A store that keeps failing is logged this often, not with each request.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Rows deleted by one expiry job, so that deposits do not wait long behind it.
const EXPIRE_ROWS: usize = 1000;

#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    replies: Vec<oneshot::Sender<Result<WriteOutcome, WriteError>>>,
    now: u64,
    bytes: usize,
    /// All of its writes are only appended.
    appends: bool,
}

impl Batch {
    /// What is not only appended, and so may take longer, has a batch of its own.
    fn takes(&self, write: &Write) -> bool {
        self.writes.is_empty() || self.appends == appends(write)
    }

    fn push(&mut self, write: Write, now: u64, reply: oneshot::Sender<Result<WriteOutcome, WriteError>>) {
        self.appends = appends(&write);
        self.bytes += payload(&write);
        self.now = self.now.max(now);
        self.writes.push(write);
        self.replies.push(reply);
    }
}

impl Thread {
    fn run(mut self) {
        let mut waiting = None;
        while let Some(first) = waiting.take().or_else(|| self.queued.blocking_recv()) {
            let (mut batch, mut next, mut enough) = (Batch::default(), Some(first), 1);
            // Writes gather until no more come, the batch is full, or something else comes.
            while let Some(job) = next.take() {
                match job {
                    Job::Write { write, now, reply } if batch.takes(&write) => {
                        batch.push(*write, now, reply);
                        if batch.writes.len() < self.batch && batch.bytes < BATCH_BYTES {
                            next = self.more(batch.writes.len(), &mut enough);
                        }
                    }
                    other => waiting = Some(other),
                }
            }
            if !batch.writes.is_empty() {
                self.commit(batch);
                continue;
            }
            match waiting.take() {
                Some(Job::Expire { now, reply }) => {
                    let _ = reply.send(self.store.expire(now, EXPIRE_ROWS));
                }
                Some(Job::Stop { reply }) => {
                    self.queued.close();
                    let _ = reply.send(());
                    return;
                }
                Some(Job::Write { .. }) | None => {}
            }
        }
    }

    /// What joins a batch of so many writes: what is queued, or what others bring when they may run first, as long as each time
    /// brings a few; so that is eight times at most. Where the processors are busy, more writes share a sync by that
    /// (docs/numbers.md); where one is idle, this one runs on at once. A write that is alone waits for nobody.
    fn more(&mut self, count: usize, enough: &mut usize) -> Option<Job> {
        let queued = self.queued.try_recv().ok();
        if queued.is_none() && count > *enough && count < GATHERED {
            *enough = count + A_FEW;
            thread::yield_now();
            return self.queued.try_recv().ok();
        }
        queued
    }

    fn commit(&mut self, batch: Batch) {
        let outcomes = self.apply(&batch.writes, batch.now);
        for ((write, reply), outcome) in batch.writes.iter().zip(batch.replies).zip(outcomes) {
            match (write, &outcome) {
                (Write::Deposit(deposit), Ok(WriteOutcome::Deposit(DepositOutcome::Stored))) => {
                    self.held.wake(&deposit.mailbox);
                }
                // Nothing will come any more.
                (Write::Close { mailbox, .. }, Ok(WriteOutcome::Pull(PullOutcome::Done))) => {
                    self.held.wake(mailbox)
                }
                _ => {}
            }
            // A client that hung up does not wait for it.
            let _ = reply.send(outcome);
        }
    }

    /// One outcome for each write. When a batch fails, its parts are tried: on a full disk what frees space first, so that
    /// those who fetch their mail can empty it; on a damaged store each write alone, so that one damaged mailbox does not
    /// close the others.
    fn apply(&mut self, writes: &[Write], now: u64) -> Vec<Result<WriteOutcome, WriteError>> {
        let failed = match self.try_commit(writes, now) {
            Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
            Err(kind) => kind,
        };
        let mut all = vec![Err(WriteError::Failed); writes.len()];
        let mut parts: Vec<Vec<usize>> = if failed == ErrorKind::System {
            let (freeing, filling) = (0..writes.len()).partition(|at| writes.get(*at).is_some_and(frees));
            vec![freeing, filling]
        } else {
            (0..writes.len()).map(|at| vec![at]).collect()
        };
        // The same batch again would fail again.
        parts.retain(|part| !part.is_empty() && part.len() < writes.len());
        for part in parts {
            let again: Vec<_> = part.iter().filter_map(|at| writes.get(*at).cloned()).collect();
            let Ok(outcomes) = self.try_commit(&again, now) else { continue };
            for (at, outcome) in part.into_iter().zip(outcomes) {
                if let Some(slot) = all.get_mut(at) {
                    *slot = Ok(outcome);
                }
            }
        }
        all
    }

    fn try_commit(&mut self, writes: &[Write], now: u64) -> Result<Vec<WriteOutcome>, ErrorKind> {
        let e = match self.store.commit(writes, &self.quota, now) {
            Ok(outcomes) if outcomes.len() == writes.len() => {
                if self.complained.take().is_some() {
                    tracing::info!("the store can write again");
                }
                return Ok(outcomes);
            }
            Ok(_) => {
                Error::new(ErrorKind::Bug, "the store gave a wrong number of outcomes; nothing is confirmed")
            }
            Err(e) => e,
        };
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            let source = std::error::Error::source(&e).map(ToString::to_string);
            tracing::error!(
                kind = e.kind().name(),
                source,
                "the store cannot write, clients are told to wait: {e}"
            );
        }
        Err(e.kind())
    }
}

/// What a store with a log only appends.
fn appends(write: &Write) -> bool {
    matches!(write, Write::Deposit(_) | Write::Acknowledge { .. })
}

fn frees(write: &Write) -> bool {
    matches!(write, Write::Acknowledge { .. } | Write::Close { .. })
}

fn payload(write: &Write) -> usize {
    match write {
        Write::Deposit(deposit) => deposit.item.len(),
        Write::Blob(blob) => blob.content.len(),
        _ => 0,
    }
}
