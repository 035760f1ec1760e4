use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex};

use meow_core::store::{
    BlobRecord, Charge, CloseBy, DepositOutcome, MailboxStore, NewDeposit, Page, PullOutcome, Quota,
    RegisterOutcome, Registration, StoreStats, StoredItem, Write, WriteOutcome,
};
use meow_core::{Error, ErrorKind, Result};

/// A store that forgets, whose commits can be made to fail or to wait.
#[derive(Default)]
pub struct MemStore {
    inner: Mutex<Inner>,
    pub disk_full: AtomicBool,
    gate: Mutex<bool>,
    opened: Condvar,
    pub commits: AtomicUsize,
    pub writes: AtomicUsize,
    pub reads: AtomicUsize,
}

#[derive(Clone, Default)]
struct Inner {
    boxes: HashMap<[u8; 32], Mailbox>,
    closed: HashSet<[u8; 32]>,
    invites: HashMap<[u8; 32], (u32, u64)>,
}

#[derive(Clone, Default)]
struct Mailbox {
    token_hash: [u8; 32],
    close_hash: [u8; 32],
    counters: HashMap<CloseKey, u64>,
    ids: HashSet<[u8; 16]>,
    items: BTreeMap<u64, (u64, Vec<u8>)>,
    last: u64,
    blobs: HashMap<[u8; 16], (u64, Vec<u8>)>,
}

type CloseKey = Option<[u8; 32]>;

impl MemStore {
    /// Lets commits wait until the gate is opened again.
    pub fn shut(&self, shut: bool) {
        *self.gate.lock().unwrap() = shut;
        self.opened.notify_all();
    }

    pub fn operations(&self) -> usize {
        self.commits.load(SeqCst) + self.writes.load(SeqCst) + self.reads.load(SeqCst)
    }
}

impl Inner {
    fn take(
        &mut self,
        mailbox: &[u8; 32],
        signer: CloseKey,
        counter: u64,
    ) -> Result<&mut Mailbox, PullOutcome> {
        let found = self.boxes.get_mut(mailbox).ok_or(PullOutcome::Denied)?;
        let seen = found.counters.entry(signer).or_default();
        if counter <= *seen {
            return Err(PullOutcome::Stale(*seen));
        }
        *seen = counter;
        Ok(found)
    }

    fn register(&mut self, r: &Registration, now: u64) -> RegisterOutcome {
        if self.closed.contains(&r.mailbox) {
            return RegisterOutcome::Closed;
        }
        if !self.boxes.contains_key(&r.mailbox) {
            if let Charge::Invite(hash) = r.charge {
                match self.invites.get_mut(&hash) {
                    Some((uses, expires)) if *uses > 0 && *expires > now => *uses -= 1,
                    _ => return RegisterOutcome::NotInvited,
                }
            }
            self.boxes.insert(r.mailbox, Mailbox::default());
        }
        match self.take(&r.mailbox, None, r.counter) {
            Ok(found) => {
                (found.token_hash, found.close_hash) = (r.token_hash, r.close_hash);
                RegisterOutcome::Done
            }
            Err(PullOutcome::Stale(seen)) => RegisterOutcome::Stale(seen),
            Err(_) => RegisterOutcome::NotInvited,
        }
    }

    fn deposit(&mut self, d: &NewDeposit, quota: &Quota) -> DepositOutcome {
        let total: usize =
            self.boxes.values().flat_map(|b| b.items.values()).map(|(_, item)| item.len()).sum();
        let Some(found) = self.boxes.get_mut(&d.mailbox).filter(|found| found.token_hash == d.token_hash)
        else {
            return DepositOutcome::Denied;
        };
        if found.ids.contains(&d.id) {
            return DepositOutcome::Stored;
        }
        let bytes: usize = found.items.values().map(|(_, item)| item.len()).sum();
        let (bytes, total) = ((bytes + d.item.len()) as u64, (total + d.item.len()) as u64);
        if found.items.len() as u64 >= quota.mailbox_items
            || bytes > quota.mailbox_bytes
            || total > quota.total_bytes
        {
            return DepositOutcome::Full;
        }
        found.ids.insert(d.id);
        found.last += 1;
        found.items.insert(found.last, (d.expires, d.item.clone()));
        DepositOutcome::Stored
    }

