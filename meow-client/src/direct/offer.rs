//! What both sides say of being reached without a server.

use meow_core::contact::Status;
use meow_core::crypto::{Secret, VerifyKey};
use meow_core::direct::{DirectBinding, DirectOffer, Hello};
use meow_core::identity::ContactId;
use meow_core::message::Content;
use meow_core::store::{StoreTxn, Table};
use meow_core::transport::Endpoint;
use meow_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use std::sync::Arc;

use super::tie::May;
use crate::client::Inner;
use crate::others::mailboxes_changed;
use crate::outbox::put_items;
use crate::records::{ContactRecord, contact, decode, load, save};

/// What is known of reaching one contact directly.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DirectRecord {
    /// The contact's newest offer.
    pub(crate) theirs: Option<Secret>,
    /// The sequence of the statement that brought it.
    pub(crate) theirs_at: u64,
    /// The newest place of the contact that was seen, by its clock: an older one is not taken again.
    pub(crate) seen_ms: u64,
    /// What was offered here last.
    pub(crate) mine: Option<Mine>,
    /// Where the user says that the contact is.
    pub(crate) urls: Vec<Endpoint>,
}

/// An offer of one's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mine {
    pub(crate) secret: Secret,
    /// The newest mailbox when it was made: a later one calls for another offer.
    lkp: VerifyKey,
    own: VerifyKey,
    contact: VerifyKey,
}

/// Prefix of the notes on reaching contacts directly.
pub(crate) const DIRECT: &[u8] = b"direct:";

/// Key of a contact's [`DirectRecord`].
fn direct_key(id: &ContactId) -> Vec<u8> {
    [DIRECT, id.as_bytes()].concat()
}

pub(super) fn direct_record(txn: &dyn StoreTxn, id: &ContactId) -> Result<DirectRecord> {
    Ok(load(txn, Table::Meta, &direct_key(id))?.unwrap_or_default())
}

pub(super) fn save_direct(txn: &mut dyn StoreTxn, id: &ContactId, record: &DirectRecord) -> Result<()> {
    save(txn, Table::Meta, &direct_key(id), record)
}

/// Notes what a contact offers. The newest statement counts, in whatever order they come.
pub(crate) fn note_offer(txn: &mut dyn StoreTxn, id: &ContactId, seq: u64, offer: DirectOffer) -> Result<()> {
    let mut record = direct_record(txn, id)?;
    if seq < record.theirs_at {
        return Ok(());
    }
    (record.theirs, record.theirs_at) = (offer.secret, seq);
    save_direct(txn, id, &record)
}

/// Keys were made anew, and the statements before may be lost with the old ones: what is offered is to be offered again.
pub(crate) fn offer_again(txn: &mut dyn StoreTxn, id: &ContactId) -> Result<()> {
    let mut record = direct_record(txn, id)?;
    if record.mine.take().is_none() {
        return Ok(());
    }
    save_direct(txn, id, &record)
}

impl Inner {
    /// Says to the contact what the policy wishes it to know of being reached directly, where that has changed: an offer
    /// for each mailbox, and after a renewal of keys; or that there is none any more. Only for a store that is proven
    /// current.
    pub(crate) fn offer(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        record: &mut ContactRecord,
    ) -> Result<()> {
        if record.machine.status() != Status::Established {
            return Ok(());
        }
        let mut direct = direct_record(txn, id)?;
        let first = record.machine.current_mailboxes().next().map(|mailbox| mailbox.lkp.public());
        let (Some(lkp), Some((own, contact))) = (first, record.machine.ckps()) else { return Ok(()) };
        let mine = match (&direct.mine, May::BeFound.under(&record.policy)) {
            (Some(mine), true) if mine.lkp == lkp => return Ok(()),
            (None, false) => return Ok(()),
            (_, true) => {
                let secret = Secret::generate(&mut *self.random.lock())?;
                Some(Mine { secret, lkp, own, contact })
            }
            (Some(_), false) => None,
        };
        let offer = DirectOffer { secret: mine.as_ref().map(|mine| mine.secret.clone()) };
        let out = record.machine.send(&Content::Direct(offer), &mut *self.random.lock())?;
        direct.mine = mine;
        save_direct(txn, id, &direct)?;
        put_items(txn, self, id, [out])?;
        // Those who wait learn of it now, and once more when the store shows it.
        self.mailboxes.notify_waiters();
        mailboxes_changed(txn)
    }

    /// Says to these contacts what their policies want said. One for whom the store is not proven current hears it once it is.
    pub(super) async fn make_offers(self: &Arc<Self>, due: Vec<ContactId>) -> Result<()> {
        for id in due.into_iter().filter(|id| self.is_fresh(id)) {
            self.write(move |txn, inner| {
                let mut record = match contact(txn, &id) {
                    Ok(record) => record,
                    Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
                    Err(e) => return Err(e),
                };
                inner.offer(txn, &id, &mut record)?;
                save(txn, Table::Contacts, id.as_bytes(), &record)
            })
            .await?;
            self.outbox.notify_one();
        }
        Ok(())
    }
}

/// Who dialled, and what proves it.
pub(super) struct Dialled {
    pub(super) id: ContactId,
    mine: Mine,
}

impl Dialled {
    pub(super) fn binding(&self) -> DirectBinding<'_> {
        DirectBinding { secret: &self.mine.secret, dialler: &self.mine.contact, listener: &self.mine.own }
    }
}

/// The contact whose hello this is: one MAC for each that this device lets find it.
pub(super) fn whose(txn: &dyn StoreTxn, hello: &Hello) -> Result<Option<Dialled>> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = txn.scan(Table::Meta, DIRECT, after.as_deref(), 256, false)?;
        let Some((last, _)) = rows.last() else { return Ok(None) };
        after = Some(last.clone());
        for (key, value) in &rows {
            let record: DirectRecord = decode(Table::Meta, value)?;
            let Some(mine) = record.mine else { continue };
            let id = key.strip_prefix(DIRECT).and_then(|id| id.first_chunk::<16>()).ok_or_else(|| {
                Error::new(ErrorKind::Damaged, "the store holds a damaged note; restore a backup")
            })?;
            let dialled = Dialled { id: ContactId::from_bytes(*id), mine };
            if hello.is_of(&dialled.binding()) {
                return Ok(Some(dialled));
            }
        }
    }
}
