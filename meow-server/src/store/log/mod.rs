//! The log before the tables: what is confirmed is appended and synced here, and what is not fetched in time goes into the
//! tables later, by the thousand.
//!
//! One file, `NAME-log`, in segments: each is written from its beginning, ended, folded into the tables as a whole when it is
//! the oldest, and its place written over. First a head (`head.rs`), then groups, one for each sync; a group begins at a
//! multiple of 512 bytes and is `number u64 | length u32 | check [16] | records`, a record is
//! `length u32 | AES-256-GCM-SIV(record.rs)`, sealed for its place. Keys are of one segment (an *epoch*): its salt stands in
//! the tables until the transaction that folds it. So a segment that was folded opens no more, whenever a crash comes: it
//! needs no cutting off, and cannot be folded twice. `docs/decisions/0015-log-before-the-store.md`.

mod epoch;
mod file;
mod head;
mod record;
mod scan;
mod segment;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meow_core::crypto::{AEAD_TAG, Random as _, Secret, SystemRandom};
use meow_core::store::Write;

use super::StoreError;
use super::schema::sync_folder;
use epoch::{Epoch, HEAD, Head, MAX_GROUP, PREFIX, aligned};
use head::{Heads, SegmentHead};
pub(super) use record::Record;
use record::{ITEM_HEAD, TAKEN};
pub(super) use scan::scan;
pub(super) use segment::{Row, Segment, forget};

/// Groups begin at multiples of it: a disk writes no less at once.
const SECTOR: u64 = 512;
/// The least length of a log that is in use; segments begin at multiples of it.
const LEAST: u64 = 64 << 10;
/// The file grows by its own length, but not by more than this.
const STEP: u64 = 4 << 20;
/// Segments in the file, as far as each can have [`LEAST`].
pub(super) const SEGMENTS: u64 = 8;
/// Kept free of deposits at the end of a segment, so that on a full disk those who fetch can make room.
const RESERVE: u64 = 64 << 10;
/// No log is longer: places in memory are of 32 bits.
const MOST: u64 = 1 << 31;
/// So much memory is kept for the next group.
const KEPT: usize = 256 << 10;
/// How long another process may still hold the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// The log of the process that has the store.
pub(super) struct Log {
    file: Arc<File>,
    heads: Heads,
    /// So much of the file was written before, and synced.
    room: u64,
    most: u64,
    /// Of a segment.
    size: u64,
    /// The segment that is written.
    open: Option<Open>,
    /// Of the last group; kept, since its pages are needed again.
    bytes: Vec<u8>,
}

struct Open {
    epoch: Arc<Epoch>,
    /// Before its first group, which brings it.
    head: Option<SegmentHead>,
    /// Where the next group begins, and its number.
    tail: u64,
    group: u64,
    end: u64,
}

/// What became of asking for the file.
pub(super) enum Claim {
    Ours(Log),
    /// Another process writes it.
    Theirs(Arc<File>),
}

impl Log {
    /// Takes the file, for as long as the value lives; waits a little if `patient`.
    pub(super) fn claim(path: &Path, key: &Secret, most: u64, patient: bool) -> Result<Claim, StoreError> {
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
        let most = most.clamp(2 * LEAST, MOST);
        let size = (most / SEGMENTS / LEAST * LEAST).max(LEAST);
        let (file, heads) = (Arc::new(file), Heads::new(key));
        Ok(Claim::Ours(Self { file, heads, room, most, size, open: None, bytes: Vec::new() }))
    }

