//! Being found: showing at one's own servers where this device is, and dialling back whoever knocks.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use meow_core::crypto::{Secret, VerifyKey, key_commitment};
use meow_core::direct::{Reach, ReachFor, ReachUse};
use meow_core::identity::ContactId;
use meow_core::request::{Answer, Deposit, Present, Presented, RefusalCode, RequestKind, Seen, Showing};
use meow_core::store::StoreTxn;
use meow_core::wire::Fixed;
use meow_core::{ErrorKind, Result};
use tokio::time::{Instant, sleep};

use super::find::CLASS;
use super::offer::direct_record;
use super::places::{self, Places};
use super::tie::May;
use crate::client::Inner;
use crate::contacts::{every_contact, own_mailboxes};
use crate::held::{Held, asked_by, pause_after};
use crate::mailbox::{OwnMailbox, take_counter, unexpected};
use crate::records::contact;
use crate::route::{Passage, Ways};
use crate::run::of_the_store;
use crate::server::refused;

/// How long a server may hold the request that shows this device.
const HOLD: Duration = Duration::from_secs(50);
/// A server whose answers come sooner than they were asked for is asked no more often than this.
const PAUSE: Duration = Duration::from_secs(5);
/// Knocks of one contact are answered no more often than this.
const BETWEEN_KNOCKS: Duration = Duration::from_secs(5);

/// Which mailbox at which server, and under which offer.
type Key = ([u8; 64], [u8; 32]);

/// One mailbox at which a contact may find this device.
#[derive(Clone)]
struct Shown {
    contact: ContactId,
    mailbox: OwnMailbox,
    token: Fixed<16>,
    secret: Secret,
}

/// What is wished at a mailbox where this device was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// That it is shown.
    Show,
    /// That it is shown no longer.
    Withdraw,
    /// That nothing is said of this offer: another one took its place, or the server shall hear nothing straight from this device,
    /// not even that; it forgets within minutes.
    Leave,
}

impl Shown {
    fn to(&self, used: ReachUse) -> (Secret, [u8; 32], VerifyKey, ReachUse) {
        (self.secret.clone(), *self.mailbox.server.fingerprint(), self.mailbox.lkp.public(), used)
    }
}

/// What the policies of all contacts wish.
#[derive(Default)]
struct Wishes {
    /// Contacts who are to be told that they may find this device, or may not any more.
    offers: Vec<ContactId>,
    /// The mailboxes at which this device is to be shown.
    shown: Vec<Shown>,
    /// Contacts who may find this device.
    found: HashSet<ContactId>,
    /// The mailboxes whose servers may not see this device.
    hidden: HashSet<[u8; 64]>,
}

impl Inner {
    async fn wishes(self: &Arc<Self>) -> Result<Wishes> {
        self.read(|txn| {
            let mut wishes = Wishes::default();
            for (contact, record) in every_contact(txn)? {
                let (mine, found) = (direct_record(txn, &contact)?.mine, May::BeFound.under(&record.policy));
                if mine.is_some() != found {
                    wishes.offers.push(contact);
                }
                if !record.policy.shows_to_servers() {
                    wishes.hidden.extend(own_mailboxes(&record).iter().map(OwnMailbox::key));
                    continue;
                }
                if !found {
                    continue;
                }
                wishes.found.insert(contact);
                let Some(mine) = mine else { continue };
                let ways = Ways::of(&record);
                wishes.shown.extend(record.machine.current_mailboxes().map(|mailbox| Shown {
                    contact,
                    mailbox: OwnMailbox::new(mailbox, &ways),
                    token: mailbox.token,
                    secret: mine.secret.clone(),
                }));
            }
            Ok(wishes)
        })
        .await
    }

