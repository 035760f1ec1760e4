//! The tags of packets that were seen, durable before a packet is released (ATTACKS 4).
//!
//! One file that only grows: a head of 16 bytes, then records of 28: `key number u32 be | tag [16] | check [8]`, the check
//! being the first 8 bytes of SHA-256 over what stands before it. One thread appends what has queued up and syncs once.
//! A record that a crash cut short was never answered for, so a bad tail is cut off; a bad record with a good one behind
//! it is damage. When keys are gone, the file is written anew without their tags.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use meow_core::crypto::{HashLabel, hash};
use meow_core::onion::ReplayTag;
use meow_core::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};

use crate::engine::Source;

mod noted;

use noted::Noted;

const HEAD: &[u8; 16] = b"meow seen tags 1";
const RECORD: usize = 28;
const BODY: usize = 20;
/// Jobs that wait for the thread; further ones are told "busy".
const QUEUE: usize = 4096;
/// Tags that share one sync.
const BATCH: usize = 256;

type Key = (u32, [u8; 16]);

enum Job {
    See {
        key: Key,
        source: Option<Source>,
        fresh: oneshot::Sender<bool>,
    },
    Keep {
        numbers: Vec<u32>,
        done: oneshot::Sender<Result<()>>,
    },
    /// Keeps the thread from its work until the sender is gone, as a slow disk does.
    #[cfg(test)]
    Stall(std::sync::mpsc::Receiver<()>),
}

/// Who asked about a tag of a batch, and whether it is new.
type Asked = (oneshot::Sender<bool>, bool);

/// Why it is not known whether a packet was seen. It must then not be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TagError {
    /// Too many wait, or too many were seen under this key.
    #[error("too many packets")]
    Full,
    /// The file failed, or the relay has stopped.
    #[error("the file of seen packets failed")]
    Failed,
}

/// The handle of the thread.
pub(crate) struct Tags {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Tags {
    /// Reads the file, or makes it. Without one, tags live in memory.
    ///
    /// # Errors
    /// `Damaged`, `NewerVersion`, `System`.
    pub(crate) fn open(path: Option<&Path>, most: usize) -> Result<Self> {
        let log = path.map(Log::open).transpose()?;
        let (log, seen) = log.map_or((None, HashMap::new()), |(log, seen)| (Some(log), seen));
        let (jobs, queue) = mpsc::channel(QUEUE);
        let worker = Worker { log, seen, most, noted: HashMap::new() };
        let thread = thread::Builder::new()
            .name("meow-tags".into())
            .spawn(move || worker.run(queue))
            .map_err(|e| Error::new(ErrorKind::System, "cannot start the thread for tags").with_source(e))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// True when this tag is new under the key of this number; it is durable then, and never new again. Who may
    /// note a new one, [`Noted::note`] says. `None`, and this machine, is bounded by what is left alone.
    ///
    /// # Cancel safety
    /// The tag may have been noted when the future is dropped, and its packet is a replay then: await it where nothing drops it.
    pub(crate) async fn see(
        &self,
        number: u32,
        tag: ReplayTag,
        source: Option<Source>,
    ) -> Result<bool, TagError> {
        let (fresh, outcome) = oneshot::channel();
        let source = source.filter(|source| *source != Source::Here);
        let job = Job::See { key: (number, *tag.as_bytes()), source, fresh };
        let jobs = self.jobs.as_ref().ok_or(TagError::Failed)?;
        jobs.try_send(job).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => TagError::Full,
            mpsc::error::TrySendError::Closed(_) => TagError::Failed,
        })?;
        // The thread drops the sender where it could not write.
        outcome.await.map_err(|_| TagError::Failed)
    }

    /// Forgets the tags of all other keys.
    pub(crate) async fn keep(&self, numbers: Vec<u32>) -> Result<()> {
        let stopped = || Error::new(ErrorKind::System, "the thread for tags has stopped");
        let (done, outcome) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(Job::Keep { numbers, done }).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

impl Drop for Tags {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread for tags ended before its time");
        }
    }
}

type Seen = HashMap<u32, HashSet<[u8; 16]>>;

