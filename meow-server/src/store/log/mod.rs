//! The log before the tables: what is confirmed is appended and synced here, and goes into the tables later, by the thousand.
//!
//! One file, `NAME-log`, as long as it ever was, so that a sync writes data only. First a head (`head.rs`), then groups, one for
//! each sync; a group begins at a multiple of 512 bytes and is `number u64 | length u32 | check [16] | records`, a record is
//! `length u32 | AES-256-GCM-SIV(record.rs)`, sealed for its place. Keys are of one *epoch*: each fold draws a new salt, which
//! the transaction that folds puts into the tables. So a log that was folded opens no more, whenever a crash comes: it needs
//! no cutting off, and cannot be folded twice. `docs/decisions/0015-log-before-the-store.md`.

mod epoch;
mod file;
mod head;
mod record;
mod scan;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meow_core::crypto::{AEAD_TAG, Random as _, Secret, SystemRandom};
use meow_core::store::Write;

use super::StoreError;
use super::schema::sync_folder;
use super::tally::Totals;
pub(super) use epoch::{Epoch, MAX_GROUP, Salt};
use epoch::{HEAD, Head, PREFIX, aligned};
pub(super) use record::Record;
use record::{ITEM_HEAD, TAKEN};
pub(super) use scan::scan;

/// Groups begin at multiples of it: a disk writes no less at once.
const SECTOR: u64 = 512;
/// The least length of a log that is in use.
const LEAST: u64 = 64 << 10;
/// The file grows by its own length, but not by more than this.
const STEP: u64 = 4 << 20;
/// Kept free of deposits, so that on a full disk those who fetch can make room.
const RESERVE: u64 = 64 << 10;
/// No log is longer: places in memory are of 32 bits.
const MOST: u64 = 1 << 31;
/// How long another process may still hold the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// The log of the process that has the store.
pub(super) struct Log {
    file: Arc<File>,
    epoch: Option<Arc<Epoch>>,
    /// Where the next group begins, and its number.
    tail: u64,
    group: u64,
    /// So much of the file was written before, and synced.
    room: u64,
    most: u64,
    /// Nothing more is appended in this epoch: it was read back after a crash, or an append failed.
    ended: bool,
}

/// What became of asking for the file.
pub(super) enum Claim {
    Ours(Log),
    /// Another process writes it.
    Theirs(Arc<File>),
}