    /// The segments that the tables name, to read them back; nothing is appended to them. `generation` is the newest that the
    /// tables know of.
    pub(super) fn reopen(
        &self,
        key: &Secret,
        rows: Vec<Row>,
        generation: i64,
    ) -> Result<Vec<(Row, Segment)>, StoreError> {
        // What a process wrote that was killed before its sync may still be in memory only; once it was read, it counts.
        self.file.sync_data()?;
        let places = (0..self.room).step_by(LEAST as usize);
        for at in places {
            // Tables that are older than the log: what they lack was confirmed.
            if self.heads.read(&self.file, at)?.is_some_and(|head| head.generation > generation) {
                return Err(StoreError::DamagedLog);
            }
        }
        let mut segments = Vec::with_capacity(rows.len());
        for mut row in rows {
            if self.room < row.start.saturating_add(LEAST) {
                return Err(StoreError::DamagedLog);
            }
            let segment = row.segment(&self.file, key);
            let own = SegmentHead { generation: row.generation, salt: row.salt };
            let there = self.heads.read(&self.file, row.start)? == Some(own);
            // The head came with the first group. Without it that one was not synced, and there can be no other.
            if !there && (row.groups.is_some_and(|groups| groups > 0) || scan::goes_on(&segment)?) {
                return Err(StoreError::DamagedLog);
            }
            if there {
                segments.push((row, segment));
            } else if row.groups.is_none() {
                row.groups = Some(0);
                segments.push((row, segment));
            }
        }
        Ok(segments)
    }

    /// A new segment at this place, to be named by the tables and then begun.
    pub(super) fn draw(&self, generation: i64, (start, size): (u64, u64)) -> Result<Row, StoreError> {
        let mut salt = [0; 16];
        SystemRandom.fill(&mut salt).map_err(|_| StoreError::NoRandomness)?;
        Ok(Row { generation, salt, start, size, groups: None })
    }

    /// Goes on in this segment, which the tables name since now.
    pub(super) fn begin(&mut self, key: &Secret, row: &Row) -> Segment {
        let segment = row.segment(&self.file, key);
        self.open = Some(Open {
            epoch: Arc::clone(&segment.epoch),
            head: Some(SegmentHead { generation: row.generation, salt: row.salt }),
            tail: segment.first(),
            group: 0,
            end: segment.end,
        });
        segment
    }

    /// The segment that was written is written no more.
    pub(super) fn end(&mut self) {
        self.open = None;
    }

    /// Gives the room back, once the tables name no segment.
    pub(super) fn clear(&mut self) -> Result<(), StoreError> {
        (self.open, self.room) = (None, 0);
        Ok(self.file.set_len(0)?)
    }

    /// Whether a group of this size fits into the segment that is written; makes room for it where it can. What only frees
    /// space may use the reserve.
    pub(super) fn has_room(&mut self, size: u64, frees: bool) -> bool {
        let Some(Open { tail, end, .. }) = self.open else { return false };
        let reserve = if frees { 0 } else { RESERVE.min(self.size / 4) };
        let wanted = tail.saturating_add(size).saturating_add(reserve);
        // A disk that is full shows when the tables are written in its place, or here.
        wanted <= end && self.reach(wanted)
    }

    /// Whether the file has room up to here, or can be given it.
    fn reach(&mut self, wanted: u64) -> bool {
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

    /// Appends one group; durable when this returns. Gives the places of the sealed records. After a failure nobody knows what
    /// is on the disk: the segment ends with what was confirmed before.
    pub(super) fn append(&mut self, records: &[Record<'_>]) -> Result<Vec<u64>, StoreError> {
        let mut open = self.open.take().ok_or(StoreError::NoLog)?;
        let bytes = &mut self.bytes;
        bytes.clear();
        let mut from = open.tail;
        if let Some(head) = open.head.take() {
            bytes.extend_from_slice(&self.heads.encode(&head));
            bytes.resize(SECTOR as usize, 0);
            from = from.saturating_sub(SECTOR);
        }
        let group = bytes.len();
        bytes.resize(group + HEAD, 0);
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let at = from.saturating_add((bytes.len() + PREFIX) as u64);
            places.push(at);
            open.epoch.seal(at, record, bytes)?;
        }
        let len = u32::try_from(bytes.len() - group - HEAD).map_err(|_| StoreError::TooLong)?;
        let head = open.epoch.head(open.tail, Head { group: open.group, len });
        bytes.iter_mut().skip(group).zip(head).for_each(|(to, from)| *to = from);
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        file::write(&self.file, bytes, from)?;
        self.file.sync_data()?;
        open.tail = from.saturating_add(bytes.len() as u64);
        open.group += 1;
        self.open = Some(open);
        bytes.clear();
        bytes.shrink_to(KEPT);
        Ok(places)
    }
}

/// Whether a write becomes a record.
pub(super) fn appends(write: &Write) -> bool {
    matches!(write, Write::Deposit(_) | Write::Acknowledge { .. })
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
