//! Cards: making one for a new contact, taking one that somebody handed over.

use std::sync::Arc;
use std::time::Duration;

use meow_core::card::{Card, CardFile};
use meow_core::contact::{Contact, Outgoing};
use meow_core::crypto::Random;
use meow_core::lane::ServerRef;
use meow_core::opening::MAX_GREETING;
use meow_core::policy::Policy;
use meow_core::store::{StoreTxn, Table};
use meow_core::wire::Text;
use meow_core::{Error, ErrorKind, Result};

use crate::client::{Client, Inner};
use crate::contacts::{check_name, name_is_free};
use crate::cover::plan;
use crate::fresh::{Fresh, LeftOut};
use crate::hearing::is_away;
use crate::mailbox::OwnMailbox;
use crate::others::mailboxes_changed;
use crate::outbox::put_items;
use crate::records::{ContactRecord, save};
use crate::removal::note_left_over;
use crate::unlock::Unlock;

/// In seconds.
const DAY: u64 = 24 * 60 * 60;

/// A card to hand over.
#[derive(Clone)]
#[non_exhaustive]
pub struct NewCard {
    /// The URI form, for QR codes and paste.
    pub uri: String,
    /// The file form: what a file holds.
    pub file: Vec<u8>,
    /// Last moment to take it, in Unix seconds.
    pub expires: u64,
    /// Servers of one's own that did not answer: the card does not name them.
    pub left_out: Vec<LeftOut>,
}

impl std::fmt::Debug for NewCard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewCard")
            .field("expires", &self.expires)
            .field("left_out", &self.left_out)
            .finish_non_exhaustive()
    }
}

/// What came of taking a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenCard {
    /// Servers of one's own that did not answer: the new contact has no mailbox there.
    pub left_out: Vec<LeftOut>,
}

impl Client {
    /// Makes a single-use card for a new contact, good for `valid`. Opens a mailbox for it first, on every server of
    /// one's own that answers, at most four; who does not is in [`left_out`](NewCard::left_out), and
    /// [`rotate_mailbox`](Self::rotate_mailbox) adds it later. Needs the root.
    ///
    /// # Errors
    /// `Usage` without a server of one's own, `AlreadyUsed` for a taken name, `Limit` when a server keeps things for
    /// a shorter time than `valid`, `WrongSecret`; `Unreachable` or `WrongPeer` where no server answers, or fewer than the
    /// policy for new contacts asks for copies; and for what else a server refuses the mailbox. No contact is made then, and
    /// what was opened for it is closed again, now or by [`sync`](Self::sync) and [`run`](Self::run).
    ///
    /// # Cancel safety
    /// Dropping the future makes the contact or does not; a mailbox at a server may be left over.
    pub async fn new_card(&self, name: &str, valid: Duration, unlock: &Unlock) -> Result<NewCard> {
        check_name(name)?;
        let inner = &self.inner;
        let mut fresh = inner.fresh_identity(name, unlock).await?;
        let made = async {
            inner.open_mailboxes(&mut fresh, &[]).await?;
            let file = inner.sign_and_park(&mut fresh, valid).await?;
            let card = file.card().clone();
            let made = NewCard {
                uri: file.to_uri()?,
                file: file.to_bytes()?,
                expires: card.expires(),
                left_out: fresh.left_out(),
            };
            inner.add_contact(name, &fresh, card).await?;
            Ok(made)
        }
        .await;
        if made.is_err() {
            inner.discard(fresh).await?;
        }
        inner.mailboxes.notify_waiters();
        made
    }

