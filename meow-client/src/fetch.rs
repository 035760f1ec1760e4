//! Fetching mail: pulling a mailbox and acknowledging what was processed.

use std::sync::Arc;
use std::time::Duration;

use meow_core::identity::ContactId;
use meow_core::policy::{Chain, Route};
use meow_core::request::{Acknowledge, Answer, Items, MailItem, Pull, RefusalCode, RequestKind};
use meow_core::session::SessionKind;
use meow_core::store::Table;
use meow_core::wire::Fixed;
use meow_core::{Error, ErrorKind, Result};

use crate::client::Inner;
use crate::contacts::own_mailboxes;
use crate::cover::loops_count;
use crate::mailbox::{OwnMailbox, take_counter, unexpected};
use crate::records::{MailboxRecord, contact, load};
use crate::route::{Passage, Under, longest_hold, no_way};
use crate::run::of_the_store;
use crate::server::{Room, refused};
use crate::sessions::{Place, Right};

/// Through a chain, answers are asked in this size class first: 512 bytes, which a small packet carries.
const FIRST_THROUGH: Room = Room::Class(1);
/// And where more waits in this one: 8 KiB.
const NEXT_THROUGH: Room = Room::Class(3);
/// The largest size class: 32 KiB.
const LARGEST_ANSWER: u8 = 4;
/// A server that finds so many requests in a row unfit is wrong.
const MAX_REFUSALS: u32 = 8;
/// Pulls of one fetch at most; what is left comes with the next one.
const MAX_ROUNDS: u32 = 1000;

/// How a pull ended.
enum Pulled {
    Items(Items),
    /// The counter was behind, or the server had lost the mailbox; that is mended, and the pull begins anew.
    Again,
}

/// The counter of a pull, and how often something had been sealed when it was taken.
struct Taken {
    counter: u64,
    sealed: u64,
}