    fn apply(&mut self, write: &Write, quota: &Quota, now: u64) -> WriteOutcome {
        match write {
            Write::Register(r) => WriteOutcome::Register(self.register(r, now)),
            Write::Deposit(d) => WriteOutcome::Deposit(self.deposit(d, quota)),
            Write::Acknowledge { mailbox, counter, upto } => {
                WriteOutcome::Pull(match self.take(mailbox, None, *counter) {
                    Ok(found) => {
                        found.items.retain(|number, _| number > upto);
                        PullOutcome::Done
                    }
                    Err(e) => e,
                })
            }
            Write::Close { mailbox, counter, by } => {
                let signer = match by {
                    CloseBy::Lookup => None,
                    CloseBy::Key(hash) => {
                        if self.boxes.get(mailbox).is_none_or(|found| found.close_hash != *hash) {
                            return WriteOutcome::Pull(PullOutcome::Denied);
                        }
                        Some(*hash)
                    }
                };
                if let Err(e) = self.take(mailbox, signer, *counter) {
                    return WriteOutcome::Pull(e);
                }
                self.boxes.remove(mailbox);
                self.closed.insert(*mailbox);
                WriteOutcome::Pull(PullOutcome::Done)
            }
            Write::Blob(BlobRecord { mailbox, name, counter, expires, content }) => {
                match self.take(mailbox, None, *counter) {
                    Ok(found) => {
                        found.blobs.insert(*name, (*expires, content.clone()));
                        WriteOutcome::Deposit(DepositOutcome::Stored)
                    }
                    Err(e) => WriteOutcome::Pull(e),
                }
            }
            _ => panic!("a write that this store does not know"),
        }
    }
}

impl MailboxStore for MemStore {
    fn commit(&self, batch: &[Write], quota: &Quota, now: u64) -> Result<Vec<WriteOutcome>> {
        self.commits.fetch_add(1, SeqCst);
        self.writes.fetch_add(batch.len(), SeqCst);
        drop(self.opened.wait_while(self.gate.lock().unwrap(), |shut| *shut).unwrap());
        let frees = |write: &Write| matches!(write, Write::Acknowledge { .. } | Write::Close { .. });
        if self.disk_full.load(SeqCst) && !batch.iter().all(frees) {
            return Err(Error::new(ErrorKind::System, "the disk is full: make room"));
        }
        let mut inner = self.inner.lock().unwrap();
        Ok(batch.iter().map(|write| inner.apply(write, quota, now)).collect())
    }

    fn items(
        &self,
        mailbox: &[u8; 32],
        after: u64,
        max_items: usize,
        max_bytes: usize,
        per_item: usize,
        now: u64,
    ) -> Result<Page> {
        self.reads.fetch_add(1, SeqCst);
        let inner = self.inner.lock().unwrap();
        let mut page = Page::default();
        let Some(found) = inner.boxes.get(mailbox) else { return Ok(page) };
        let mut room = max_bytes;
        for (number, (expires, item)) in found.items.range(after + 1..) {
            if *expires <= now {
                continue;
            }
            if page.items.len() >= max_items || item.len() + per_item > room {
                page.more = true;
                page.next_len = Some(item.len());
                break;
            }
            room -= item.len() + per_item;
            page.items.push(StoredItem { number: *number, item: item.clone() });
        }
        Ok(page)
    }

    fn blob(
        &self,
        mailbox: &[u8; 32],
        token: &[u8; 32],
        name: &[u8; 16],
        now: u64,
    ) -> Result<Option<Vec<u8>>> {
        self.reads.fetch_add(1, SeqCst);
        let inner = self.inner.lock().unwrap();
        let found = inner.boxes.get(mailbox).filter(|found| found.token_hash == *token);
        let blob = found.and_then(|found| found.blobs.get(name)).filter(|(expires, _)| *expires > now);
        Ok(blob.map(|(_, content)| content.clone()))
    }

    fn add_invite(&self, hash: &[u8; 32], uses: u32, expires: u64) -> Result<()> {
        self.inner.lock().unwrap().invites.insert(*hash, (uses, expires));
        Ok(())
    }

    fn expire(&self, now: u64, limit: usize) -> Result<usize> {
        let mut inner = self.inner.lock().unwrap();
        let mut gone = 0;
        for found in inner.boxes.values_mut() {
            found.items.retain(|_, (expires, _)| {
                let stays = *expires > now || gone >= limit;
                gone += usize::from(!stays);
                stays
            });
        }
        Ok(gone)
    }

    fn stats(&self) -> Result<StoreStats> {
        let inner = self.inner.lock().unwrap();
        let items = inner.boxes.values().flat_map(|found| found.items.values());
        let (items, bytes) = items.fold((0, 0), |(n, bytes), (_, item)| (n + 1, bytes + item.len() as u64));
        Ok(StoreStats { mailboxes: inner.boxes.len() as u64, items, bytes })
    }
}
