//! A direct link that is up: items go out and come in, each answered once it is durable.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use meow_core::direct::{DirectFrame, DirectLink};
use meow_core::identity::ContactId;
use meow_core::request::MAX_ITEM;
use meow_core::transport::{Endpoint, Link};
use meow_core::wire::Blob;
use meow_core::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::tie::Tie;
use crate::client::Inner;
use crate::run::of_the_store;

/// A side that has said nothing for so long says that it is there.
const STILL: Duration = Duration::from_secs(20);
/// A side that was not heard for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a packet may take to be accepted by the link.
const SENDING: Duration = Duration::from_secs(20);
/// How long the contact may take to answer an item, beside its time on the way.
const ANSWER: Duration = Duration::from_secs(10);
/// Items under way at a time.
const UNDER_WAY: usize = 16;

/// An item on its way, and where to say what became of it.
struct HandOver {
    item: Blob<MAX_ITEM>,
    taken: oneshot::Sender<bool>,
}

/// The handle of a link. The link ends when all handles are gone.
#[derive(Clone)]
pub(super) struct Live {
    items: mpsc::Sender<HandOver>,
    tie: Tie,
    /// Where it leads, or where it came in.
    at: Endpoint,
    patience: Duration,
}

impl Live {
    /// The handle of the same link.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.items.same_channel(&other.items)
    }

    pub(super) fn at(&self) -> &Endpoint {
        &self.at
    }

    pub(super) fn is_up(&self) -> bool {
        !self.items.is_closed() && !self.tie.is_cut()
    }

    /// Hands an item over; true once the contact has said that it is durable there.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the contact takes it.
    pub(super) async fn hand_over(&self, item: &[u8]) -> bool {
        let Ok(item) = Blob::new(item.to_vec()) else { return false };
        let (taken, answer) = oneshot::channel();
        let given = async {
            self.items.send(HandOver { item, taken }).await.ok()?;
            answer.await.ok()
        };
        matches!(timeout(self.patience, given).await, Ok(Some(true)))
    }
}

/// Starts a link that both sides have proved, which leads, or came in, there. It lasts no longer than its tie.
pub(super) fn start(
    inner: &Arc<Inner>,
    id: ContactId,
    mut tie: Tie,
    at: Endpoint,
    link: Link,
    keys: DirectLink,
) {
    let (items, queue) = mpsc::channel(UNDER_WAY);
    // The longest item, three times over.
    let on_the_way = Duration::from_millis(3000 * 8 * 32_768 / link.profile.bit_rate.max(1));
    inner.direct.add(id, Live { items, tie: tie.clone(), at, patience: ANSWER + on_the_way });
    let mut running = Running { inner: Arc::downgrade(inner), id, link, keys, said: Instant::now() };
    tokio::spawn(async move {
        let ended = tokio::select! {
            biased;
            () = tie.cut() => None,
            ended = running.run(queue) => Some(ended),
        };
        let ended = match ended {
            Some(ended) => ended,
            // What was being said may be lost, which ends the link there all the same.
            None => running.farewell().await,
        };
        match ended {
            Ok(()) => tracing::debug!("a direct link ended"),
            Err(e) => tracing::debug!(kind = e.kind().name(), "a direct link broke: {e}"),
        }
    });
    // What waits may go this way now.
    inner.outbox.notify_one();
}

struct Running {
    /// Not held: a link keeps no client alive.
    inner: Weak<Inner>,
    id: ContactId,
    link: Link,
    keys: DirectLink,
    said: Instant,
}

impl Running {
    async fn run(&mut self, mut queue: mpsc::Receiver<HandOver>) -> Result<()> {
        // What is dropped with this map was not taken.
        let mut waiting: HashMap<u64, oneshot::Sender<bool>> = HashMap::new();
        let mut heard = Instant::now();
        loop {
            let next = (heard + SILENCE).min(self.said + STILL);
            tokio::select! {
                packet = self.link.rx.recv() => {
                    let Some(packet) = packet? else { return Ok(()) };
                    heard = Instant::now();
                    let (frame, number) = self.keys.open(&packet)?;
                    match frame {
                        DirectFrame::Item(item) => {
                            let taken = take(&self.inner, self.id, item.into_vec(), number).await?;
                            let Some(answer) = taken else { return Ok(()) };
                            self.say(&answer).await?;
                        }
                        DirectFrame::Taken(n) => answered(&mut waiting, n, true),
                        DirectFrame::Declined(n) => answered(&mut waiting, n, false),
                        DirectFrame::Bye => return Ok(()),
                        // Signs of life, and whatever a later version says.
                        _ => {}
                    }
                }
                given = queue.recv(), if waiting.len() < UNDER_WAY => {
                    let Some(HandOver { item, taken }) = given else {
                        return self.farewell().await;
                    };
                    let number = self.say(&DirectFrame::Item(item)).await?;
                    // Those whose senders gave up make room.
                    waiting.retain(|_, taken| !taken.is_closed());
                    waiting.insert(number, taken);
                }
                () = sleep_until(next) => {
                    if heard.elapsed() >= SILENCE {
                        return Err(Error::new(ErrorKind::Unreachable, "the contact was not heard for a minute"));
                    }
                    if self.said.elapsed() >= STILL {
                        self.say(&DirectFrame::Still).await?;
                    }
                }
            }
        }
    }

    /// Ends the link, soon: a contact that takes nothing must not keep it.
    async fn farewell(&mut self) -> Result<()> {
        let said = async {
            self.say(&DirectFrame::Bye).await?;
            self.link.tx.finish().await
        };
        timeout(SENDING, said).await.map_err(|_| takes_nothing())?
    }

    async fn say(&mut self, frame: &DirectFrame) -> Result<u64> {
        let (packet, number) = self.keys.seal(frame)?;
        let sent = timeout(SENDING, self.link.tx.send(Bytes::from(packet))).await;
        sent.map_err(|_| takes_nothing())??;
        self.said = Instant::now();
        Ok(number)
    }
}

fn takes_nothing() -> Error {
    Error::new(ErrorKind::Unreachable, "a direct link takes nothing more")
}

/// What to answer to an item; `None` when the client is gone.
async fn take(inner: &Weak<Inner>, id: ContactId, item: Vec<u8>, number: u64) -> Result<Option<DirectFrame>> {
    let Some(inner) = inner.upgrade() else { return Ok(None) };
    match inner.take_direct(id, item).await {
        Ok(()) => Ok(Some(DirectFrame::Taken(number))),
        Err(e) if of_the_store(&e) => Err(e),
        Err(e) => {
            tracing::debug!(kind = e.kind().name(), "an item that came directly is not taken now");
            Ok(Some(DirectFrame::Declined(number)))
        }
    }
}

fn answered(waiting: &mut HashMap<u64, oneshot::Sender<bool>>, number: u64, taken: bool) {
    if let Some(sender) = waiting.remove(&number) {
        // Whoever asked may have given up.
        let _ = sender.send(taken);
    }
}

impl Inner {
    /// Processes an item that came directly, as one that was fetched. Nothing is sealed in answer, or even read, by a
    /// store that may be an older copy.
    async fn take_direct(self: &Arc<Self>, id: ContactId, item: Vec<u8>) -> Result<()> {
        if !self.is_fresh(&id) {
            self.prove_current(id).await?;
        }
        if item.len() > MAX_ITEM {
            return Err(Error::new(ErrorKind::Malformed, "the item is too long"));
        }
        self.process(id, vec![item]).await?;
        self.outbox.notify_one();
        Ok(())
    }
}