impl Inner {
    /// Fetches what is in one mailbox; waits up to `wait` when there is nothing. Returns how many items came.
    ///
    /// Only what this fetch has processed, durably, is acknowledged.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        id: ContactId,
        mailbox: &OwnMailbox,
        wait: Duration,
    ) -> Result<usize> {
        let (mut count, mut upto, mut room, mut wait, mut refusals) = (0, 0, Room::Items, wait, 0);
        for _ in 0..MAX_ROUNDS {
            let Items { items, more, need } = match self.pull(id, mailbox, upto, room, wait).await? {
                Pulled::Items(items) => items,
                Pulled::Again if refusals < MAX_REFUSALS => {
                    refusals += 1;
                    // The server may have begun to number anew.
                    upto = 0;
                    continue;
                }
                Pulled::Again => return Err(unexpected()),
            };
            self.proven(id).await?;
            wait = Duration::ZERO;
            let none = items.is_empty();
            if !none {
                upto = highest(upto, &items)?;
                count += items.len();
                let items = items.into_vec().into_iter().map(|item| mailbox.unwrap(item.item.into_vec()));
                self.process(id, items.collect()).await?;
            }
            if !more {
                break;
            }
            room = match (none, room) {
                (false, _) => Room::Items,
                // The next item needs more room than there was: what is asked for grows, or the server is wrong.
                (true, Room::Class(class)) if need.min(LARGEST_ANSWER) <= class => return Err(unexpected()),
                (true, _) => Room::Class(need.min(LARGEST_ANSWER)),
            };
        }
        if count > 0 {
            self.acknowledge(id, mailbox, upto).await?;
            self.outbox.notify_one();
        }
        Ok(count)
    }

    /// Proves that the store is not an older copy: one counted request to a server of one's own, before
    /// anything is sealed with keys that a copy could have used.
    pub(crate) async fn prove_current(self: &Arc<Self>, id: ContactId) -> Result<()> {
        let mut mailboxes = self.read(move |txn| Ok(own_mailboxes(&contact(txn, &id)?))).await?;
        let now = self.now_ms();
        mailboxes.sort_by_key(|mailbox| self.hearing.rests(mailbox.server.fingerprint(), now));
        let mut last =
            Error::new(ErrorKind::Usage, "this contact has no mailbox; remove it and exchange cards again");
        for mailbox in &mailboxes {
            match self.fetch(id, mailbox, Duration::ZERO).await {
                Ok(_) => return Ok(()),
                Err(e) => last = e,
            }
        }
        Err(Error::new(
            last.kind(),
            format!("your own server has to answer once before anything is sealed, which guards against reused keys: {last}"),
        )
        .with_retry(last.retry())
        .with_source(last))
    }

    /// Pulls by the first allowed route that works.
    async fn pull(
        self: &Arc<Self>,
        id: ContactId,
        mailbox: &OwnMailbox,
        acknowledge: u64,
        room: Room,
        wait: Duration,
    ) -> Result<Pulled> {
        let mut last = no_way();
        for route in Route::to_servers(&mailbox.ways.routes) {
            let passage = Passage::to_ask(Under::Contact(id), route);
            if !self.still_leads(&passage).await? {
                continue;
            }
            let pulled = match route {
                Route::Server => self.pull_straight(id, mailbox, acknowledge, room, wait).await,
                Route::Matriochka(chain) => {
                    self.pull_through(chain, id, mailbox, acknowledge, room, wait).await
                }
                _ => continue,
            };
            self.note_asked(&passage, mailbox.server.fingerprint(), &pulled).await?;
            match pulled {
                Err(e) if !of_the_store(&e) => last = e,
                done => return done,
            }
        }
        Err(last)
    }

    /// Pulls from the server itself: in a session where there is one.
    async fn pull_straight(
        self: &Arc<Self>,
        id: ContactId,
        mailbox: &OwnMailbox,
        acknowledge: u64,
        room: Room,
        wait: Duration,
    ) -> Result<Pulled> {
        let place = Place { contact: id, server: &mailbox.server, right: Right::Owner(&mailbox.lkp) };
        let wait_secs = secs(wait);
        // Until the store is proven current, a counter goes out once: what has seen it then is another timeline.
        let mut session = match self.is_fresh(&id) {
            true => self.session(&place).await?,
            false => None,
        };
        if acknowledge == 0
            && !self.counted.due(&id, &mailbox.key())
            && let Some(ready) = session.clone()
        {
            let look = SessionKind::Look { wait_secs };
            match self.ask_in_session(ready, &mailbox.server, &look, room, wait).await? {
                Some(Answer::Items(items)) => return Ok(Pulled::Items(items)),
                Some(Answer::Refused(r)) => return Err(refused(&mailbox.server, r)),
                Some(_) => return Err(unexpected()),
                None => session = None,
            }
        }
        let Some(taken) = self.pull_counter(id, mailbox).await? else {
            return self.unknown_mailbox(id, mailbox, not_registered()).await.map(|()| Pulled::Again);
        };
        let pull = SessionKind::Pull { counter: taken.counter, acknowledge, wait_secs };
        let answered = match session {
            Some(ready) => self.ask_in_session(ready, &mailbox.server, &pull, room, wait).await?,
            None => None,
        };
        let answer = match answered {
            Some(answer) => answer,
            None => {
                let kind = signed_pull(mailbox, taken.counter, acknowledge, wait_secs)?;
                self.ask(&Passage::straight(id), &mailbox.server, kind, room, wait).await?
            }
        };
        self.pulled(id, mailbox, taken, answer).await
    }

    /// Pulls through a chain: each pull is one packet, sealed to the server's key and counted.
    async fn pull_through(
        self: &Arc<Self>,
        chain: &Chain,
        id: ContactId,
        mailbox: &OwnMailbox,
        acknowledge: u64,
        room: Room,
        wait: Duration,
    ) -> Result<Pulled> {
        let Some(taken) = self.pull_counter(id, mailbox).await? else {
            return self.unknown_mailbox(id, mailbox, not_registered()).await.map(|()| Pulled::Again);
        };
        let room = match (room, acknowledge) {
            (Room::Items, 0) => FIRST_THROUGH,
            (Room::Items, _) => NEXT_THROUGH,
            (room, _) => room,
        };
        let wait = wait.min(longest_hold(chain));
        let kind = signed_pull(mailbox, taken.counter, acknowledge, secs(wait))?;
        let passage = Passage::to_ask(Under::Contact(id), &Route::Matriochka(chain.clone()));
        let answer = self.ask_through(&passage, &mailbox.ways, &mailbox.server, kind, room, wait).await?;
        self.pulled(id, mailbox, taken, answer).await
    }

    /// The counter of the next pull; `None` for a mailbox that is not registered.
    async fn pull_counter(self: &Arc<Self>, id: ContactId, mailbox: &OwnMailbox) -> Result<Option<Taken>> {
        let key = mailbox.key();
        self.write(move |txn, inner| {
            let known: MailboxRecord = load(txn, Table::Mailboxes, &key)?.unwrap_or_default();
            let sealed = inner.counted.now(&id);
            known.registered.then(|| Ok(Taken { counter: take_counter(txn, &key)?, sealed })).transpose()
        })
        .await
    }

    /// What the server said to a pull.
    async fn pulled(
        self: &Arc<Self>,
        id: ContactId,
        mailbox: &OwnMailbox,
        taken: Taken,
        answer: Answer,
    ) -> Result<Pulled> {
        match answer {
            Answer::Items(items) => {
                self.counted.taken(&id, &mailbox.key(), taken.sealed);
                Ok(Pulled::Items(items))
            }
            Answer::Refused(r) if r.code == RefusalCode::StaleCounter => {
                self.behind(id, mailbox, taken.counter, r.seen).await.map(|()| Pulled::Again)
            }
            Answer::Refused(r) if r.code == RefusalCode::Denied => {
                self.unknown_mailbox(id, mailbox, refused(&mailbox.server, r)).await.map(|()| Pulled::Again)
            }
            Answer::Refused(r) => Err(refused(&mailbox.server, r)),
            _ => Err(unexpected()),
        }
    }

    /// One counted request to each server of a contact's mailboxes, unless loops are those. A copy of this store from before it is found
    /// out by that, even if nothing was fetched since.
    pub(crate) async fn count(self: &Arc<Self>, id: ContactId) -> Result<()> {
        let (mailboxes, by_loops) = self
            .read(move |txn| {
                let record = contact(txn, &id)?;
                Ok((own_mailboxes(&record), loops_count(&record.policy)))
            })
            .await?;
        let mut failed = None;
        for mailbox in mailboxes.iter().filter(|_| !by_loops) {
            match self.acknowledge(id, mailbox, 0).await {
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => failed = Some(e),
                Ok(()) => {}
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Acknowledges by the first allowed route that works.
    async fn acknowledge(self: &Arc<Self>, id: ContactId, mailbox: &OwnMailbox, upto: u64) -> Result<()> {
        let mut last = no_way();
        for route in Route::to_servers(&mailbox.ways.routes) {
            let passage = Passage::to_ask(Under::Contact(id), route);
            if !self.still_leads(&passage).await? {
                continue;
            }
            match self.acknowledge_by(&passage, id, mailbox, upto).await {
                Err(e) if !of_the_store(&e) => last = e,
                done => return done,
            }
        }
        Err(last)
    }

    async fn acknowledge_by(
        self: &Arc<Self>,
        passage: &Passage,
        id: ContactId,
        mailbox: &OwnMailbox,
        upto: u64,
    ) -> Result<()> {
        let place = Place { contact: id, server: &mailbox.server, right: Right::Owner(&mailbox.lkp) };
        // A session binds requests to an address: only where the server may see that.
        let session = if *passage.route() == Route::Server { self.session(&place).await? } else { None };
        let key = mailbox.key();
        let (counter, sealed) =
            self.write(move |txn, inner| Ok((take_counter(txn, &key)?, inner.counted.now(&id)))).await?;
        let kind = SessionKind::Acknowledge { counter, upto };
        let answered = match session {
            Some(ready) => {
                self.ask_in_session(ready, &mailbox.server, &kind, Room::Small, Duration::ZERO).await?
            }
            None => None,
        };
        let answer = match answered {
            Some(answer) => answer,
            None => {
                let body = Acknowledge { mailbox: mailbox.lkp.public(), counter, upto, sig: Fixed([0; 64]) };
                let signed = body.signed(mailbox.server.fingerprint(), &mailbox.lkp)?;
                let kind = RequestKind::Acknowledge(signed);
                self.ask_by(passage, &mailbox.ways, &mailbox.server, kind, Room::Small, Duration::ZERO)
                    .await?
            }
        };
        match answer {
            Answer::Done => {
                self.counted.taken(&id, &key, sealed);
                Ok(())
            }
            // Overtaken by another process, or done by an attempt whose answer was lost: what it leaves is delivered
            // again and recognised.
            Answer::Refused(r) if r.code == RefusalCode::StaleCounter => Ok(()),
            Answer::Refused(r) => Err(refused(&mailbox.server, r)),
            _ => Err(unexpected()),
        }
    }
}

fn signed_pull(mailbox: &OwnMailbox, counter: u64, acknowledge: u64, wait_secs: u16) -> Result<RequestKind> {
    let body = Pull { mailbox: mailbox.lkp.public(), counter, acknowledge, wait_secs, sig: Fixed([0; 64]) };
    Ok(RequestKind::Pull(body.signed(mailbox.server.fingerprint(), &mailbox.lkp)?))
}

fn secs(wait: Duration) -> u16 {
    u16::try_from(wait.as_secs()).unwrap_or(u16::MAX)
}

fn not_registered() -> Error {
    Error::new(
        ErrorKind::Refused,
        "the mailbox is gone from its server, and is replaced where that is possible",
    )
}

/// The highest number of a page. Numbers rise, and start above what was acknowledged: a server that numbers
/// otherwise could have mail deleted that nobody has seen.
fn highest(after: u64, items: &[MailItem]) -> Result<u64> {
    items
        .iter()
        .try_fold(after, |last, item| if item.number > last { Ok(item.number) } else { Err(unexpected()) })
}