    /// Takes a card that somebody handed over, with an optional greeting of at most 500 bytes. The answer goes
    /// out with the next [`sync`](Self::sync), or at once while [`run`](Self::run) runs. Of the servers of the card one that
    /// answers is enough; of one's own as for [`new_card`](Self::new_card). Needs the root.
    ///
    /// # Errors
    /// `Expired`, `Malformed`, `AlreadyUsed` for a card that was taken here before or a taken name, `Usage`
    /// without a server of one's own, `WrongSecret`, for a card in URI form what keeps its servers from
    /// giving the key that goes with it; and those of [`new_card`](Self::new_card) that servers of one's own bring.
    ///
    /// # Cancel safety
    /// Dropping the future makes the contact or does not; a mailbox at a server may be left over.
    pub async fn take_card(
        &self,
        card: &CardFile,
        name: &str,
        greeting: &str,
        unlock: &Unlock,
    ) -> Result<TakenCard> {
        check_name(name)?;
        let greeting = Text::new(greeting).map_err(|_| {
            Error::new(
                ErrorKind::Limit,
                format!("a greeting has at most {MAX_GREETING} bytes; send the rest once you are connected"),
            )
        })?;
        let inner = &self.inner;
        card.card().check_time(inner.now_ms() / 1000)?;
        let hash = card.card().hash()?;
        inner.read(move |txn| not_taken(txn, &hash)).await?;
        let kem = match card.kem() {
            Some(kem) => {
                inner.check_unused(card).await?;
                kem.clone()
            }
            None => inner.fetch_kem(card).await?,
        };
        let mut fresh = inner.fresh_identity(name, unlock).await?;
        let theirs: Vec<_> = card.card().lane().lookup.servers().cloned().collect();
        let taken = async {
            inner.open_mailboxes(&mut fresh, &theirs).await?;
            let recovery = inner.next_recovery().await?;
            let (machine, answer) = {
                let mut random = inner.random.lock();
                let list = fresh.secrets.first_list(&recovery, fresh.places())?;
                Contact::take(fresh.secrets.clone(), list, card.card(), &kem, greeting, &mut *random)?
            };
            inner.add_contact_taken(name, &fresh, machine, answer, hash).await
        }
        .await;
        if let Err(e) = taken {
            inner.discard(fresh).await?;
            return Err(e);
        }
        inner.mailboxes.notify_waiters();
        inner.outbox.notify_one();
        Ok(TakenCard { left_out: fresh.left_out() })
    }
}

impl Inner {
    /// Signs a card that names the open mailboxes, and parks its KEM key beside each of them. A server that does not answer
    /// any more is left out of another card: what was parked for the one before opens for nobody, and expires.
    async fn sign_and_park(self: &Arc<Self>, fresh: &mut Fresh, valid: Duration) -> Result<CardFile> {
        self.keep_for(&fresh.open, valid)?;
        let expires = (self.now_ms() / 1000).saturating_add(valid.as_secs());
        let recovery = self.next_recovery().await?;
        loop {
            let file = {
                let mut random = self.random.lock();
                fresh.secrets.card(&recovery, fresh.places(), expires, &mut *random)?
            };
            let Some((server, e)) = self.park_key(fresh, &file).await? else { return Ok(file) };
            fresh.leave_out(&server, e)?;
        }
    }

    /// Parks the KEM key of a card at all of its servers. Gives the first that does not answer, and why.
    async fn park_key(
        self: &Arc<Self>,
        fresh: &Fresh,
        file: &CardFile,
    ) -> Result<Option<(ServerRef, Error)>> {
        let (card, kem) = (file.card(), fresh.secrets.kem.public());
        for mailbox in &fresh.open {
            let server = mailbox.server.fingerprint();
            let (name, content) = (card.kem_blob_name(server), card.seal_kem(&kem, server)?);
            let until = apart(card.expires(), &mut *self.random.lock())?;
            match self.park(mailbox, name, content, until).await {
                Err(e) if is_away(&e) => return Ok(Some((mailbox.server.clone(), e))),
                parked => parked?,
            }
        }
        Ok(None)
    }

