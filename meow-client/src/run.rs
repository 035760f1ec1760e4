//! Driving a client: one step, or until told to stop.

use std::sync::Arc;
use std::time::Duration;

use meow_core::identity::ContactId;
use meow_core::store::Table;
use meow_core::{Error, ErrorKind, Result, Retry};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{Client, Inner};
use crate::contacts::{every_contact, own_mailboxes};
use crate::cover::Running;
use crate::event::Event;
use crate::held::{Held, LONGEST_PAUSE, asked_by, pause_after};
use crate::mailbox::OwnMailbox;
use crate::records::{contact, decode};
use crate::route::Ways;

/// How long a pull is held by the server, while a client runs.
const HOLD: Duration = Duration::from_secs(50);

/// What a step brought.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SyncReport {
    /// Items fetched.
    pub fetched: usize,
    /// Deposits confirmed by servers.
    pub sent: usize,
    /// Mailboxes that could not be fetched from or closed, each with what to do. The rest was done all the same.
    pub problems: Vec<Error>,
    /// Why there is still something to be sent; the reason that may pass soonest.
    pub waiting: Option<Error>,
}

impl Client {
    /// Sends what waits, fetches what has come, and answers what calls for an answer. When nothing has come,
    /// waits up to `wait` for something. To contacts with cover traffic it sends only if a moment for that falls into this
    /// call: [`run`](Self::run) meets all of them.
    ///
    /// # Errors
    /// `Damaged`, `System`: only what concerns the store. Servers that do not answer are in the report.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what was not acknowledged comes again.
    pub async fn sync(&self, wait: Duration) -> Result<SyncReport> {
        let inner = &self.inner;
        let until = Instant::now() + wait;
        let mut report = SyncReport::default();
        inner.obey_policies().await?;
        inner.send_round(&mut report).await?;
        inner.fetch_round(&mut report, None).await?;
        inner.send_round(&mut report).await?;
        // After the fetch, which proves that the store is current.
        let mut moments = Running::default();
        inner.start_due(&mut moments, false).await?;
        if report.fetched == 0 && !wait.is_zero() {
            tokio::select! {
                fetched = inner.fetch_round(&mut report, Some(until)) => fetched?,
                end = inner.cover_loop(&mut moments, false) => return end.map(|()| report),
            }
            inner.send_round(&mut report).await?;
        }
        moments.end().await?;
        report.sent += moments.sent;
        inner.upkeep().await?;
        for closed in [
            inner.look_after_copies().await,
            inner.refill().await,
            inner.add_postponed().await,
            inner.withdraw_used().await,
            inner.close_retired().await,
            inner.close_left_over().await,
            inner.move_on().await,
        ] {
            match closed {
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => report.problems.push(e),
                Ok(()) => {}
            }
        }
        Ok(report)
    }

    /// Sends and fetches until the future is dropped: spawn it in a task of yours. Obeys
    /// [`suspend`](Self::suspend) and [`resume`](Self::resume).
    ///
    /// # Errors
    /// `Damaged`, `System`: what concerns the store; and what keeps this client from listening where it was told to
    /// ([`direct_at`](crate::ClientBuilder::direct_at)).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what was not acknowledged comes again.
    pub async fn run(&self) -> Result<()> {
        let (mut suspended, mut awake) = (self.inner.suspended.subscribe(), self.inner.suspended.subscribe());
        loop {
            awake.wait_for(|s| !*s).await.map_err(client_ended)?;
            let mut moments = Running::default();
            tokio::select! {
                end = self.inner.send_loop() => return end,
                end = self.inner.fetch_loop() => return end,
                end = self.inner.upkeep_loop() => return end,
                end = self.inner.glance_loop() => return end,
                end = self.inner.direct_loop() => return end,
                end = self.inner.cover_loop(&mut moments, true) => return end,
                asleep = suspended.wait_for(|s| *s) => {
                    asleep.map_err(client_ended)?;
                    self.inner.directory().let_go();
                }
            }
        }
    }

    /// Up to `limit` events that were not confirmed yet, oldest first. None is ever dropped: an application that does
    /// not want them confirms them all the same, or they take as much room again as the messages that they tell of.
    ///
    /// # Errors
    /// `Damaged`, `System`.
    pub async fn events(&self, limit: usize) -> Result<Vec<Event>> {
        self.inner
            .read(move |txn| {
                let rows = txn.scan(Table::Events, &[], None, limit, false)?;
                rows.iter().map(|(_, value)| decode(Table::Events, value)).collect()
            })
            .await
    }

    /// The next event that was not confirmed yet; waits for one.
    ///
    /// # Errors
    /// `Damaged`, `System`.
    ///
    /// # Cancel safety
    /// Cancel-safe: the event comes again until it is confirmed.
    pub async fn next_event(&self) -> Result<Event> {
        let mut changed = self.inner.events.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(event) = self.events(1).await?.pop() {
                return Ok(event);
            }
            changed.changed().await.map_err(client_ended)?;
        }
    }

    /// Says that all events up to this number are dealt with. They do not come again.
    ///
    /// # Errors
    /// `System`.
    pub async fn confirm_events(&self, upto: u64) -> Result<()> {
        self.inner
            .write(move |txn, _| {
                loop {
                    let rows = txn.scan(Table::Events, &[], None, 256, false)?;
                    let mut left = false;
                    for (key, value) in &rows {
                        let event: Event = decode(Table::Events, value)?;
                        if event.number > upto {
                            left = true;
                            break;
                        }
                        txn.delete(Table::Events, key)?;
                    }
                    if left || rows.is_empty() {
                        return Ok(());
                    }
                }
            })
            .await
    }
}

