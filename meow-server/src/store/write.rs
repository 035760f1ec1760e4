//! Applying a batch of writes inside one transaction.

use std::collections::hash_map::Entry;

use meow_core::store::{
    BlobRecord, Charge, CloseBy, DepositOutcome, NewDeposit, PullOutcome, Quota, RegisterOutcome,
    Registration, Write, WriteOutcome,
};

use super::StoreError;
use super::overlay::{Change, Live, Pending};
use super::sql::Sql;
use super::tally::{Mailbox, Tally, capped, length, less, unsigned};
use super::txn::Txn;

/// A batch under way.
pub(super) struct Batch<'a, 'b> {
    pub(super) txn: &'a mut Txn<'b>,
    pub(super) quota: &'a Quota,
    pub(super) now: u64,
}

/// The difference that a request makes to its mailbox's tally, as the file keeps it until the next fold.
#[derive(Default)]
struct Difference {
    items: i64,
    blobs: i64,
    bytes: i64,
}

impl Batch<'_, '_> {
    /// Applies the writes in order.
    pub(super) fn apply(&mut self, writes: &[Write]) -> Result<Vec<WriteOutcome>, StoreError> {
        writes.iter().map(|write| self.one(write)).collect()
    }

    fn one(&mut self, write: &Write) -> Result<WriteOutcome, StoreError> {
        Ok(match write {
            Write::Register(r) => WriteOutcome::Register(self.register(r)?),
            Write::Deposit(d) => WriteOutcome::Deposit(self.deposit(d)?),
            Write::Acknowledge { mailbox, counter, upto } => {
                WriteOutcome::Pull(self.acknowledge(mailbox, *counter, *upto)?)
            }
            Write::Close { mailbox, counter, by } => WriteOutcome::Pull(self.close(mailbox, *counter, *by)?),
            Write::Blob(blob) => self.blob(blob)?,
            _ => return Err(StoreError::UnknownWrite),
        })
    }

