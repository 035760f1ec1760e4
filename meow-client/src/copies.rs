//! What servers of a contact hold for it: so many copies of each message as the policy asks for, each at another server, until
//! the contact has the message. Where a server is lost, another one takes its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meow_core::contact::{Contact, Status};
use meow_core::crypto::VerifyKey;
use meow_core::delivery::Delivery;
use meow_core::identity::ContactId;
use meow_core::lane::{Lookup, Place};
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::client::Inner;
use crate::cover::{at_moments, for_a_moment};
use crate::deposit::Sending;
use crate::event::EventKind;
use crate::flush::{STALL_QUEUED_MS, sooner};
use crate::hearing::silence;
use crate::ids::MessageId;
use crate::outbox::damaged;
use crate::records::{ContactRecord, LogEntry, contact, decode, key_number, load, ordered_key, save};
use crate::route::Ways;
use crate::run::of_the_store;

/// Kind of the finished items that are kept, among what stands in the table of items: then the sequence; 0 for an opening.
const KEPT: u8 = b'k';
/// Prefix of the marks on those of them that lack copies: contact and sequence.
pub(crate) const LACKING: &[u8] = b"lacking:";
/// Rows that are read at once.
const PAGE: usize = 64;
/// And where mostly none is dealt with.
const FEW: usize = 8;
/// A place that was not heard of for so long is asked again, in milliseconds; later less often.
const ASK_AGAIN_MS: u64 = 15 * 60 * 1000;
/// A server that does not answer is asked so often, in milliseconds.
const ASK_SILENT_MS: u64 = 60 * 1000;
/// What a server that is silent for so long holds is stored elsewhere, in milliseconds.
const DEAD_MS: u64 = 10 * 60 * 1000;
/// How long items are kept that the contact does not acknowledge, in milliseconds: servers keep them no longer.
const KEEP_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// Items in a row that no server takes before a pass ends.
const MAX_IDLE: usize = 32;

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