    /// Whether the servers, which have answered just now, keep a card's key as long as the card is good.
    fn keep_for(&self, mailboxes: &[OwnMailbox], valid: Duration) -> Result<()> {
        for OwnMailbox { server, .. } in mailboxes {
            let Some(descriptor) = self.described(server.fingerprint()) else { continue };
            let most = u64::from(descriptor.limits.keep_secs);
            if valid.as_secs() > most {
                let (host, time) = (server.urls().next().unwrap_or("a server of yours"), period(most));
                return Err(Error::new(
                    ErrorKind::Limit,
                    format!(
                        "{host} keeps the key of a card for {time} at most; make one for a shorter time (`meow card new --days N`)"
                    ),
                ));
            }
        }
        Ok(())
    }

    async fn add_contact(self: &Arc<Self>, name: &str, fresh: &Fresh, card: Card) -> Result<()> {
        let (name, unused, hash) = (name.to_owned(), fresh.unused(), card.hash()?);
        let (machine, policy) = (Contact::issue(fresh.secrets.clone(), card), fresh.policy.clone());
        self.write(move |txn, inner| {
            note_left_over(txn, &unused)?;
            txn.put(Table::Meta, &card_key(&hash), MADE_HERE)?;
            insert_contact(txn, inner, name, machine, policy, None)
        })
        .await
    }

    async fn add_contact_taken(
        self: &Arc<Self>,
        name: &str,
        fresh: &Fresh,
        machine: Contact,
        answer: Outgoing,
        card: [u8; 32],
    ) -> Result<()> {
        let (name, unused, policy) = (name.to_owned(), fresh.unused(), fresh.policy.clone());
        self.write(move |txn, inner| {
            not_taken(txn, &card)?;
            note_left_over(txn, &unused)?;
            txn.put(Table::Meta, &card_key(&card), &[])?;
            insert_contact(txn, inner, name, machine, policy, Some(answer))
        })
        .await
    }
}

/// Until when a server may keep the key of a card: within a day after the card is over. The same second at two servers would
/// be something that they have in common.
pub(crate) fn apart(expires: u64, random: &mut dyn Random) -> Result<u64> {
    let mut bytes = [0; 8];
    random.fill(&mut bytes)?;
    Ok(expires.saturating_add(u64::from_be_bytes(bytes) % DAY))
}

/// A time in the largest unit that divides it well enough for a sentence.
fn period(secs: u64) -> String {
    match secs {
        172_800.. => format!("{} days", secs / 86_400),
        7_200.. => format!("{} hours", secs / 3_600),
        _ => format!("{secs} seconds"),
    }
}

fn insert_contact(
    txn: &mut dyn StoreTxn,
    inner: &Inner,
    name: String,
    mut machine: Contact,
    policy: Policy,
    item: Option<Outgoing>,
) -> Result<()> {
    name_is_free(txn, &name)?;
    let id = *machine.id();
    mailboxes_changed(txn)?;
    txn.put(Table::Names, name.as_bytes(), id.as_bytes())?;
    put_items(txn, inner, &id, item)?;
    machine.set_padding(policy.least_size());
    plan(txn, inner, &id, &policy)?;
    let record = ContactRecord { name, created_ms: inner.now_ms(), policy, machine, renewed_ms: 0 };
    save(txn, Table::Contacts, id.as_bytes(), &record)
}

/// Key of the note that a card was taken here, or made here.
fn card_key(card: &[u8; 32]) -> Vec<u8> {
    [b"card:", card.as_slice()].concat()
}

/// Value of the note on a card that was made here.
const MADE_HERE: &[u8] = b"own";

fn not_taken(txn: &dyn StoreTxn, card: &[u8; 32]) -> Result<()> {
    match txn.get(Table::Meta, &card_key(card))? {
        None => Ok(()),
        Some(note) if note == MADE_HERE => Err(Error::new(
            ErrorKind::Usage,
            "this is a card of your own: hand it to the one whom it is for, and take theirs if they have made one",
        )),
        Some(_) => Err(Error::new(
            ErrorKind::AlreadyUsed,
            "this card was taken here before; a card makes one contact: ask for a new one",
        )),
    }
}
