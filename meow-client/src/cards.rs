//! Cards: making one for a new contact, taking one that somebody handed over.

use std::sync::Arc;
use std::time::Duration;

use meow_core::card::{CardFile, CardSecrets};
use meow_core::contact::{Contact, Outgoing};
use meow_core::crypto::Random;
use meow_core::identity::Root;
use meow_core::lane::ServerRef;
use meow_core::opening::MAX_GREETING;
use meow_core::policy::Policy;
use meow_core::store::{StoreTxn, Table};
use meow_core::wire::Text;
use meow_core::{Error, ErrorKind, Result};

use crate::client::{Client, Inner, blocking};
use crate::contacts::{check_name, name_is_free};
use crate::cover::plan;
use crate::mailbox::{OwnMailbox, Registering};
use crate::others::mailboxes_changed;
use crate::outbox::put_items;
use crate::policy::default_policy;
use crate::records::{ContactRecord, DEVICE, Device, load, save};
use crate::route::{Under, Ways};
use crate::servers::OwnServer;
use crate::unlock::Unlock;

/// Most servers that hold one's mailbox for a contact.
pub(crate) const MAX_OWN_SERVERS: usize = 4;

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
}

impl std::fmt::Debug for NewCard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewCard").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// What a fresh contact identity is made of.
struct Fresh {
    secrets: CardSecrets,
    recovery: meow_core::crypto::VerifyKey,
    servers: Vec<ServerRef>,
    /// The policy that new contacts get.
    policy: Policy,
}

impl Client {
    /// Makes a single-use card for a new contact, good for `valid`. Opens a mailbox for it on every server of
    /// one's own first. Needs the root.
    ///
    /// # Errors
    /// `Usage` without a server of one's own, `AlreadyUsed` for a taken name, `Limit` when a server keeps things for
    /// a shorter time than `valid`, `WrongSecret`, and what keeps the servers from opening the mailbox. No contact is
    /// made then.
    ///
    /// # Cancel safety
    /// Dropping the future makes the contact or does not; a mailbox at a server may be left over.
    pub async fn new_card(&self, name: &str, valid: Duration, unlock: &Unlock) -> Result<NewCard> {
        check_name(name)?;
        let inner = &self.inner;
        let fresh = inner.fresh_identity(name, unlock).await?;
        let expires = (inner.now_ms() / 1000).saturating_add(valid.as_secs());
        let file = {
            let mut random = inner.random.lock();
            fresh.secrets.card(&fresh.recovery, fresh.servers.clone(), expires, &mut *random)?
        };
        let kem = fresh.secrets.kem.public();
        let mailboxes = inner.open_mailboxes(&fresh, &[]).await?;
        if let Err(e) = inner.keep_for(&mailboxes, valid) {
            for mailbox in &mailboxes {
                inner.close(mailbox).await?;
            }
            return Err(e);
        }
        for mailbox in mailboxes {
            let server = mailbox.server.fingerprint();
            let (name, content) = (file.card().kem_blob_name(server), file.card().seal_kem(&kem, server)?);
            let until = apart(expires, &mut *inner.random.lock())?;
            inner.park(&mailbox, name, content, until).await?;
        }
        let card = NewCard { uri: file.to_uri()?, file: file.to_bytes()?, expires };
        let machine = Contact::issue(fresh.secrets, file.card().clone());
        inner.add_contact(name, machine, fresh.policy, file.card().hash()?).await?;
        inner.mailboxes.notify_waiters();
        Ok(card)
    }

