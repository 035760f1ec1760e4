//! Applying a batch of writes inside one transaction.

use std::collections::hash_map::Entry;

use meow_core::store::{
    BlobRecord, Charge, CloseBy, DepositOutcome, NewDeposit, PullOutcome, Quota, RegisterOutcome,
    Registration, Write, WriteOutcome,
};

use super::StoreError;
use super::log::Record;
use super::overlay::{Live, Pending};
use super::sql::Sql;
use super::tally::{Mailbox, Tally, capped, length, less, unsigned};
use super::txn::Txn;

/// A batch under way. Deposits and acknowledgements become records of the log; all else goes into the tables at once, after
/// the sums of what is pending.
pub(super) struct Batch<'a, 'b, 'w> {
    pub(super) txn: &'a mut Txn<'b, 'w>,
    pub(super) quota: &'a Quota,
}

impl<'w> Batch<'_, '_, 'w> {
    /// Applies the writes in order.
    pub(super) fn apply(&mut self, writes: &'w [Write]) -> Result<Vec<WriteOutcome>, StoreError> {
        writes.iter().map(|write| self.one(write)).collect()
    }

    fn one(&mut self, write: &'w Write) -> Result<WriteOutcome, StoreError> {
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
        let overlay = self.txn.overlay().and_then(|overlay| overlay.get(slot));
        Ok(match self.txn.staged.live.entry(slot) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let (tally, floor) = match overlay {
                    Some(live) => (live.tally, live.floor),
                    None => (Tally::find(&self.txn.sql, slot)?.ok_or(StoreError::BadRow("tally"))?, 0),
                };
                entry.insert(Live::new(tally, floor))
            }
        })
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
        self.txn.settle()?;
        // The close hash stays what it was first: a stolen Lkp must not be able to change who can close.
        self.txn.sql.run("UPDATE mailbox SET token = ?2 WHERE lkp = ?1", (r.mailbox, r.token_hash))?;
        self.store(mailbox.slot, |tally| tally.counter = r.counter)?;
        self.txn.staged.renewed.push(r.mailbox);
        Ok(RegisterOutcome::Done)
    }

    /// Changes a tally that is settled, in the tables.
    fn store(&mut self, slot: i64, change: impl FnOnce(&mut Tally)) -> Result<(), StoreError> {
        self.txn.changed = true;
        let live = self.live(slot)?;
        change(&mut live.tally);
        live.changed = true;
        let tally = live.tally;
        tally.store(&self.txn.sql, slot)
    }

    fn create(&mut self, r: &Registration) -> Result<RegisterOutcome, StoreError> {
        if let Charge::Invite(hash) = &r.charge
            && !self.charge(hash)?
        {
            return Ok(RegisterOutcome::NotInvited);
        }
        self.txn.changed = true;
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
            (hash, capped(self.txn.now)),
        )?;
        Ok(met == 1)
    }

    fn deposit(&mut self, d: &'w NewDeposit) -> Result<DepositOutcome, StoreError> {
        let Some(slot) = self.depositable(d)? else { return Ok(DepositOutcome::Denied) };
        if self.is_known(slot, &d.id)? {
            return Ok(DepositOutcome::Stored);
        }
        let len = length(&d.item);
        let (quota, total) = (*self.quota, self.txn.totals.stats.bytes.saturating_add(len));
        let record = u32::try_from(self.txn.staged.records.len()).map_err(|_| StoreError::TooLong)?;
        let short = u32::try_from(len).map_err(|_| StoreError::TooLong)?;
        let live = self.live(slot)?;
        let (items, bytes) = (live.tally.items.saturating_add(1), live.tally.bytes.saturating_add(len));
        if items > quota.mailbox_items || bytes > quota.mailbox_bytes || total > quota.total_bytes {
            return Ok(DepositOutcome::Full);
        }
        let number = live.tally.last.saturating_add(1);
        live.tally = Tally { last: number, items, bytes, ..live.tally };
        live.changed = true;
        live.pending.push_back(Pending { number, expires: d.expires, at: record, len: short, id: d.id });
        let item = Record::Item { slot, number, expires: d.expires, id: d.id, body: &d.item };
        self.txn.staged.records.push(item);
        self.txn.totals.stats.items = self.txn.totals.stats.items.saturating_add(1);
        self.txn.totals.stats.bytes = total;
        Ok(DepositOutcome::Stored)
    }

    /// The mailbox that this deposit may go into. Whoever has no right to it costs the same look into the tables, whether there
    /// is one or not.
    fn depositable(&mut self, d: &NewDeposit) -> Result<Option<i64>, StoreError> {
        let with_token = |mailbox: &Mailbox| mailbox.token == Some(d.token_hash);
        let overlay = self.txn.overlay();
        if let Some(mailbox) =
            overlay.and_then(|overlay| overlay.mailbox(&d.mailbox)).filter(|m| with_token(m))
        {
            return Ok(Some(mailbox.slot));
        }
        let found = Mailbox::find_open(&self.txn.sql, &d.mailbox)?.filter(with_token);
        let slot = found.as_ref().map(|mailbox| mailbox.slot);
        if let Some(mailbox) = found {
            self.txn.staged.mailboxes.push((d.mailbox, mailbox));
        }
        Ok(slot)
    }

    /// Whether this deposit was stored before, in this batch, since the last fold, or earlier.
    fn is_known(&self, slot: i64, id: &[u8; 16]) -> Result<bool, StoreError> {
        let staged = self.txn.staged.live.get(&slot);
        if staged.is_some_and(|live| live.pending.iter().any(|pending| pending.id == *id))
            || self.txn.overlay().is_some_and(|overlay| overlay.has_seen(slot, id))
        {
            return Ok(true);
        }
        if !self.txn.known.may_have(slot, id) {
            return Ok(false);
        }
        let query = "SELECT 1 FROM seen WHERE slot = ?1 AND id = ?2";
        Ok(self.txn.sql.one(query, (slot, id), |_| Ok(()))?.is_some())
    }

    fn acknowledge(&mut self, lkp: &[u8; 32], counter: u64, upto: u64) -> Result<PullOutcome, StoreError> {
        let found = self.txn.overlay().and_then(|overlay| overlay.mailbox(lkp)).map(|mailbox| mailbox.slot);
        let slot = match found {
            Some(slot) => Some(slot),
            None => Mailbox::find_open(&self.txn.sql, lkp)?.map(|mailbox| mailbox.slot),
        };
        let Some(slot) = slot else { return Ok(PullOutcome::Denied) };
        let Live { tally, floor, .. } = *self.live(slot)?;
        if counter <= tally.counter {
            return Ok(PullOutcome::Stale(tally.counter));
        }
        let floor = upto.min(tally.last).max(floor);
        let (items, bytes) = self.waiting(slot, floor)?;
        self.txn.totals.remove(items, bytes)?;
        let live = self.live(slot)?;
        (live.floor, live.changed) = (floor, true);
        live.tally.counter = counter;
        live.tally.items = less(tally.items, items)?;
        live.tally.bytes = less(tally.bytes, bytes)?;
        self.txn.staged.records.push(Record::Taken { slot, counter, floor, items, bytes });
        Ok(PullOutcome::Done)
    }

    /// Count and bytes of the items above what is acknowledged, up to this number.
    fn waiting(&mut self, slot: i64, upto: u64) -> Result<(u64, u64), StoreError> {
        let floor = self.live(slot)?.floor;
        if upto <= floor {
            return Ok((0, 0));
        }
        let query = "SELECT count(*), coalesce(sum(len), 0) FROM place \
                     WHERE slot = ?1 AND number > ?2 AND number <= ?3";
        let folded = self.txn.sql.one(query, (slot, capped(floor), capped(upto)), |row| {
            Ok((unsigned(row, 0)?, unsigned(row, 1)?))
        })?;
        let (items, bytes) = folded.ok_or(StoreError::BadRow("place"))?;
        let pending = self.txn.pending(slot).filter(|p| p.number > floor && p.number <= upto);
        Ok(pending.fold((items, bytes), |(items, bytes), p| (items + 1, bytes.saturating_add(p.len.into()))))
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
        self.txn.settle()?;
        let mut items: Vec<i64> = Vec::new();
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
        for table in ["place", "seen", "blob", "tally"] {
            sql.run(&format!("DELETE FROM {table} WHERE slot = ?1"), [slot])?;
        }
        // The row stays, so that its key cannot be registered again.
        sql.run("UPDATE mailbox SET token = NULL WHERE lkp = ?1", [lkp])?;
        self.txn.totals.remove(tally.items, tally.bytes)?;
        self.txn.totals.stats.mailboxes = less(self.txn.totals.stats.mailboxes, 1)?;
        self.txn.staged.live.remove(&slot);
        self.txn.staged.closed.push(slot);
        self.txn.changed = true;
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
        self.txn.settle()?;
        self.txn.sql.run(
            "INSERT INTO blob (slot, name, expires, content) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (slot, name) DO UPDATE SET expires = excluded.expires, content = excluded.content",
            (slot, b.name, capped(b.expires), &b.content),
        )?;
        self.txn.totals.stats.bytes = total;
        self.store(slot, |tally| *tally = Tally { counter: b.counter, blobs, bytes, ..*tally })?;
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
