//! A fresh contact identity, and mailboxes for it at those servers of one's own that answer.

use std::sync::Arc;

use meow_core::card::CardSecrets;
use meow_core::crypto::VerifyKey;
use meow_core::identity::Root;
use meow_core::lane::ServerRef;
use meow_core::policy::Policy;
use meow_core::store::Table;
use meow_core::{Error, ErrorKind, Result, Retry};

use crate::client::{Inner, blocking};
use crate::contacts::name_is_free;
use crate::hearing::is_away;
use crate::mailbox::{OwnMailbox, Registering};
use crate::policy::default_policy;
use crate::records::{DEVICE, Device, load, save};
use crate::removal::note_left_over;
use crate::route::{Under, Ways};
use crate::run::of_the_store;
use crate::servers::{OwnServer, staying_servers};
use crate::unlock::Unlock;

/// Most servers that hold one's mailbox for a contact.
const MAX_OWN_SERVERS: usize = 4;

/// A server of one's own at which a contact has no mailbox, since it does not answer. For a new contact
/// [`rotate_mailbox`](crate::Client::rotate_mailbox) adds it later, once the contact is established.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// Its URL, without credentials.
    pub server: String,
    /// What keeps it from answering, and what to do.
    pub why: String,
}

impl LeftOut {
    pub(crate) fn new(server: &ServerRef, why: &str) -> Self {
        let server = url(server);
        // Most reasons begin with the URL, which stands beside them here.
        let why = why.strip_prefix(&server).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(why);
        Self { why: why.to_owned(), server }
    }
}

/// What a fresh contact identity is made of.
pub(crate) struct Fresh {
    pub(crate) secrets: CardSecrets,
    /// The policy that new contacts get.
    pub(crate) policy: Policy,
    /// Where mailboxes are to be made, the preferred server first.
    servers: Vec<ServerRef>,
    /// Those of the list that have been silent for long: asked only where the others are too few.
    silent: Vec<ServerRef>,
    /// Mailboxes that may be open: the answer of a server may be what got lost.
    asked: Vec<OwnMailbox>,
    /// Mailboxes that are open.
    pub(crate) open: Vec<OwnMailbox>,
    /// Servers that were asked and do not answer.
    away: Vec<(ServerRef, Error)>,
}

impl Fresh {
    /// The servers that have a mailbox for the contact.
    pub(crate) fn places(&self) -> Vec<ServerRef> {
        self.open.iter().map(|mailbox| mailbox.server.clone()).collect()
    }

    /// Leaves a server out that does not answer any more.
    ///
    /// # Errors
    /// As [`enough`](Self::enough).
    pub(crate) fn leave_out(&mut self, server: &ServerRef, why: Error) -> Result<()> {
        self.open.retain(|mailbox| mailbox.server.fingerprint() != server.fingerprint());
        self.away.push((server.clone(), why));
        self.enough()
    }

    /// Who is left out, and why.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        let away = self.away.iter().map(|(server, e)| LeftOut::new(server, &e.to_string()));
        let silent = self.silent.iter().map(|server| {
            LeftOut::new(server, "has not answered for long (`meow server list`), so it was not asked")
        });
        // Where others have taken its place it is not missed.
        away.chain(silent).take(MAX_OWN_SERVERS.saturating_sub(self.open.len())).collect()
    }

    /// The mailboxes that may be open and have no use.
    pub(crate) fn unused(&self) -> Vec<OwnMailbox> {
        let used = |mailbox: &OwnMailbox| self.open.iter().any(|open| open.key() == mailbox.key());
        self.asked.iter().filter(|mailbox| !used(mailbox)).cloned().collect()
    }

    /// How many servers are wanted at least: as many as the policy asks for copies, where there are so many.
    fn least(&self) -> usize {
        usize::from(self.policy.copies).min(self.all()).max(1)
    }

    fn all(&self) -> usize {
        (self.servers.len() + self.silent.len()).min(MAX_OWN_SERVERS)
    }

    /// Whether mailboxes are open at enough servers.
    ///
    /// # Errors
    /// `Unreachable`, or `WrongPeer` where others answer in the place of all that are missing.
    fn enough(&self) -> Result<()> {
        let (open, all) = (self.open.len(), self.all());
        if open >= self.least() {
            return Ok(());
        }
        let wrong = !self.away.is_empty() && self.away.iter().all(|(_, e)| e.kind() == ErrorKind::WrongPeer);
        let kind = if wrong { ErrorKind::WrongPeer } else { ErrorKind::Unreachable };
        let retry = if wrong { Retry::Never } else { Retry::After(60) };
        let left_out = self.left_out();
        let (word, mut remedy) = match (open, all) {
            (_, 1) => ("your server does not answer".to_owned(), String::new()),
            (0, _) => ("none of your servers answers".to_owned(), String::new()),
            _ => {
                let word = format!(
                    "{open} of your {all} servers {}, and the policy for new contacts asks for {} copies",
                    if open == 1 { "answers" } else { "answer" },
                    self.policy.copies
                );
                let fewer = format!("ask for {open} by `meow policy --new-contacts --set copies={open}`, ");
                (word, fewer)
            }
        };
        remedy.push_str("or take what is gone for good off the list (`meow server remove`)");
        let each = left_out.iter().map(|one| format!("{} ({})", one.server, one.why));
        let each = each.collect::<Vec<_>>().join(", ");
        let text = format!("{word}: {each}; try later, see `meow doctor`, {remedy}");
        Err(Error::new(kind, text).with_retry(retry))
    }
}

