//! Being dialled: a stranger costs a look at what it sends, and learns nothing.

use std::sync::Arc;
use std::time::Duration;

use meow_core::direct::{DirectFrame, Hello, answer_hello};
use meow_core::store::StoreTxn;
use meow_core::transport::{Endpoint, Link, Listener, Pattern};
use meow_core::{Error, ErrorKind, Result};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::link;
use super::offer::{Dialled, whose};
use super::tie::May;
use crate::client::{Client, Inner};
use crate::records::contact;

/// How long a link may take to prove whose it is.
pub(super) const GREETING: Duration = Duration::from_secs(5);
/// After an accept that failed, so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(500);

/// Forgets where this client listens when it no longer does.
struct Listening<'a>(&'a Inner);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.direct.local.send_modify(Vec::clear);
        self.0.direct.hang_up();
    }
}

impl Client {
    /// Where this client listens for direct links: port 0 replaced by the port that the system gave, without user and password.
    /// Waits until [`run`](Self::run) does so; of a client that is to listen nowhere it is empty.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn listening(&self) -> Vec<Endpoint> {
        let direct = &self.inner.direct;
        let listens = |local: &Vec<Endpoint>| direct.listen.is_empty() || !local.is_empty();
        // Its sender is part of this client.
        let local = direct.local.subscribe().wait_for(listens).await.map(|local| local.clone());
        local.unwrap_or_default().into_iter().map(Endpoint::without_credentials).collect()
    }
}

impl Inner {
    /// Listens where the application said, and shows where that is to whom the policy allows it. Ends only with an error:
    /// a place that cannot be listened at, or the store.
    pub(crate) async fn direct_loop(self: &Arc<Self>) -> Result<()> {
        let _listening = Listening(self);
        let mut accepting = JoinSet::new();
        let mut local = Vec::new();
        for endpoint in &self.direct.listen {
            if self.direct.transports.estimate(endpoint)?.pattern == Pattern::Exchange {
                return Err(super::no_session(endpoint));
            }
            let listener = self.direct.transports.listen(endpoint).await?;
            local.push(listener.local().clone());
            accepting.spawn(accept(Arc::clone(self), listener));
        }
        let listens = !local.is_empty();
        self.direct.local.send_replace(local);
        tokio::select! {
            ended = accepting.join_next(), if listens => {
                let text = "a listener for direct links ended by itself; start the client again";
                let error = Error::new(ErrorKind::System, text);
                match ended {
                    Some(Err(e)) => Err(error.with_source(e)),
                    _ => Err(error),
                }
            }
            ended = self.presence_loop() => ended,
        }
    }

    /// Proves a link that was accepted, if it is of a contact.
    async fn greet(self: &Arc<Self>, at: &Endpoint, mut link: Link) -> Option<()> {
        if link.profile.pattern == Pattern::Exchange {
            return None;
        }
        let packet = link.rx.recv().await.ok()??;
        let hello = Hello::from_packet(&packet).ok()?;
        let found = self.read(move |txn| Ok((welcome(txn, &hello)?, hello))).await;
        let (Some(dialled), hello) = found.ok()? else { return None };
        if !self.direct.state().hellos.note(*hello.share()) {
            return None;
        }
        let answered = {
            let mut random = self.random.lock();
            answer_hello(&hello, &dialled.binding(), &mut *random)
        };
        let (welcome, mut keys) = answered.ok()?;
        link.tx.send(welcome.into()).await.ok()?;
        let first = link.rx.recv().await.ok()??;
        let (frame, _) = keys.open(&first).ok()?;
        if frame != DirectFrame::Ready {
            return None;
        }
        // Since the hello another word may have been said.
        let (id, tie) = (dialled.id, self.direct.tie(dialled.id, May::BeFound));
        if !self.still_may(id, May::BeFound).await.ok()? {
            return None;
        }
        let from = link.peer.address;
        link::start(self, id, tie, at.clone(), link, keys);
        if let Err(e) = self.is_at(from).await {
            tracing::warn!("cannot note where a contact is: {e}");
        }
        Some(())
    }
}

/// The contact whose hello this is, if its policy still lets it find this device.
fn welcome(txn: &dyn StoreTxn, hello: &Hello) -> Result<Option<Dialled>> {
    let Some(dialled) = whose(txn, hello)? else { return Ok(None) };
    let allowed = May::BeFound.under(&contact(txn, &dialled.id)?.policy);
    Ok(allowed.then_some(dialled))
}

async fn accept(inner: Arc<Inner>, mut listener: Listener) {
    let at = listener.local().clone();
    let mut greeting = JoinSet::new();
    loop {
        while greeting.try_join_next().is_some() {}
        match listener.accept().await {
            Ok(Some(link)) => {
                // One too many is dropped, which closes it.
                let Ok(place) = Arc::clone(&inner.direct.strangers).try_acquire_owned() else { continue };
                let (inner, at) = (Arc::clone(&inner), at.clone());
                greeting.spawn(async move {
                    if !matches!(timeout(GREETING, inner.greet(&at, link)).await, Ok(Some(()))) {
                        tracing::debug!("somebody dialled who proved nothing");
                    }
                    drop(place);
                });
            }
            Ok(None) => return,
            Err(e) => {
                tracing::debug!(kind = e.kind().name(), "cannot accept a direct link: {e}");
                sleep(PAUSE).await;
            }
        }
    }
}
