//! Applying a batch of writes inside one transaction.

use meow_core::store::{
    BlobRecord, Charge, CloseBy, DepositOutcome, NewDeposit, PullOutcome, Quota, RegisterOutcome,
    Registration, Write, WriteOutcome,
};

use super::sql::Sql;
use super::tally::{Mailbox, Totals, capped, length, less, unsigned};
use super::{StoreError, StoreOptions, expire};

/// What every write of one batch looks at.
struct Batch<'a> {
    sql: &'a Sql<'a>,
    totals: Totals,
    quota: &'a Quota,
    now: u64,
    /// From when on an acknowledged id may be forgotten.
    remember_until: u64,
    /// Ids that this batch added to those remembered.
    remembered: u64,
}

/// Applies the writes in order.
pub(super) fn apply(
    sql: &Sql<'_>,
    options: &StoreOptions,
    batch: &[Write],
    quota: &Quota,
    now: u64,
) -> Result<Vec<WriteOutcome>, StoreError> {
    let before = Totals::load(sql)?;
    let remember_until = now.saturating_add(options.remember_secs);
    let mut all = Batch { sql, totals: before, quota, now, remember_until, remembered: 0 };
    let outcomes = batch.iter().map(|write| all.one(write)).collect::<Result<Vec<_>, _>>()?;
    if all.remembered > 0 {
        expire::forget_overflow(sql, options, all.remembered)?;
    }
    if all.totals != before {
        all.totals.store(sql)?;
    }
    Ok(outcomes)
}