    /// Takes a card that somebody handed over, with an optional greeting of at most 500 bytes. The answer goes
    /// out with the next [`sync`](Self::sync), or at once while [`run`](Self::run) runs. Needs the root.
    ///
    /// # Errors
    /// `Expired`, `Malformed`, `AlreadyUsed` for a card that was taken here before or a taken name, `Usage`
    /// without a server of one's own, `WrongSecret`, and for a card in URI form what keeps its server from
    /// giving the key that goes with it.
    ///
    /// # Cancel safety
    /// Dropping the future makes the contact or does not; a mailbox at a server may be left over.
    pub async fn take_card(
        &self,
        card: &CardFile,
        name: &str,
        greeting: &str,
        unlock: &Unlock,
    ) -> Result<()> {
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
        let fresh = inner.fresh_identity(name, unlock).await?;
        let theirs: Vec<_> = card.card().lane().lookup.servers().cloned().collect();
        inner.open_mailboxes(&fresh, &theirs).await?;
        let policy = fresh.policy;
        let (machine, answer) = {
            let mut random = inner.random.lock();
            let list = fresh.secrets.first_list(&fresh.recovery, fresh.servers.clone())?;
            Contact::take(fresh.secrets, list, card.card(), &kem, greeting, &mut *random)?
        };
        inner.add_contact_taken(name, machine, policy, answer, hash).await?;
        inner.mailboxes.notify_waiters();
        inner.outbox.notify_one();
        Ok(())
    }
}

impl Inner {
    /// A fresh contact identity, with the next recovery key. Checks first what can be checked.
    async fn fresh_identity(self: &Arc<Self>, name: &str, unlock: &Unlock) -> Result<Fresh> {
        let (checked, inner) = (name.to_owned(), Arc::clone(self));
        let (servers, policy) = self
            .read(move |txn| {
                name_is_free(txn, &checked)?;
                Ok((inner.usable_servers(txn)?, default_policy(txn)?))
            })
            .await?;
        if servers.is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                "a contact needs a server for its mailbox; add one with `meow server add REFERENCE`",
            ));
        }
        let servers =
            servers.iter().take(MAX_OWN_SERVERS).map(OwnServer::public).collect::<Result<Vec<_>>>()?;
        let (inner, unlock) = (Arc::clone(self), unlock.clone());
        let secrets = blocking(move || {
            let root: Root = inner.keys.root(&unlock)?;
            Ok(CardSecrets::generate(&root, &mut *inner.random.lock())?)
        })
        .await?;
        let recovery = self
            .write(|txn, _| {
                let mut device: Device = load(txn, Table::Meta, DEVICE)?.ok_or_else(|| {
                    Error::new(ErrorKind::Damaged, "the store holds no device record; restore a backup")
                })?;
                let key = *device.recovery.key(device.next_recovery).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Limit,
                        "all recovery keys of this device are used; the 24 words are needed to make more",
                    )
                })?;
                device.next_recovery += 1;
                save(txn, Table::Meta, DEVICE, &device)?;
                Ok(key)
            })
            .await?;
        Ok(Fresh { secrets, recovery, servers, policy })
    }

    /// Registers the mailbox of a fresh contact at its servers.
    async fn open_mailboxes(
        self: &Arc<Self>,
        fresh: &Fresh,
        theirs: &[ServerRef],
    ) -> Result<Vec<OwnMailbox>> {
        let mut opened = Vec::new();
        let ways =
            Ways::new(Under::NewContacts, fresh.policy.routes.clone(), theirs.iter().chain(&fresh.servers));
        for server in &fresh.servers {
            let (lkp, token) = fresh.secrets.lookup.keys(server.fingerprint());
            let wrap = fresh.secrets.lookup.wrap().clone();
            let mailbox = OwnMailbox { lkp, server: server.clone(), wrap, ways: ways.clone() };
            let what =
                Registering { mailbox: &mailbox, token: token.as_bytes(), close: &fresh.secrets.close };
            self.register(what).await?;
            opened.push(mailbox);
        }
        Ok(opened)
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

    async fn add_contact(
        self: &Arc<Self>,
        name: &str,
        machine: Contact,
        policy: Policy,
        card: [u8; 32],
    ) -> Result<()> {
        let name = name.to_owned();
        self.write(move |txn, inner| {
            txn.put(Table::Meta, &card_key(&card), MADE_HERE)?;
            insert_contact(txn, inner, name, machine, policy, None)
        })
        .await
    }

    async fn add_contact_taken(
        self: &Arc<Self>,
        name: &str,
        machine: Contact,
        policy: Policy,
        answer: Outgoing,
        card: [u8; 32],
    ) -> Result<()> {
        let name = name.to_owned();
        self.write(move |txn, inner| {
            not_taken(txn, &card)?;
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