    /// Shows this device wherever the policies say so, until the store fails.
    pub(super) async fn presence_loop(self: &Arc<Self>) -> Result<()> {
        // `None` for a server that is told that this device is shown no more.
        let mut held: Held<Key, Option<Shown>> = Held::default();
        let mut network = self.network.subscribe();
        loop {
            let changed = self.mailboxes.notified();
            let began = Instant::now();
            self.obey_policies().await?;
            let Wishes { offers, shown, found, hidden } = self.wishes().await?;
            let took = began.elapsed();
            // Where servers may not see this device any more, no request is held at them for the rest of its time.
            held.retain(|(mailbox, _)| !hidden.contains(mailbox));
            // A contact who may not find this device any more learns it now, not when the time of a request is over.
            let over = |shown: &&Shown| !found.contains(&shown.contact);
            let over: Vec<_> = held
                .all()
                .filter_map(|(key, shown)| shown.as_ref().filter(over).map(|shown| (*key, shown.clone())))
                .collect();
            for (key, shown) in over {
                held.start(key, None, Arc::clone(self).show_no_more(shown));
            }
            // That changes what is to be shown, of which this loop hears.
            self.make_offers(offers).await?;
            let listens = !self.direct.local.borrow().is_empty();
            for shown in shown.into_iter().filter(|_| listens) {
                let key = (shown.mailbox.key(), key_commitment(&shown.secret));
                // Where it is being taken away, that is overtaken.
                if !matches!(held.get(&key), Some(Some(_))) {
                    held.start(key, Some(shown.clone()), Arc::clone(self).show(shown));
                }
            }
            held.wait(changed, &mut network, took).await?;
        }
    }

    /// Shows this device at one mailbox until that is not wished any more, or the store fails.
    async fn show(self: Arc<Self>, shown: Shown) -> Result<()> {
        let (mut seen, mut knocked, mut failures) = (None, None, 0u32);
        loop {
            let began = Instant::now();
            match self.wait_at(&shown, &mut seen, &mut knocked).await {
                Ok(false) => return self.show_no_more(shown).await,
                Ok(true) => {
                    failures = 0;
                    if began.elapsed() < PAUSE && knocked.is_none_or(|at| at < began) {
                        sleep(PAUSE).await;
                    }
                }
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => {
                    tracing::debug!(kind = e.kind().name(), "a server does not show this device now");
                    (seen, failures) = (None, failures + 1);
                    let pause = pause_after(failures, asked_by(&e), &mut *self.random.lock())?;
                    sleep(pause).await;
                }
            }
        }
    }