impl Log {
    /// Takes the file, for as long as the value lives; waits a little if `patient`.
    pub(super) fn claim(path: &Path, most: u64, patient: bool) -> Result<Claim, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(e.into()),
                Err(TryLockError::WouldBlock) if !patient => return Ok(Claim::Theirs(Arc::new(file))),
                Err(TryLockError::WouldBlock) if began.elapsed() > PATIENCE => return Err(StoreError::InUse),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        // Its name has to last as long as what is confirmed in it.
        sync_folder(path)?;
        let room = file.metadata()?.len() / SECTOR * SECTOR;
        let (file, most) = (Arc::new(file), most.clamp(2 * LEAST, MOST));
        Ok(Claim::Ours(Self { file, epoch: None, tail: SECTOR, group: 0, room, most, ended: true }))
    }

    /// The epoch that the tables name, to read it back; nothing can be appended to it. None where nothing was.
    pub(super) fn reopen(&mut self, key: &Secret, totals: &Totals) -> Result<Option<Arc<Epoch>>, StoreError> {
        let head = head::read(&self.file, key)?;
        if head.is_some_and(|head| head.generation > totals.generation) {
            // The tables are older than the log: what they lack was confirmed.
            return Err(StoreError::DamagedLog);
        }
        let Some(salt) = totals.salt else { return Ok(None) };
        if self.room < LEAST {
            return Err(StoreError::DamagedLog);
        }
        let epoch = Arc::new(Epoch::new(Arc::clone(&self.file), key, &salt));
        match head {
            Some(head) if head.generation == totals.generation && head.salt == salt => Ok(Some(epoch)),
            // A crash came between the tables and the head, which is synced before the first group follows.
            _ if !scan::any(&epoch)? => Ok(None),
            _ => Err(StoreError::DamagedLog),
        }
    }

    /// What has to be durable before the tables name a new epoch. Gives its salt.
    pub(super) fn prepare(&mut self) -> Result<Salt, StoreError> {
        if self.room < LEAST {
            self.grow(LEAST)?;
        }
        let mut salt = [0; 16];
        SystemRandom.fill(&mut salt).map_err(|_| StoreError::NoRandomness)?;
        Ok(salt)
    }

    /// Begins anew, once the tables hold all that was in the log, and the new salt. Where that fails, or there is no salt,
    /// nothing can be appended before another fold.
    pub(super) fn begin(&mut self, key: &Secret, totals: &Totals) -> Option<Arc<Epoch>> {
        (self.epoch, self.tail, self.group, self.ended) = (None, SECTOR, 0, true);
        let salt = totals.salt?;
        if let Err(error) = head::write(&self.file, key, totals.generation, &salt) {
            tracing::warn!(%error, "the log of the mailbox store cannot be written; the tables are written in its place");
            return None;
        }
        self.ended = false;
        self.epoch = Some(Arc::new(Epoch::new(Arc::clone(&self.file), key, &salt)));
        self.epoch.clone()
    }

    /// Gives the room back, once the tables name no epoch.
    pub(super) fn clear(&mut self) -> Result<(), StoreError> {
        (self.epoch, self.ended, self.room) = (None, true, 0);
        Ok(self.file.set_len(0)?)
    }

    /// Whether a group of this size can be appended in this epoch; makes room for it where it can. What only frees space may
    /// use the reserve.
    pub(super) fn has_room(&mut self, size: u64, frees: bool) -> bool {
        let end = self.tail.saturating_add(size);
        let wanted = if frees { end } else { end.saturating_add(RESERVE) };
        if self.ended || wanted > self.most {
            return false;
        }
        // A disk that is full shows when the tables are written in its place, or here.
        wanted <= self.room || self.grow(aligned(wanted)).is_ok()
    }

    /// Writes zeros: a sync of what is overwritten later needs to write no more than the data.
    fn grow(&mut self, least: u64) -> Result<(), StoreError> {
        let to = self.room.saturating_add(self.room.clamp(LEAST, STEP)).min(self.most).max(least);
        let zeros = vec![0; LEAST as usize];
        let filled = (self.room..to).step_by(zeros.len()).try_for_each(|at| {
            let len = usize::try_from(to - at).map_or(zeros.len(), |left| left.min(zeros.len()));
            file::write(&self.file, zeros.get(..len).unwrap_or_default(), at)
        });
        if let Err(e) = filled.and_then(|()| self.file.sync_all()) {
            // Not needed, only tidy: what was not synced is not counted on.
            let _ = self.file.set_len(self.room);
            return Err(e.into());
        }
        self.room = to;
        Ok(())
    }

    /// Appends one group; durable when this returns. Gives the places of the sealed records.
    pub(super) fn append(&mut self, records: &[Record<'_>]) -> Result<Vec<u64>, StoreError> {
        let epoch = self.epoch.clone().filter(|_| !self.ended).ok_or(StoreError::NoLog)?;
        let mut bytes =
            Vec::with_capacity(records.iter().map(sealed_len).sum::<usize>() + HEAD + SECTOR as usize);
        bytes.resize(HEAD, 0);
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let at = self.tail.saturating_add((bytes.len() + PREFIX) as u64);
            places.push(at);
            epoch.seal(at, record, &mut bytes)?;
        }
        let len = u32::try_from(bytes.len() - HEAD).map_err(|_| StoreError::TooLong)?;
        let head = epoch.head(self.tail, Head { group: self.group, len });
        bytes.iter_mut().zip(head).for_each(|(to, from)| *to = from);
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        // After a failure nobody knows what is on the disk: this epoch ends with what was confirmed before.
        self.ended = true;
        file::write(&self.file, &bytes, self.tail)?;
        self.file.sync_data()?;
        self.ended = false;
        self.tail = self.tail.saturating_add(bytes.len() as u64);
        self.group += 1;
        Ok(places)
    }
}

fn sealed_len(record: &Record<'_>) -> usize {
    PREFIX.saturating_add(record.len()).saturating_add(AEAD_TAG)
}

/// The most that a batch takes in the log, in bytes; none for a batch that has to go into the tables at once.
pub(super) fn size_of(batch: &[Write]) -> Option<u64> {
    let mut size = HEAD.saturating_add(SECTOR as usize);
    for write in batch {
        let record = match write {
            Write::Deposit(deposit) => ITEM_HEAD.saturating_add(deposit.item.len()),
            Write::Acknowledge { .. } => TAKEN,
            _ => return None,
        };
        size = size.saturating_add(PREFIX + AEAD_TAG).saturating_add(record);
    }
    (size <= MAX_GROUP).then_some(size as u64)
}

/// Reads along while another process writes.
pub(super) fn epoch_of(file: &Arc<File>, key: &Secret, salt: &Salt) -> Epoch {
    Epoch::new(Arc::clone(file), key, salt)
}
