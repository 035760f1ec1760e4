//! One's own mailboxes at servers: registering, counting requests, closing.

use std::sync::Arc;

use meow_core::contact::Mailbox;
use meow_core::crypto::{Secret, SigningKey, VerifyKey};
use meow_core::lane::{ServerRef, unwrap_item};
use meow_core::request::{Answer, BlobPut, Close, Deposit, RefusalCode, Refused, Register, RequestKind};
use meow_core::store::{StoreTxn, Table};
use meow_core::wire::{Blob, Fixed};
use meow_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::client::Inner;
use crate::records::{MailboxRecord, ServerRecord, load, save};
use crate::route::Ways;
use crate::server::{Room, refused};

/// A mailbox of one's own at one server.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct OwnMailbox {
    pub(crate) lkp: SigningKey,
    pub(crate) server: ServerRef,
    /// What items there are wrapped under.
    pub(crate) wrap: Secret,
    /// How the server may be reached for it.
    pub(crate) ways: Ways,
}

/// What a registration fixes.
pub(crate) struct Registering<'a> {
    pub(crate) mailbox: &'a OwnMailbox,
    pub(crate) token: &'a [u8; 16],
    pub(crate) close: &'a VerifyKey,
}

impl OwnMailbox {
    pub(crate) fn new(mailbox: &Mailbox, ways: &Ways) -> Self {
        Self {
            lkp: mailbox.lkp.clone(),
            server: mailbox.server.clone(),
            wrap: mailbox.wrap().clone(),
            ways: ways.clone(),
        }
    }

    /// An item as its sender sealed it. What is too short to be one stays as it is: no key opens it.
    pub(crate) fn unwrap(&self, item: Vec<u8>) -> Vec<u8> {
        unwrap_item(&self.wrap, self.server.fingerprint(), &self.lkp.public(), &item).unwrap_or(item)
    }

    /// Key of its record: mailbox, then server.
    pub(crate) fn key(&self) -> [u8; 64] {
        counter_key(&self.lkp.public(), self.server.fingerprint())
    }
}

/// Key of the record of a mailbox at a server.
pub(crate) fn counter_key(mailbox: &VerifyKey, server: &[u8; 32]) -> [u8; 64] {
    let mut key = [0; 64];
    key.iter_mut().zip(mailbox.as_bytes().iter().chain(server)).for_each(|(k, b)| *k = *b);
    key
}

/// Takes the next counter of a mailbox, durably once the transaction is.
pub(crate) fn take_counter(txn: &mut dyn StoreTxn, key: &[u8; 64]) -> Result<u64> {
    let mut record: MailboxRecord = load(txn, Table::Mailboxes, key)?.unwrap_or_default();
    record.counter += 1;
    save(txn, Table::Mailboxes, key, &record)?;
    Ok(record.counter)
}

impl Inner {
    async fn counter(self: &Arc<Self>, mailbox: &OwnMailbox) -> Result<u64> {
        let key = mailbox.key();
        self.write(move |txn, _| take_counter(txn, &key)).await
    }

    /// Registers a mailbox. Does nothing when the server has confirmed it before.
    ///
    /// # Errors
    /// `Refused` when the server takes no newcomers without an invitation.
    pub(crate) async fn register(self: &Arc<Self>, what: Registering<'_>) -> Result<()> {
        match self.try_register(&what).await? {
            None => Ok(()),
            Some(refusal) => Err(refused(&what.mailbox.server, refusal)),
        }
    }

    /// The same; gives what the server refused it with.
    pub(crate) async fn try_register(self: &Arc<Self>, what: &Registering<'_>) -> Result<Option<Refused>> {
        let key = what.mailbox.key();
        let known: Option<MailboxRecord> = self.read(move |txn| load(txn, Table::Mailboxes, &key)).await?;
        if known.unwrap_or_default().registered {
            return Ok(None);
        }
        match self.ask_register(what).await? {
            Answer::Done => {
                self.write(move |txn, _| {
                    let mut record: MailboxRecord = load(txn, Table::Mailboxes, &key)?.unwrap_or_default();
                    record.registered = true;
                    save(txn, Table::Mailboxes, &key, &record)
                })
                .await?;
                Ok(None)
            }
            Answer::Refused(refusal) => Ok(Some(refusal)),
            _ => Err(unexpected()),
        }
    }

    /// Asks a server to open a mailbox, or to renew its token.
    pub(crate) async fn ask_register(self: &Arc<Self>, what: &Registering<'_>) -> Result<Answer> {
        let fingerprint = *what.mailbox.server.fingerprint();
        let server: Option<ServerRecord> =
            self.read(move |txn| load(txn, Table::Servers, &fingerprint)).await?;
        let body = Register {
            mailbox: what.mailbox.lkp.public(),
            token_hash: Fixed(Deposit::token_hash(what.token)),
            close_hash: Fixed(Close::key_hash(what.close, &what.mailbox.lkp.public())),
            invite: server.and_then(|r| r.invite).unwrap_or_default(),
            counter: self.counter(what.mailbox).await?,
            sig: Fixed([0; 64]),
        };
        let signed = body.signed(&fingerprint, &what.mailbox.lkp)?;
        self.ask_any(&what.mailbox.ways, &what.mailbox.server, RequestKind::Register(signed), Room::Small)
            .await
    }

    /// Parks a blob beside a mailbox, for whoever has its token.
    pub(crate) async fn park(
        self: &Arc<Self>,
        mailbox: &OwnMailbox,
        name: [u8; 16],
        content: Vec<u8>,
        expires: u64,
    ) -> Result<()> {
        let body = BlobPut {
            mailbox: mailbox.lkp.public(),
            name: Fixed(name),
            counter: self.counter(mailbox).await?,
            expires,
            content: Blob::new(content).map_err(|_| Error::new(ErrorKind::Bug, "a key blob is too long"))?,
            sig: Fixed([0; 64]),
        };
        let signed = body.signed(mailbox.server.fingerprint(), &mailbox.lkp)?;
        match self.ask_any(&mailbox.ways, &mailbox.server, RequestKind::BlobPut(signed), Room::Small).await? {
            Answer::Done => Ok(()),
            Answer::Refused(r) => Err(refused(&mailbox.server, r)),
            _ => Err(unexpected()),
        }
    }

    /// Closes a mailbox for good. One that the server does not know (any more) counts as closed.
    pub(crate) async fn close(self: &Arc<Self>, mailbox: &OwnMailbox) -> Result<()> {
        let body = Close {
            mailbox: mailbox.lkp.public(),
            counter: self.counter(mailbox).await?,
            by: mailbox.lkp.public(),
            sig: Fixed([0; 64]),
        };
        let signed = body.signed(mailbox.server.fingerprint(), &mailbox.lkp)?;
        let answer =
            self.ask_any(&mailbox.ways, &mailbox.server, RequestKind::Close(signed), Room::Small).await?;
        let gone = match answer {
            Answer::Done => true,
            Answer::Refused(r) if r.code == RefusalCode::Denied => true,
            Answer::Refused(r) => return Err(refused(&mailbox.server, r)),
            _ => return Err(unexpected()),
        };
        let key = mailbox.key();
        self.write(move |txn, _| if gone { txn.delete(Table::Mailboxes, &key) } else { Ok(()) }).await
    }
}

/// An answer of another kind than the request calls for.
pub(crate) fn unexpected() -> Error {
    Error::new(
        ErrorKind::Malformed,
        "the server answered something else than was asked; its operator should look into it",
    )
}