    /// The state of an open mailbox, as this batch left it.
    fn live(&mut self, slot: i64) -> Result<&mut Live, StoreError> {
        let change = match self.txn.staged.live.entry(slot) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let overlay = if self.txn.staged.folded { None } else { self.txn.overlay.get(slot) };
                let (tally, floor) = match overlay {
                    Some(live) => (live.tally, live.floor),
                    None => (Tally::find(&self.txn.sql, slot)?.ok_or(StoreError::BadRow("tally"))?, 0),
                };
                entry.insert(Change::Open(Live::new(tally, floor)))
            }
        };
        match change {
            Change::Open(live) => Ok(live),
            Change::Closed => Err(StoreError::BadRow("mailbox")),
        }
    }

    /// Makes a counter, and what came of its request, durable.
    fn record(&mut self, slot: i64, counter: u64, by: &Difference) -> Result<(), StoreError> {
        let live = self.live(slot)?;
        live.tally.counter = counter;
        live.touched = true;
        let floor = capped(live.floor);
        let seq = self.txn.totals.take_seq();
        self.txn.staged.weight += 1;
        self.txn.sql.run(
            "INSERT INTO change (seq, slot, counter, floor, items, blobs, bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (seq, slot, counter.cast_signed(), floor, by.items, by.blobs, by.bytes),
        )?;
        Ok(())
    }

    fn register(&mut self, r: &Registration) -> Result<RegisterOutcome, StoreError> {
        let Some(mailbox) = Mailbox::find(&self.txn.sql, &r.mailbox)? else { return self.create(r) };
        if mailbox.token.is_none() {
            return Ok(RegisterOutcome::Closed);
        }
        let seen = self.live(mailbox.slot)?.tally.counter;
        if r.counter <= seen {
            return Ok(RegisterOutcome::Stale(seen));
        }
        // The close hash stays what it was first: a stolen Lkp must not be able to change who can close.
        self.txn.sql.run("UPDATE mailbox SET token = ?2 WHERE lkp = ?1", (r.mailbox, r.token_hash))?;
        self.record(mailbox.slot, r.counter, &Difference::default())?;
        Ok(RegisterOutcome::Done)
    }

    fn create(&mut self, r: &Registration) -> Result<RegisterOutcome, StoreError> {
        if let Charge::Invite(hash) = &r.charge
            && !self.charge(hash)?
        {
            return Ok(RegisterOutcome::NotInvited);
        }
        let totals = &mut self.txn.totals;
        let slot = totals.next_slot;
        totals.next_slot = slot.saturating_add(1);
        totals.stats.mailboxes = totals.stats.mailboxes.saturating_add(1);
        self.txn.sql.run(
            "INSERT INTO mailbox (lkp, slot, token, close) VALUES (?1, ?2, ?3, ?4)",
            (r.mailbox, slot, r.token_hash, r.close_hash),
        )?;
        Tally { counter: r.counter, ..Tally::default() }.store(&self.txn.sql, slot)?;
        Ok(RegisterOutcome::Done)
    }

    /// Takes one use of an invitation, if it has one.
    fn charge(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let met = self.txn.sql.run(
            "UPDATE invite SET uses = uses - 1 WHERE hash = ?1 AND uses > 0 AND expires > ?2",
            (hash, capped(self.now)),
        )?;
        Ok(met == 1)
    }

    fn deposit(&mut self, d: &NewDeposit) -> Result<DepositOutcome, StoreError> {
        let Some(mailbox) = Mailbox::find_open(&self.txn.sql, &d.mailbox)? else {
            return Ok(DepositOutcome::Denied);
        };
        if mailbox.token != Some(d.token_hash) {
            return Ok(DepositOutcome::Denied);
        }
        let slot = mailbox.slot;
        if self.is_known(slot, &d.id)? {
            return Ok(DepositOutcome::Stored);
        }
        let len = length(&d.item);
        let (quota, total) = (*self.quota, self.txn.totals.stats.bytes.saturating_add(len));
        let seq = self.txn.totals.next_seq;
        let live = self.live(slot)?;
        let (items, bytes) = (live.tally.items.saturating_add(1), live.tally.bytes.saturating_add(len));
        if items > quota.mailbox_items || bytes > quota.mailbox_bytes || total > quota.total_bytes {
            return Ok(DepositOutcome::Full);
        }
        let number = live.tally.last.saturating_add(1);
        live.tally = Tally { last: number, items, bytes, ..live.tally };
        live.touched = true;
        live.pending.push(Pending { number, seq, len, expires: d.expires, id: d.id });
        self.txn.sql.run(
            "INSERT INTO item (seq, slot, number, id, expires, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (seq, slot, capped(number), d.id, capped(d.expires), &d.item),
        )?;
        self.txn.totals.take_seq();
        self.txn.totals.stats.items = self.txn.totals.stats.items.saturating_add(1);
        self.txn.totals.stats.bytes = total;
        self.txn.staged.weight += 1;
        Ok(DepositOutcome::Stored)
    }

    /// Whether this deposit was stored before, in this batch, since the last fold, or earlier.
    fn is_known(&self, slot: i64, id: &[u8; 16]) -> Result<bool, StoreError> {
        if let Some(Change::Open(live)) = self.txn.staged.live.get(&slot)
            && live.pending.iter().any(|pending| pending.id == *id)
        {
            return Ok(true);
        }
        if !self.txn.staged.folded && self.txn.overlay.has_seen(slot, id) {
            return Ok(true);
        }
        let query = "SELECT 1 FROM seen WHERE slot = ?1 AND id = ?2";
        Ok(self.txn.sql.one(query, (slot, id), |_| Ok(()))?.is_some())
    }

    fn acknowledge(&mut self, lkp: &[u8; 32], counter: u64, upto: u64) -> Result<PullOutcome, StoreError> {
        let Some(Mailbox { slot, .. }) = Mailbox::find_open(&self.txn.sql, lkp)? else {
            return Ok(PullOutcome::Denied);
        };
        let Live { tally, floor, .. } = *self.live(slot)?;
        if counter <= tally.counter {
            return Ok(PullOutcome::Stale(tally.counter));
        }
        let upto = upto.min(tally.last);
        let mut by = Difference::default();
        if upto > floor {
            let (items, bytes) = self.waiting(slot, floor, upto)?;
            self.txn.totals.remove(items, bytes)?;
            let live = self.live(slot)?;
            live.floor = upto;
            live.tally.items = less(tally.items, items)?;
            live.tally.bytes = less(tally.bytes, bytes)?;
            by = Difference { items: -capped(items), blobs: 0, bytes: -capped(bytes) };
        }
        self.record(slot, counter, &by)?;
        Ok(PullOutcome::Done)
    }

    /// Count and bytes of the items numbered above `floor` and up to `upto`.
    fn waiting(&self, slot: i64, floor: u64, upto: u64) -> Result<(u64, u64), StoreError> {
        let query = "SELECT count(*), coalesce(sum(len), 0) FROM place \
                     WHERE slot = ?1 AND number > ?2 AND number <= ?3";
        let folded = self.txn.sql.one(query, (slot, capped(floor), capped(upto)), |row| {
            Ok((unsigned(row, 0)?, unsigned(row, 1)?))
        })?;
        let (items, bytes) = folded.ok_or(StoreError::BadRow("place"))?;
        let pending = self.txn.pending(slot).filter(|p| p.number > floor && p.number <= upto);
        Ok(pending.fold((items, bytes), |(items, bytes), p| (items + 1, bytes.saturating_add(p.len))))
    }

    fn close(&mut self, lkp: &[u8; 32], counter: u64, by: CloseBy) -> Result<PullOutcome, StoreError> {
        let Some(mailbox) = Mailbox::find(&self.txn.sql, lkp)? else { return Ok(PullOutcome::Denied) };
        if matches!(by, CloseBy::Key(hash) if hash != mailbox.close) {
            return Ok(PullOutcome::Denied);
        }
        if mailbox.token.is_none() {
            // Closed before, and the answer may have been lost: the same again.
            return Ok(PullOutcome::Done);
        }
        let slot = mailbox.slot;
        let tally = self.live(slot)?.tally;
        if by == CloseBy::Lookup && counter <= tally.counter {
            return Ok(PullOutcome::Stale(tally.counter));
        }
        let mut items: Vec<i64> = self.txn.pending(slot).map(|pending| pending.seq).collect();
        let sql = &self.txn.sql;
        sql.each("SELECT seq FROM place WHERE slot = ?1", [slot], |row| {
            items.push(row.get(0)?);
            Ok(true)
        })?;
        for seq in items {
            let query = "DELETE FROM item WHERE seq = ?1 RETURNING expires";
            let expires: Option<i64> = sql.one(query, [seq], |row| row.get(0))?;
            sql.run("DELETE FROM due WHERE expires = ?1 AND seq = ?2", (expires, seq))?;
        }
        for table in ["place", "seen", "blob", "tally", "change"] {
            sql.run(&format!("DELETE FROM {table} WHERE slot = ?1"), [slot])?;
        }
        // The row stays, so that its key cannot be registered again.
        sql.run("UPDATE mailbox SET token = NULL WHERE lkp = ?1", [lkp])?;
        self.txn.totals.remove(tally.items, tally.bytes)?;
        self.txn.totals.stats.mailboxes = less(self.txn.totals.stats.mailboxes, 1)?;
        self.txn.staged.live.insert(slot, Change::Closed);
        Ok(PullOutcome::Done)
    }

    fn blob(&mut self, b: &BlobRecord) -> Result<WriteOutcome, StoreError> {
        let Some(Mailbox { slot, .. }) = Mailbox::find_open(&self.txn.sql, &b.mailbox)? else {
            return Ok(WriteOutcome::Deposit(DepositOutcome::Denied));
        };
        let tally = self.live(slot)?.tally;
        if b.counter <= tally.counter {
            return Ok(WriteOutcome::Pull(PullOutcome::Stale(tally.counter)));
        }
        let query = "SELECT length(content) FROM blob WHERE slot = ?1 AND name = ?2";
        let old = self.txn.sql.one(query, (slot, b.name), |row| unsigned(row, 0))?;
        let (len, freed) = (length(&b.content), old.unwrap_or(0));
        let blobs = tally.blobs.saturating_add(u64::from(old.is_none()));
        let bytes = less(tally.bytes, freed)?.saturating_add(len);
        let total = less(self.txn.totals.stats.bytes, freed)?.saturating_add(len);
        let quota = self.quota;
        if blobs > quota.mailbox_items || bytes > quota.mailbox_bytes || total > quota.total_bytes {
            return Ok(WriteOutcome::Deposit(DepositOutcome::Full));
        }
        self.txn.sql.run(
            "INSERT INTO blob (slot, name, expires, content) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (slot, name) DO UPDATE SET expires = excluded.expires, content = excluded.content",
            (slot, b.name, capped(b.expires), &b.content),
        )?;
        let live = self.live(slot)?;
        live.tally = Tally { blobs, bytes, ..live.tally };
        self.txn.totals.stats.bytes = total;
        let by = Difference {
            items: 0,
            blobs: i64::from(old.is_none()),
            bytes: capped(len).saturating_sub(capped(freed)),
        };
        self.record(slot, b.counter, &by)?;
        Ok(WriteOutcome::Deposit(DepositOutcome::Stored))
    }
}

/// Makes an invitation, or sets anew one that exists.
pub(super) fn add_invite(sql: &Sql<'_>, hash: &[u8; 32], uses: u32, expires: u64) -> Result<(), StoreError> {
    sql.run(
        "INSERT INTO invite (hash, uses, expires) VALUES (?1, ?2, ?3) \
         ON CONFLICT (hash) DO UPDATE SET uses = excluded.uses, expires = excluded.expires",
        (hash, uses, capped(expires)),
    )?;
    Ok(())
}
