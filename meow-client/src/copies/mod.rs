//! What servers of a contact hold for it: so many copies of each message as the policy asks for, each at another server, until
//! the contact has the message. Where a server is lost, another one takes its place.

mod lost;
mod top_up;

use std::sync::Arc;

use meow_core::Result;
use meow_core::contact::{Contact, Status};
use meow_core::crypto::VerifyKey;
use meow_core::delivery::Delivery;
use meow_core::identity::ContactId;
use meow_core::lane::Lookup;
use meow_core::store::{StoreTxn, Table};
use serde::{Deserialize, Serialize};

use crate::client::Inner;
use crate::event::EventKind;
use crate::ids::MessageId;
use crate::outbox::damaged;
use crate::records::{ContactRecord, LogEntry, contact, decode, key_number, load, ordered_key, save};

/// Kind of the finished items that are kept, among what stands in the table of items: then the sequence; 0 for an opening.
const KEPT: u8 = b'k';
/// Prefix of the marks on those of them that lack copies: contact and sequence.
pub(crate) const LACKING: &[u8] = b"lacking:";
/// Rows that are read at once.
const PAGE: usize = 64;
/// And where mostly none is dealt with.
const FEW: usize = 8;

/// A finished item that servers of the contact hold, or are to hold.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The message that it carries; `None` for what the protocol sends by itself.
    message: Option<MessageId>,
    item: Vec<u8>,
    /// When the first server confirmed it, in Unix milliseconds.
    since_ms: u64,
    at: Vec<StoredAt>,
}

/// A place that has confirmed an item.
#[derive(Clone, Serialize, Deserialize)]
struct StoredAt {
    lkp: VerifyKey,
    /// When it last did, in Unix milliseconds.
    ms: u64,
}

impl Kept {
    fn is_at(&self, lkp: &VerifyKey) -> bool {
        self.at.iter().any(|at| at.lkp == *lkp)
    }
}

fn prefix(id: &ContactId) -> Vec<u8> {
    [id.as_bytes().as_slice(), &[KEPT]].concat()
}

fn kept_key(id: &ContactId, seq: u64) -> Vec<u8> {
    [prefix(id).as_slice(), &seq.to_be_bytes()].concat()
}

fn lacking_key(id: &ContactId, seq: u64) -> Vec<u8> {
    [LACKING, id.as_bytes().as_slice(), &seq.to_be_bytes()].concat()
}

/// How many copies there can be.
fn wanted(target: &Lookup, copies: u8) -> usize {
    usize::from(copies).min(target.places().len())
}

/// The contacts for whom copies are lacking.
pub(crate) fn with_lacking(txn: &dyn StoreTxn) -> Result<Vec<ContactId>> {
    let mut found = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    while let Some((key, _)) = txn.scan(Table::Meta, LACKING, after.as_deref(), 1, false)?.pop() {
        let id = key.strip_prefix(LACKING).and_then(<[u8]>::first_chunk::<16>).ok_or_else(damaged)?;
        let id = ContactId::from_bytes(*id);
        after = Some(lacking_key(&id, u64::MAX));
        found.push(id);
    }
    Ok(found)
}

/// Forgets everything that is kept for a contact: it was sealed under keys that are no more.
pub(crate) fn forget_kept(txn: &mut dyn StoreTxn, id: &ContactId) -> Result<()> {
    forget_upto(txn, id, u64::MAX)
}

fn forget_one(txn: &mut dyn StoreTxn, id: &ContactId, seq: u64) -> Result<()> {
    txn.delete(Table::Items, &kept_key(id, seq))?;
    txn.delete(Table::Meta, &lacking_key(id, seq))
}

fn forget_upto(txn: &mut dyn StoreTxn, id: &ContactId, upto: u64) -> Result<()> {
    // An opening stands first.
    let mut after = Some(kept_key(id, 0)).filter(|_| upto < u64::MAX);
    loop {
        let rows = txn.scan(Table::Items, &prefix(id), after.as_deref(), FEW, false)?;
        let seqs = rows.iter().filter_map(|(key, _)| key_number(key)).take_while(|seq| *seq <= upto);
        let seqs: Vec<_> = seqs.collect();
        for seq in &seqs {
            forget_one(txn, id, *seq)?;
        }
        if seqs.len() < FEW {
            return Ok(());
        }
        after = seqs.last().map(|seq| kept_key(id, *seq));
    }
}