fn url(server: &ServerRef) -> String {
    server.urls().next().unwrap_or("a server without a URL").to_owned()
}

impl Inner {
    /// A fresh contact identity. Checks first what can be checked.
    pub(crate) async fn fresh_identity(self: &Arc<Self>, name: &str, unlock: &Unlock) -> Result<Fresh> {
        let (checked, inner) = (name.to_owned(), Arc::clone(self));
        let (usable, all, policy) = self
            .read(move |txn| {
                name_is_free(txn, &checked)?;
                Ok((inner.usable_servers(txn)?, staying_servers(txn)?, default_policy(txn)?))
            })
            .await?;
        if usable.is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                "a contact needs a server for its mailbox; add one with `meow server add REFERENCE`",
            ));
        }
        let silent = all.iter().filter(|server| {
            usable.iter().all(|usable| usable.reference.fingerprint != server.reference.fingerprint)
        });
        let silent = silent.map(OwnServer::public).collect::<Result<Vec<_>>>()?;
        let servers =
            usable.iter().take(MAX_OWN_SERVERS).map(OwnServer::public).collect::<Result<Vec<_>>>()?;
        let (inner, unlock) = (Arc::clone(self), unlock.clone());
        let secrets = blocking(move || {
            let root: Root = inner.keys.root(&unlock)?;
            Ok(CardSecrets::generate(&root, &mut *inner.random.lock())?)
        })
        .await?;
        let (asked, open, away) = Default::default();
        Ok(Fresh { secrets, policy, servers, silent, asked, open, away })
    }

    /// The next recovery key of this device, for one contact.
    ///
    /// # Errors
    /// `Limit` when all are used.
    pub(crate) async fn next_recovery(self: &Arc<Self>) -> Result<VerifyKey> {
        self.write(|txn, _| {
            let mut device: Device = load(txn, Table::Meta, DEVICE)?.ok_or_else(|| {
                Error::new(ErrorKind::Damaged, "the store holds no device record; restore a backup")
            })?;
            let damaged = "the store holds a damaged recovery key; restore a backup";
            let found = device.recovery.key(device.next_recovery);
            let found = found.map_err(|e| Error::new(ErrorKind::Damaged, damaged).with_source(e))?;
            let key = found.ok_or_else(|| {
                Error::new(
                    ErrorKind::Limit,
                    "all recovery keys of this device are used; the 24 words are needed to make more",
                )
            })?;
            device.next_recovery += 1;
            save(txn, Table::Meta, DEVICE, &device)?;
            Ok(key)
        })
        .await
    }

    /// Registers the mailboxes of a fresh contact at the servers that answer. Those that do not are left out: no other one
    /// takes their place, and none of them is the first of a chain that leads to the rest. `theirs` are the servers of the
    /// other side.
    ///
    /// # Errors
    /// What a server says that does answer; `Unreachable` or `WrongPeer` where too few do.
    pub(crate) async fn open_mailboxes(
        self: &Arc<Self>,
        fresh: &mut Fresh,
        theirs: &[ServerRef],
    ) -> Result<()> {
        let own = fresh.servers.iter().chain(&fresh.silent);
        let ways = Ways::new(Under::NewContacts, fresh.policy.routes.clone(), theirs.iter().chain(own));
        for server in fresh.servers.clone() {
            self.open_at(fresh, server, &ways).await?;
        }
        while fresh.open.len() < fresh.least() && !fresh.silent.is_empty() {
            let server = fresh.silent.remove(0);
            self.open_at(fresh, server, &ways).await?;
        }
        fresh.enough()
    }

    async fn open_at(self: &Arc<Self>, fresh: &mut Fresh, server: ServerRef, ways: &Ways) -> Result<()> {
        let (lkp, token) = fresh.secrets.lookup.keys(server.fingerprint());
        let wrap = fresh.secrets.lookup.wrap().clone();
        let mailbox = OwnMailbox { lkp, server: server.clone(), wrap, ways: ways.clone() };
        fresh.asked.push(mailbox.clone());
        let what = Registering { mailbox: &mailbox, token: token.as_bytes(), close: &fresh.secrets.close };
        match self.register(what).await {
            Ok(()) => {
                self.heard(*server.fingerprint()).await?;
                fresh.open.push(mailbox);
            }
            Err(e) if is_away(&e) => fresh.away.push((server, e)),
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Closes all mailboxes of a contact that was not made after all: where the server answers now, otherwise as soon as
    /// it does.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn discard(self: &Arc<Self>, mut fresh: Fresh) -> Result<()> {
        let open = std::mem::take(&mut fresh.open);
        let unused = fresh.unused();
        self.write(move |txn, _| note_left_over(txn, &unused)).await?;
        for mailbox in &open {
            match self.close_noted(mailbox).await {
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => {
                    tracing::debug!(kind = e.kind().name(), "a mailbox that has no use stays open for now")
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }
}