impl Batch<'_> {
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

    fn register(&mut self, r: &Registration) -> Result<RegisterOutcome, StoreError> {
        let Some(mut mailbox) = Mailbox::find(self.sql, &r.mailbox)? else { return self.create(r) };
        if mailbox.token.is_none() {
            return Ok(RegisterOutcome::Closed);
        }
        if r.counter <= mailbox.counter {
            return Ok(RegisterOutcome::Stale(mailbox.counter));
        }
        // The close hash stays what it was first: a stolen Lkp must not be able to change who can close.
        mailbox.counter = r.counter;
        mailbox.token = Some(r.token_hash);
        mailbox.store(self.sql, &r.mailbox)?;
        Ok(RegisterOutcome::Done)
    }

    fn create(&mut self, r: &Registration) -> Result<RegisterOutcome, StoreError> {
        if let Charge::Invite(hash) = &r.charge
            && !self.charge(hash)?
        {
            return Ok(RegisterOutcome::NotInvited);
        }
        let slot = self.totals.next_slot;
        self.totals.next_slot = slot.saturating_add(1);
        self.totals.stats.mailboxes = self.totals.stats.mailboxes.saturating_add(1);
        self.sql.run(
            "INSERT INTO mailbox (lkp, slot, token, close, counter, last, items, blobs, bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0, 0)",
            (r.mailbox, slot, r.token_hash, r.close_hash, r.counter.cast_signed()),
        )?;
        Ok(RegisterOutcome::Done)
    }

    /// Takes one use of an invitation, if it has one.
    fn charge(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let met = self.sql.run(
            "UPDATE invite SET uses = uses - 1 WHERE hash = ?1 AND uses > 0 AND expires > ?2",
            (hash, capped(self.now)),
        )?;
        Ok(met == 1)
    }

    fn deposit(&mut self, d: &NewDeposit) -> Result<DepositOutcome, StoreError> {
        let Some(mut mailbox) = Mailbox::find_open(self.sql, &d.mailbox)? else {
            return Ok(DepositOutcome::Denied);
        };
        if mailbox.token != Some(d.token_hash) {
            return Ok(DepositOutcome::Denied);
        }
        let slot = mailbox.slot;
        let size = length(&d.item);
        let (items, bytes) = (mailbox.items.saturating_add(1), mailbox.bytes.saturating_add(size));
        let total = self.totals.stats.bytes.saturating_add(size);
        let full = items > self.quota.mailbox_items
            || bytes > self.quota.mailbox_bytes
            || total > self.quota.total_bytes;
        if full {
            let seen =
                self.sql.one("SELECT 1 FROM seen WHERE slot = ?1 AND id = ?2", (slot, d.id), |_| Ok(()))?;
            return Ok(if seen.is_some() { DepositOutcome::Stored } else { DepositOutcome::Full });
        }
        if self.sql.run("INSERT OR IGNORE INTO seen (slot, id) VALUES (?1, ?2)", (slot, d.id))? == 0 {
            return Ok(DepositOutcome::Stored);
        }
        mailbox.last = mailbox.last.saturating_add(1);
        (mailbox.items, mailbox.bytes) = (items, bytes);
        self.sql.run(
            "INSERT INTO item (slot, number, id, expires, body) VALUES (?1, ?2, ?3, ?4, ?5)",
            (slot, capped(mailbox.last), d.id, capped(d.expires), &d.item),
        )?;
        mailbox.store(self.sql, &d.mailbox)?;
        self.totals.stats.items = self.totals.stats.items.saturating_add(1);
        self.totals.stats.bytes = total;
        Ok(DepositOutcome::Stored)
    }

    fn acknowledge(&mut self, lkp: &[u8; 32], counter: u64, upto: u64) -> Result<PullOutcome, StoreError> {
        let Some(mut mailbox) = Mailbox::find_open(self.sql, lkp)? else { return Ok(PullOutcome::Denied) };
        if counter <= mailbox.counter {
            return Ok(PullOutcome::Stale(mailbox.counter));
        }
        mailbox.counter = counter;
        if upto > 0 && mailbox.items > 0 {
            let (items, bytes) = self.drop_items(mailbox.slot, upto)?;
            mailbox.items = less(mailbox.items, items)?;
            mailbox.bytes = less(mailbox.bytes, bytes)?;
        }
        mailbox.store(self.sql, lkp)?;
        Ok(PullOutcome::Done)
    }

    /// Deletes a mailbox's items up to a number; their ids stay for a while. Returns count and bytes.
    fn drop_items(&mut self, slot: i64, upto: u64) -> Result<(u64, u64), StoreError> {
        let upto = capped(upto);
        let sums = self.sql.one(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM item WHERE slot = ?1 AND number <= ?2",
            (slot, upto),
            |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)),
        )?;
        let (items, bytes) = sums.ok_or(StoreError::BadRow("item"))?;
        if items > 0 {
            self.sql.run(
                "INSERT INTO forget (at, slot, id) \
                 SELECT ?3, slot, id FROM item WHERE slot = ?1 AND number <= ?2 ORDER BY number",
                (slot, upto, capped(self.remember_until)),
            )?;
            self.sql.run("DELETE FROM item WHERE slot = ?1 AND number <= ?2", (slot, upto))?;
            self.remembered = self.remembered.saturating_add(items);
            self.totals.remove(items, bytes)?;
        }
        Ok((items, bytes))
    }

    fn close(&mut self, lkp: &[u8; 32], counter: u64, by: CloseBy) -> Result<PullOutcome, StoreError> {
        let Some(mut mailbox) = Mailbox::find(self.sql, lkp)? else { return Ok(PullOutcome::Denied) };
        match by {
            CloseBy::Key(hash) if hash != mailbox.close => return Ok(PullOutcome::Denied),
            CloseBy::Lookup if mailbox.token.is_some() && counter <= mailbox.counter => {
                return Ok(PullOutcome::Stale(mailbox.counter));
            }
            CloseBy::Lookup | CloseBy::Key(_) => {}
        }
        if mailbox.token.is_none() {
            // Closed before, and the answer may have been lost: the same again.
            return Ok(PullOutcome::Done);
        }
        for sql in [
            "DELETE FROM item WHERE slot = ?1",
            "DELETE FROM blob WHERE slot = ?1",
            "DELETE FROM seen WHERE slot = ?1",
        ] {
            self.sql.run(sql, [mailbox.slot])?;
        }
        self.totals.remove(mailbox.items, mailbox.bytes)?;
        self.totals.stats.mailboxes = less(self.totals.stats.mailboxes, 1)?;
        // The row stays, so that its key cannot be registered again.
        (mailbox.token, mailbox.items, mailbox.blobs, mailbox.bytes) = (None, 0, 0, 0);
        mailbox.store(self.sql, lkp)?;
        Ok(PullOutcome::Done)
    }

    fn blob(&mut self, b: &BlobRecord) -> Result<WriteOutcome, StoreError> {
        let Some(mut mailbox) = Mailbox::find_open(self.sql, &b.mailbox)? else {
            return Ok(WriteOutcome::Deposit(DepositOutcome::Denied));
        };
        if b.counter <= mailbox.counter {
            return Ok(WriteOutcome::Pull(PullOutcome::Stale(mailbox.counter)));
        }
        let old = self.sql.one(
            "SELECT length(content) FROM blob WHERE slot = ?1 AND name = ?2",
            (mailbox.slot, b.name),
            |row| unsigned(row, 0),
        )?;
        let (size, freed) = (length(&b.content), old.unwrap_or(0));
        let blobs = mailbox.blobs.saturating_add(u64::from(old.is_none()));
        let bytes = less(mailbox.bytes, freed)?.saturating_add(size);
        let total = less(self.totals.stats.bytes, freed)?.saturating_add(size);
        if blobs > self.quota.mailbox_items
            || bytes > self.quota.mailbox_bytes
            || total > self.quota.total_bytes
        {
            return Ok(WriteOutcome::Deposit(DepositOutcome::Full));
        }
        self.sql.run(
            "INSERT INTO blob (slot, name, expires, content) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (slot, name) DO UPDATE SET expires = excluded.expires, content = excluded.content",
            (mailbox.slot, b.name, capped(b.expires), &b.content),
        )?;
        (mailbox.counter, mailbox.blobs, mailbox.bytes) = (b.counter, blobs, bytes);
        mailbox.store(self.sql, &b.mailbox)?;
        self.totals.stats.bytes = total;
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