/// An item that lacks copies, and what is to be done for it.
struct Lacking {
    seq: u64,
    kept: Kept,
    target: Lookup,
    ways: Ways,
    copies: u8,
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

/// Whether anything is kept that no server keeps any more.
fn any_expired(txn: &dyn StoreTxn, id: &ContactId, now: u64) -> Result<bool> {
    for (_, value) in txn.scan(Table::Items, &prefix(id), None, FEW, false)? {
        let kept: Kept = decode(Table::Items, &value)?;
        if now.saturating_sub(kept.since_ms) > KEEP_MS {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Forgets what no server keeps any more.
fn forget_expired(txn: &mut dyn StoreTxn, id: &ContactId, now: u64) -> Result<()> {
    loop {
        let rows = txn.scan(Table::Items, &prefix(id), None, FEW, false)?;
        let mut old = 0;
        for (key, value) in &rows {
            let kept: Kept = decode(Table::Items, value)?;
            if now.saturating_sub(kept.since_ms) > KEEP_MS {
                forget_one(txn, id, key_number(key).ok_or_else(damaged)?)?;
                old += 1;
            }
        }
        if old < FEW {
            return Ok(());
        }
    }
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

    /// Whether a copy is lacking that a server would probably take now.
    pub(crate) fn could_copy(&self, txn: &dyn StoreTxn, record: &ContactRecord) -> Result<bool> {
        let id = record.machine.id();
        let mut after = None;
        for _ in 0..MAX_IDLE {
            let Some(lacking) = next_lacking(txn, id, after)? else { return Ok(false) };
            if self.open_place(&lacking).is_some() {
                return Ok(true);
            }
            after = Some(lacking.seq);
        }
        Ok(false)
    }

    /// A place that lacks an item, and has not failed a moment ago.
    fn open_place<'a>(&self, lacking: &'a Lacking) -> Option<&'a Place> {
        let now = self.now_ms();
        let open = |place: &&Place| {
            !lacking.kept.is_at(&place.lkp) && !self.hearing.rests(place.server.fingerprint(), now)
        };
        lacking.target.places().iter().find(open)
    }

    /// Stores one copy that is lacking, at a moment of cover traffic. Returns how many were stored.
    pub(crate) async fn copy_at_moment(self: &Arc<Self>, id: ContactId) -> Result<usize> {
        let mut after = None;
        while let Some(lacking) = self.read(move |txn| next_lacking(txn, &id, after)).await? {
            after = Some(lacking.seq);
            let Some(place) = self.open_place(&lacking) else { continue };
            let Lacking { seq, kept, target, ways, copies } = &lacking;
            let what = Sending { contact: id, ways, target, item: &kept.item };
            return match self.pass_to(&what, place).await {
                Ok(()) => self.confirmed(id, *seq, place.lkp).await.map(|()| 1),
                Err(e) if of_the_store(&e) => Err(e),
                Err(e) => self.note_lacking(id, *seq, &e, wanted(target, *copies)).await.and(Err(e)),
            };
        }
        Ok(0)
    }

    /// Stores the copies that are lacking, where they can be. Returns how many were, and why others were not. With cover
    /// traffic they leave at its moments instead.
    pub(crate) async fn top_up(self: &Arc<Self>, id: ContactId) -> Result<(usize, Option<Error>)> {
        let (mut sent, mut left, mut idle, mut after) = (0, None, 0, None);
        let waits = move |txn: &dyn StoreTxn| match contact(txn, &id) {
            Ok(record) if at_moments(&record) && next_lacking(txn, &id, None)?.is_some() => {
                Ok(Some(for_a_moment(&record)))
            }
            Ok(_) => Ok(None),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
        if let Some(waits) = self.read(waits).await? {
            return Ok((0, Some(waits)));
        }
        let mut failed = BTreeSet::new();
        while let Some(lacking) = self.read(move |txn| next_lacking(txn, &id, after)).await? {
            let Lacking { seq, mut kept, target, ways, copies } = lacking;
            after = Some(seq);
            let want = wanted(&target, copies);
            let (mut why, before) = (None, sent);
            for place in self.in_order(&target) {
                if kept.at.len() >= want {
                    break;
                }
                if kept.is_at(&place.lkp) || failed.contains(place.lkp.as_bytes()) {
                    continue;
                }
                let what = Sending { contact: id, ways: &ways, target: &target, item: &kept.item };
                match self.pass_to(&what, place).await {
                    Ok(()) => {
                        let (lkp, ms) = (place.lkp, self.now_ms());
                        kept.at.push(StoredAt { lkp, ms });
                        self.confirmed(id, seq, lkp).await?;
                        sent += 1;
                    }
                    Err(e) if of_the_store(&e) => return Err(e),
                    Err(e) => {
                        failed.insert(*place.lkp.as_bytes());
                        why = sooner(why, Some(e));
                    }
                }
            }
            if let Some(e) = why.filter(|_| kept.at.len() < want) {
                self.note_lacking(id, seq, &e, want).await?;
                left = sooner(left, Some(e));
            }
            idle = if sent == before { idle + 1 } else { 0 };
            if idle > MAX_IDLE {
                break;
            }
        }
        Ok((sent, left))
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

    /// Notes why copies of a message are lacking, and raises the alarm once they do for long.
    async fn note_lacking(self: &Arc<Self>, id: ContactId, seq: u64, why: &Error, want: usize) -> Result<()> {
        let why = why.to_string();
        self.write(move |txn, inner| {
            let Some(kept) = load::<Kept>(txn, Table::Items, &kept_key(&id, seq))? else { return Ok(()) };
            let Some(message) = kept.message else { return Ok(()) };
            let key = ordered_key(&id, message.0);
            let Some(mut log) = load::<LogEntry>(txn, Table::Log, &key)? else { return Ok(()) };
            let text = format!("stored at {} of {want} servers; {why}", kept.at.len());
            let late = !log.alarmed && inner.now_ms().saturating_sub(kept.since_ms) > STALL_QUEUED_MS;
            if log.waiting == text && !late {
                return Ok(());
            }
            log.waiting.clone_from(&text);
            log.alarmed |= late;
            save(txn, Table::Log, &key, &log)?;
            if late {
                let name = contact(txn, &id)?.name;
                inner.emit(txn, &name, EventKind::Stalled { id: message, reason: text })?;
            }
            Ok(())
        })
        .await
    }

    /// Asks the servers that hold something which its contact has not acknowledged whether they are still there, now and then,
    /// by depositing one item of it again. What one holds that is dead is stored elsewhere.
    pub(crate) async fn look_after_copies(self: &Arc<Self>) -> Result<()> {
        for id in self.read(with_kept).await? {
            let now = self.now_ms();
            if self.read(move |txn| any_expired(txn, &id, now)).await? {
                self.write(move |txn, _| forget_expired(txn, &id, now)).await?;
            }
            let Some(all) = self.read(move |txn| held(txn, &id)).await? else { continue };
            let AllHeld { target, ways, held, covered } = all;
            for (place, held) in target.places().iter().filter_map(|p| Some((p, held.get(p.lkp.as_bytes())?)))
            {
                let what = Sending { contact: id, ways: &ways, target: &target, item: &held.item };
                self.look_after(&what, place, held, covered).await?;
            }
        }
        Ok(())
    }

    /// Asks one place whether it is still there, where that is due, and gives up what it holds where it is dead. With cover
    /// traffic what leaves at its moments asks often enough.
    async fn look_after(
        self: &Arc<Self>,
        what: &Sending<'_>,
        place: &Place,
        held: &Held,
        covered: bool,
    ) -> Result<()> {
        let (id, lkp, server) = (what.contact, place.lkp, *place.server.fingerprint());
        let silence = async || self.read(move |txn| silence(txn, &server)).await;
        if !covered && held.is_due(self.now_ms(), silence().await?.is_some()) {
            match self.pass_to(what, place).await {
                Ok(()) => self.confirmed(id, held.seq, lkp).await?,
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => tracing::debug!(kind = e.kind().name(), "a server that holds mail does not answer"),
            }
        }
        if silence().await?.is_none() {
            return Ok(());
        }
        self.write(move |txn, inner| {
            if !inner.is_dead(txn, &server, DEAD_MS)? {
                return Ok(());
            }
            let record = contact(txn, &id)?;
            inner.assess_all(txn, &record, Some(&lkp))?;
            inner.outbox.notify_one();
            Ok(())
        })
        .await
    }
}

/// What a place of a contact holds.
struct Held {
    /// The smallest item there.
    seq: u64,
    item: Vec<u8>,
    /// When anything was confirmed there last, and when the newest item was stored first, in Unix milliseconds.
    heard_ms: u64,
    newest_ms: u64,
}

impl Held {
    fn is_due(&self, now: u64, silent: bool) -> bool {
        let age = now.saturating_sub(self.newest_ms);
        let every = if silent { ASK_SILENT_MS } else { ASK_AGAIN_MS.max(age / 4) };
        now.abs_diff(self.heard_ms) >= every
    }
}

/// What all places of a contact hold.
struct AllHeld {
    target: Lookup,
    ways: Ways,
    held: BTreeMap<[u8; 32], Held>,
    /// What is sent to the contact leaves at moments.
    covered: bool,
}

/// What each place of a contact holds; forgets nothing.
fn held(txn: &dyn StoreTxn, id: &ContactId) -> Result<Option<AllHeld>> {
    let record = contact(txn, id)?;
    let Some(target) = record.machine.deposit_target().cloned() else { return Ok(None) };
    let mut all = BTreeMap::<[u8; 32], Held>::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = txn.scan(Table::Items, &prefix(id), after.as_deref(), PAGE, false)?;
        let Some((last, _)) = rows.last() else { break };
        after = Some(last.clone());
        for (key, value) in &rows {
            let Kept { item, since_ms, at, .. } = decode(Table::Items, value)?;
            let seq = key_number(key).ok_or_else(damaged)?;
            for StoredAt { lkp, ms } in at {
                let here = Held { seq, item: item.clone(), heard_ms: ms, newest_ms: since_ms };
                let held = all.entry(*lkp.as_bytes()).or_insert(here);
                held.heard_ms = held.heard_ms.max(ms);
                held.newest_ms = held.newest_ms.max(since_ms);
                if item.len() < held.item.len() {
                    (held.seq, held.item) = (seq, item.clone());
                }
            }
        }
    }
    let (ways, covered) = (Ways::of(&record), at_moments(&record));
    Ok(Some(AllHeld { target, ways, held: all, covered }))
}

/// The contacts for whom something is kept.
fn with_kept(txn: &dyn StoreTxn) -> Result<Vec<ContactId>> {
    let mut found = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    while let Some((key, _)) = txn.scan(Table::Items, &[], after.as_deref(), 1, false)?.pop() {
        let id = ContactId::from_bytes(*key.first_chunk::<16>().ok_or_else(damaged)?);
        if !txn.scan(Table::Items, &prefix(&id), None, 1, false)?.is_empty() {
            found.push(id);
        }
        after = Some([id.as_bytes().as_slice(), &[0xff; 33]].concat());
    }
    Ok(found)
}

fn next_lacking(txn: &dyn StoreTxn, id: &ContactId, after: Option<u64>) -> Result<Option<Lacking>> {
    let marks = [LACKING, id.as_bytes()].concat();
    let after = after.map(|seq| lacking_key(id, seq));
    let Some((key, _)) = txn.scan(Table::Meta, &marks, after.as_deref(), 1, false)?.pop() else {
        return Ok(None);
    };
    let seq = key_number(&key).ok_or_else(damaged)?;
    let kept: Kept = load(txn, Table::Items, &kept_key(id, seq))?.ok_or_else(damaged)?;
    let record = contact(txn, id)?;
    let Some(target) = record.machine.deposit_target().cloned() else { return Ok(None) };
    let (ways, copies) = (Ways::of(&record), record.policy.copies);
    Ok(Some(Lacking { seq, kept, target, ways, copies }))
}

fn too_few(name: &str, places: usize, copies: u8) -> String {
    let servers = if places == 1 { "server" } else { "servers" };
    format!(
        "{name} keeps mail at {places} {servers} only, so there are not the {copies} copies that the policy asks for"
    )
}