struct Worker {
    log: Option<Log>,
    seen: Seen,
    most: usize,
    /// By key.
    noted: HashMap<u32, Noted>,
}

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.blocking_recv() {
            let mut next = Some(job);
            let (mut batch, mut asked) = (Vec::new(), Vec::new());
            while let Some(job) = next.take() {
                match job {
                    Job::See { key, source, fresh: reply } => {
                        self.judge(key, source, reply, &mut batch, &mut asked);
                    }
                    Job::Keep { numbers, done } => {
                        self.write(&mut batch, &mut asked);
                        // Who asked may be gone; then nobody is told.
                        let _ = done.send(self.keep(&numbers));
                    }
                    #[cfg(test)]
                    Job::Stall(until) => drop(until.recv()),
                }
                if asked.len() < BATCH {
                    next = queue.try_recv().ok();
                }
            }
            self.write(&mut batch, &mut asked);
        }
    }

    fn judge(
        &mut self,
        key: Key,
        source: Option<Source>,
        reply: oneshot::Sender<bool>,
        batch: &mut Vec<Key>,
        asked: &mut Vec<Asked>,
    ) {
        let tags = self.seen.entry(key.0).or_default();
        if tags.contains(&key.1) {
            // A replay is told at once, but one of a packet of this batch with that packet: it may not be written yet.
            if batch.contains(&key) {
                asked.push((reply, false));
            } else {
                let _ = reply.send(false);
            }
        } else if tags.len() < self.most {
            if let Some(source) = source {
                let noted = self.noted.entry(key.0).or_default();
                if !noted.note(source, self.most, self.most - tags.len()) {
                    return;
                }
            }
            tags.insert(key.1);
            batch.push(key);
            asked.push((reply, true));
        }
        // Beyond the limit the sender is dropped: the packet is not released.
    }

    /// Makes a batch durable, then says so. Where that fails nobody is told anything, nothing was released, and the tags are
    /// taken out again: who is told "busy" sends the same packet once more.
    fn write(&mut self, batch: &mut Vec<Key>, asked: &mut Vec<Asked>) {
        let keys = std::mem::take(batch);
        let asked = std::mem::take(asked);
        if keys.is_empty() {
            return;
        }
        let written = self.log.as_mut().map_or(Ok(()), |log| log.append(&keys));
        match written {
            Ok(()) => asked.into_iter().for_each(|(reply, new)| {
                // Only the relay's end takes away who asked.
                let _ = reply.send(new);
            }),
            Err(e) => {
                for (number, tag) in &keys {
                    self.seen.get_mut(number).map(|tags| tags.remove(tag));
                }
                tracing::error!("tags of packets cannot be written, senders are told to wait: {}", e.kind());
            }
        }
    }

    fn keep(&mut self, numbers: &[u32]) -> Result<()> {
        let before = self.seen.len();
        self.seen.retain(|number, _| numbers.contains(number));
        self.noted.retain(|number, _| numbers.contains(number));
        match &mut self.log {
            Some(log) if self.seen.len() < before => {
                let all = self.seen.iter().flat_map(|(number, tags)| tags.iter().map(|tag| (*number, *tag)));
                log.replace(all).map_err(|e| system("write", &e))
            }
            _ => Ok(()),
        }
    }
}

/// The file.
struct Log {
    path: PathBuf,
    file: File,
    /// Up to where it holds whole records.
    len: u64,
}

impl Log {
    fn open(path: &Path) -> Result<(Self, Seen)> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut bytes).map_err(|e| system("read", &e))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let mut log = Self {
                    path: path.to_owned(),
                    file: create(&path.with_extension("new")).map_err(|e| system("make", &e))?,
                    len: 0,
                };
                log.replace(std::iter::empty()).map_err(|e| system("make", &e))?;
                return Ok((log, Seen::new()));
            }
            Err(e) => return Err(system("read", &e)),
        };
        let Some((head, records)) = bytes.split_first_chunk::<16>() else { return Err(damaged()) };
        if head != HEAD {
            return Err(damaged());
        }
        let mut seen = Seen::new();
        let (mut whole, mut bad) = (0usize, false);
        for (at, record) in records.chunks_exact(RECORD).enumerate() {
            match read(record) {
                Some(_) if bad => return Err(damaged()),
                Some((number, tag)) => {
                    seen.entry(number).or_default().insert(tag);
                    whole = at + 1;
                }
                None => bad = true,
            }
        }
        let len = (HEAD.len() + whole * RECORD) as u64;
        let mut file = OpenOptions::new().write(true).open(path).map_err(|e| system("write", &e))?;
        let cut = file.set_len(len).and_then(|()| file.seek(SeekFrom::Start(len)));
        cut.map_err(|e| system("write", &e))?;
        Ok((Self { path: path.to_owned(), file, len }, seen))
    }

    fn append(&mut self, keys: &[Key]) -> io::Result<()> {
        // What a failed write has left behind is cut off first.
        self.file.set_len(self.len)?;
        self.file.seek(SeekFrom::Start(self.len))?;
        let bytes: Vec<u8> = keys.iter().flat_map(record).collect();
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Writes the file anew, under another name until it is whole.
    fn replace(&mut self, all: impl Iterator<Item = Key>) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        let mut file = create(&fresh)?;
        let mut out = io::BufWriter::new(&mut file);
        out.write_all(HEAD)?;
        let mut len = HEAD.len() as u64;
        for key in all {
            out.write_all(&record(&key))?;
            len += RECORD as u64;
        }
        out.flush()?;
        drop(out);
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        // At once: whatever fails from here on, records must go to the file that has the name.
        (self.file, self.len) = (file, len);
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn check(body: &[u8]) -> [u8; 8] {
    let digest = hash(HashLabel::SeenTag, &[body]);
    std::array::from_fn(|i| digest.get(i).copied().unwrap_or_default())
}

fn record((number, tag): &Key) -> [u8; RECORD] {
    let body = [&number.to_be_bytes()[..], tag].concat();
    let check = check(&body);
    let mut out = [0; RECORD];
    out.iter_mut().zip(body.iter().chain(&check)).for_each(|(to, from)| *to = *from);
    out
}

fn read(record: &[u8]) -> Option<Key> {
    let (body, found) = record.split_at_checked(BODY)?;
    let (number, tag) = body.split_first_chunk::<4>()?;
    (check(body) == *found).then_some((u32::from_be_bytes(*number), tag.try_into().ok()?))
}

fn damaged() -> Error {
    let text = "the file seen.tags is damaged: delete it together with sealing.keys, so that new keys are made and no \
                old packet can be replayed";
    Error::new(ErrorKind::Damaged, text)
}

fn system(verb: &str, e: &io::Error) -> Error {
    Error::new(ErrorKind::System, format!("cannot {verb} the file of seen packets: {}", e.kind()))
}

#[cfg(test)]
mod tests;