/// Forgets what the contact has by now.
pub(crate) fn acknowledged(txn: &mut dyn StoreTxn, id: &ContactId, machine: &Contact) -> Result<()> {
    if machine.status() == Status::Established {
        forget_one(txn, id, 0)?;
    }
    forget_upto(txn, id, machine.acknowledged())?;
    machine.acknowledged_also().iter().try_for_each(|seq| forget_one(txn, id, *seq))
}

/// Whether the contact has an item already: it can be faster than the answer of its server.
fn has(machine: &Contact, seq: u64) -> bool {
    match seq {
        0 => machine.status() == Status::Established,
        seq => seq <= machine.acknowledged() || machine.acknowledged_also().contains(&seq),
    }
}

impl Inner {
    /// Keeps an item that a place has confirmed, until the contact has it.
    pub(crate) fn keep(
        &self,
        txn: &mut dyn StoreTxn,
        id: &ContactId,
        (seq, message): (u64, Option<MessageId>),
        item: Vec<u8>,
        lkp: VerifyKey,
    ) -> Result<()> {
        let record = contact(txn, id)?;
        let now = self.now_ms();
        if has(&record.machine, seq) {
            return Ok(());
        }
        let mut kept = Kept { message, item, since_ms: now, at: vec![StoredAt { lkp, ms: now }] };
        self.assess(txn, &record, seq, &mut kept)
    }

    /// Sees at how many of the contact's places an item is, says so, and marks what is lacking.
    fn assess(
        &self,
        txn: &mut dyn StoreTxn,
        record: &ContactRecord,
        seq: u64,
        kept: &mut Kept,
    ) -> Result<()> {
        let id = *record.machine.id();
        let Some(target) = record.machine.deposit_target() else { return Ok(()) };
        let places = target.places();
        kept.at.retain(|at| places.iter().any(|place| place.lkp == at.lkp));
        save(txn, Table::Items, &kept_key(&id, seq), kept)?;
        let copies = record.policy.copies;
        match kept.at.len() < wanted(target, copies) {
            true => txn.put(Table::Meta, &lacking_key(&id, seq), &[])?,
            false => txn.delete(Table::Meta, &lacking_key(&id, seq))?,
        }
        let Some(message) = kept.message else { return Ok(()) };
        let key = ordered_key(&id, message.0);
        let Some(mut log) = load::<LogEntry>(txn, Table::Log, &key)? else { return Ok(()) };
        let changed = log.delivery.stored_at(u8::try_from(kept.at.len()).unwrap_or(u8::MAX));
        let few = places.len() < usize::from(copies) && kept.at.len() == places.len();
        log.waiting = if few && log.delivery < Delivery::Decrypted {
            too_few(&record.name, places.len(), copies)
        } else {
            String::new()
        };
        save(txn, Table::Log, &key, &log)?;
        if changed {
            self.emit(txn, &record.name, EventKind::Delivery { id: message, delivery: log.delivery })?;
        }
        Ok(())
    }

    /// Notes that a place holds an item.
    async fn confirmed(self: &Arc<Self>, id: ContactId, seq: u64, lkp: VerifyKey) -> Result<()> {
        self.write(move |txn, inner| {
            // The contact may have it by now.
            let Some(mut kept) = load::<Kept>(txn, Table::Items, &kept_key(&id, seq))? else { return Ok(()) };
            kept.at.retain(|at| at.lkp != lkp);
            kept.at.push(StoredAt { lkp, ms: inner.now_ms() });
            let record = contact(txn, &id)?;
            inner.assess(txn, &record, seq, &mut kept)
        })
        .await
    }

    /// After the contact's places or the policy have changed: sees what is lacking now. A place of `without` counts no more.
    pub(crate) fn assess_all(
        &self,
        txn: &mut dyn StoreTxn,
        record: &ContactRecord,
        without: Option<&VerifyKey>,
    ) -> Result<()> {
        let id = *record.machine.id();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = txn.scan(Table::Items, &prefix(&id), after.as_deref(), PAGE, false)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in &rows {
                let mut kept: Kept = decode(Table::Items, value)?;
                kept.at.retain(|at| without != Some(&at.lkp));
                self.assess(txn, record, key_number(key).ok_or_else(damaged)?, &mut kept)?;
            }
        }
    }
}

fn too_few(name: &str, places: usize, copies: u8) -> String {
    let servers = if places == 1 { "server" } else { "servers" };
    format!(
        "{name} keeps mail at {places} {servers} only, so there are not the {copies} copies that the policy asks for"
    )
}