/// A mailbox and whose it is.
#[derive(Clone)]
struct Polled {
    contact: ContactId,
    mailbox: OwnMailbox,
}

impl Inner {
    async fn polled(self: &Arc<Self>) -> Result<Vec<Polled>> {
        self.read(|txn| {
            let mut all = Vec::new();
            for (contact, record) in every_contact(txn)? {
                all.extend(own_mailboxes(&record).into_iter().map(|mailbox| Polled { contact, mailbox }));
            }
            Ok(all)
        })
        .await
    }

    /// Whether a mailbox is still one of its contact's.
    async fn is_polled(self: &Arc<Self>, id: ContactId, key: [u8; 64]) -> Result<bool> {
        self.read(move |txn| match contact(txn, &id) {
            Ok(record) => Ok(own_mailboxes(&record).iter().any(|m| m.key() == key)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        })
        .await
    }

    async fn send_round(self: &Arc<Self>, report: &mut SyncReport) -> Result<()> {
        let flushed = self.flush().await?;
        report.sent += flushed.sent;
        report.waiting = flushed.left;
        Ok(())
    }

    /// Fetches from all mailboxes at once. With `until`, waits so long for the first item, then lets the
    /// others be.
    async fn fetch_round(self: &Arc<Self>, report: &mut SyncReport, until: Option<Instant>) -> Result<()> {
        let mut running = JoinSet::new();
        let wait = until.map_or(Duration::ZERO, |u| u.saturating_duration_since(Instant::now()).min(HOLD));
        for polled in self.polled().await? {
            let inner = Arc::clone(self);
            running.spawn(async move { inner.fetch(polled.contact, &polled.mailbox, wait).await });
        }
        let last_moment = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(600));
        while let Ok(Some(done)) = timeout_at(last_moment, running.join_next()).await {
            match done.map_err(task_ended)? {
                Ok(0) => {}
                Ok(n) => {
                    report.fetched += n;
                    if until.is_some() {
                        return Ok(());
                    }
                }
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => report.problems.push(e),
            }
        }
        Ok(())
    }

    async fn send_loop(self: &Arc<Self>) -> Result<()> {
        let mut failures = 0u32;
        let mut counting = JoinSet::new();
        loop {
            let flushed = self.flush().await?;
            // Pulls are held for long: the servers learn now that this store has gone on.
            for id in flushed.sealed {
                let inner = Arc::clone(self);
                counting.spawn(async move { inner.count(id).await });
            }
            while let Some(done) = counting.try_join_next() {
                match done.map_err(task_ended)? {
                    Err(e) if of_the_store(&e) => return Err(e),
                    Err(e) => tracing::debug!(kind = e.kind().name(), "a server was not told of a new count"),
                    Ok(()) => {}
                }
            }
            let pause = match flushed.left {
                None => {
                    failures = 0;
                    Duration::from_secs(30)
                }
                Some(e) => {
                    failures += 1;
                    tracing::debug!(kind = e.kind().name(), "messages wait");
                    let asked = match e.retry() {
                        Retry::Now => Duration::ZERO,
                        Retry::After(secs) => Duration::from_secs(secs.into()),
                        Retry::Never => LONGEST_PAUSE,
                    };
                    // Others than the one who asks for long may be ready sooner.
                    let asked = asked.min(LONGEST_PAUSE);
                    pause_after(failures, asked, &mut *self.random.lock())?
                }
            };
            tokio::select! {
                () = self.outbox.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Keeps one held pull open per mailbox.
    async fn fetch_loop(self: &Arc<Self>) -> Result<()> {
        let mut held: Held<[u8; 64], Ways> = Held::default();
        let mut network = self.network.subscribe();
        loop {
            let changed = self.mailboxes.notified();
            let began = Instant::now();
            for polled in self.polled().await? {
                let (key, ways) = (polled.mailbox.key(), polled.mailbox.ways.clone());
                // When the policy has changed, perhaps by another process, nothing goes on by the old one.
                if held.get(&key) != Some(&ways) {
                    held.start(key, ways, Arc::clone(self).poll(polled));
                }
            }
            held.wait(changed, &mut network, began.elapsed()).await?;
        }
    }

    /// Polls one mailbox until its contact or the mailbox is gone, or the store fails.
    async fn poll(self: Arc<Self>, polled: Polled) -> Result<()> {
        let key = polled.mailbox.key();
        let (mut failures, mut failing) = (0u32, None);
        loop {
            match self.fetch(polled.contact, &polled.mailbox, HOLD).await {
                Ok(_) => (failures, failing) = (0, None),
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => {
                    failures += 1;
                    tracing::debug!(kind = e.kind().name(), "a mailbox cannot be polled now");
                    let pause = pause_after(failures, asked_by(&e), &mut *self.random.lock())?;
                    failing.get_or_insert_with(|| self.trouble.begin(e));
                    sleep(pause).await;
                }
            }
            if !self.is_polled(polled.contact, key).await? {
                return Ok(());
            }
        }
    }
}

/// Errors that no other server can mend.
pub(crate) fn of_the_store(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Damaged | ErrorKind::System | ErrorKind::Bug)
}

pub(crate) fn client_ended(e: tokio::sync::watch::error::RecvError) -> Error {
    Error::new(ErrorKind::Bug, "the client ended while it was in use").with_source(e)
}

pub(crate) fn task_ended(e: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Bug, "a fetching task ended before its time").with_source(e)
}