    /// Takes away what is shown at one mailbox, if that is wished.
    async fn show_no_more(self: Arc<Self>, shown: Shown) -> Result<()> {
        match self.present(&shown, Showing::Nothing, Duration::ZERO).await {
            Err(e) if of_the_store(&e) => Err(e),
            // A server that does not answer forgets within minutes.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Shows this device and waits for a knock; false where it is not to be shown so any more.
    async fn wait_at(
        self: &Arc<Self>,
        shown: &Shown,
        seen: &mut Option<Seen>,
        knocked: &mut Option<Instant>,
    ) -> Result<bool> {
        if seen.is_none() {
            let Some(same) = self.present(shown, Showing::Same, Duration::ZERO).await? else {
                return Ok(false);
            };
            *seen = same.seen;
        }
        let own = places::own(&self.direct.local.borrow(), *seen);
        let (secret, server, mailbox, used) = shown.to(ReachUse::Presence);
        let to = ReachFor { secret: &secret, server: &server, mailbox: &mailbox, used };
        let record = places::reach(&own, self.now_ms()).seal(&to, &mut *self.random.lock())?;
        let token_hash = Fixed(Deposit::token_hash(shown.token.as_bytes()));
        let showing = Showing::Record { token_hash, record: Box::new(record) };
        let Some(Presented { seen: now_seen, knock }) = self.present(shown, showing, HOLD).await? else {
            return Ok(false);
        };
        *seen = now_seen;
        let Some(knocking) = knock else { return Ok(true) };
        let early = knocked.is_some_and(|at| at.elapsed() < BETWEEN_KNOCKS);
        *knocked = Some(Instant::now());
        let to = ReachFor { used: ReachUse::Knock, ..to };
        let Ok(reach) = Reach::open(&knocking.note, &to) else { return Ok(true) };
        if !early {
            let inner = Arc::clone(self);
            let id = shown.contact;
            let from = knocking.from.map(|from| from.ip());
            tokio::spawn(async move { inner.dial_back(id, &reach, from).await });
        }
        Ok(true)
    }

    /// Dials whoever has knocked. That opens the way for its own packets too, whichever of both comes through.
    async fn dial_back(self: &Arc<Self>, id: ContactId, reach: &Reach, from: Option<IpAddr>) {
        if !self.direct.links(&id).is_empty() {
            return;
        }
        // It is our own server that says from where it came.
        let all = places::allowed(reach, &self.direct.addresses);
        let places = Places { all, users: false, proven: from };
        let dialled = async {
            let whom = self.whom(id, May::BeFound).await?;
            whom.tie.clone().hold(self.dial(&whom, &places)).await
        };
        match dialled.await {
            Ok(_) => {}
            Err(e) if of_the_store(&e) => tracing::warn!("a contact that knocked is not dialled: {e}"),
            Err(e) => tracing::debug!(kind = e.kind().name(), "a contact that knocked is not dialled"),
        }
    }

    /// Asks a server to show this device so, or no longer; `None` once something else is wished. Each try takes its counter
    /// where it looks at the wish, and a server goes by the highest: what was wished last stays, in whatever order requests
    /// arrive.
    async fn present(
        self: &Arc<Self>,
        shown: &Shown,
        showing: Showing,
        wait: Duration,
    ) -> Result<Option<Presented>> {
        let (mailbox, server) = (&shown.mailbox, &shown.mailbox.server);
        let passage = Passage::straight(shown.contact);
        let meant = if showing == Showing::Nothing { Wish::Withdraw } else { Wish::Show };
        let mut tries = 0;
        loop {
            let this = shown.clone();
            let counter = self
                .write(move |txn, _| {
                    let wished = wish(txn, &this)? == meant;
                    wished.then(|| take_counter(txn, &this.mailbox.key())).transpose()
                })
                .await?;
            let Some(counter) = counter else { return Ok(None) };
            let body = Present {
                mailbox: mailbox.lkp.public(),
                counter,
                showing: showing.clone(),
                wait_secs: u16::try_from(wait.as_secs()).unwrap_or(u16::MAX),
                sig: Fixed([0; 64]),
            };
            let signed = body.signed(server.fingerprint(), &mailbox.lkp)?;
            match self.ask(&passage, server, RequestKind::Present(signed), CLASS, wait).await? {
                Answer::Presented(presented) => return Ok(Some(presented)),
                // Another request of this store was faster.
                Answer::Refused(r) if r.code == RefusalCode::StaleCounter && tries < 8 => tries += 1,
                Answer::Refused(r) => return Err(refused(server, r)),
                _ => return Err(unexpected()),
            }
        }
    }
}

fn wish(txn: &dyn StoreTxn, shown: &Shown) -> Result<Wish> {
    let record = match contact(txn, &shown.contact) {
        // Its mailboxes are closed, by the routes that its policy had.
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Wish::Leave),
        record => record?,
    };
    if !record.policy.shows_to_servers() {
        return Ok(Wish::Leave);
    }
    let lkp = shown.mailbox.lkp.public();
    let current = record.machine.current_mailboxes().any(|mailbox| mailbox.lkp.public() == lkp);
    let mine = direct_record(txn, &shown.contact)?.mine;
    Ok(match mine.filter(|_| current && May::BeFound.under(&record.policy)) {
        None => Wish::Withdraw,
        Some(mine) if mine.secret == shown.secret => Wish::Show,
        Some(_) => Wish::Leave,
    })
}
