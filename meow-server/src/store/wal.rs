//! Looking at the write-ahead log before SQLite does.
//!
//! SQLite takes the first frame that does not verify for the torn end of the last commit and quietly drops
//! what follows. After a crash that is right; after a flipped byte it would drop commits that were confirmed.
//! Commits are synced one by one, so a crash tears at most the last: where two or more commits follow the
//! first bad frame, the log is damaged.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use super::StoreError;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// In the lowest bit of the magic number stands the byte order of the checksums.
const MAGIC: u32 = 0x377f_0682;

/// Refuses a log in which confirmed commits lie behind a bad frame. A missing log is a clean one.
pub(super) fn check(wal: &Path) -> Result<(), StoreError> {
    loop {
        let mut file = match File::open(wal) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let Some(header) = read_block::<HEADER>(&mut file)? else { return Ok(()) };
        let verdict = scan(&mut BufReader::with_capacity(1 << 16, file), &header)?;
        if verdict == Verdict::Whole {
            return Ok(());
        }
        // Another process may have begun the log anew while we read; then this was two logs in one.
        if read_block::<HEADER>(&mut File::open(wal)?)? == Some(header) {
            return Err(StoreError::DamagedLog);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Whole,
    Damaged,
}

fn scan(frames: &mut impl Read, header: &[u8; HEADER]) -> Result<Verdict, StoreError> {
    let big_endian = word(header, 0, true) & 1 == 1;
    let mut sum = Checksum { big_endian, a: 0, b: 0 };
    sum.add(header.get(..24).unwrap_or_default());
    let good = word(header, 0, true) & !1 == MAGIC && sum.is(header, 24);
    let page = usize::try_from(word(header, 8, true)).unwrap_or(0);
    if !good || !(512..=65_536).contains(&page) {
        // The header is synced before the first frame follows it.
        let follows = read_block::<FRAME_HEADER>(frames)?.is_some();
        return Ok(if follows { Verdict::Damaged } else { Verdict::Whole });
    }
    let mut frame = vec![0u8; FRAME_HEADER + page];
    let mut intact = true;
    let mut commits_behind = 0;
    while fill(frames, &mut frame)? {
        if frame.get(8..16) != header.get(16..24) {
            // Of an earlier log, or bad: what follows tells.
            intact = false;
            continue;
        }
        if intact {
            sum.add(frame.get(..8).unwrap_or_default());
            sum.add(frame.get(FRAME_HEADER..).unwrap_or_default());
            intact = sum.is(&frame, 16);
        }
        if !intact && word(&frame, 4, true) != 0 {
            commits_behind += 1;
        }
    }
    Ok(if commits_behind >= 2 { Verdict::Damaged } else { Verdict::Whole })
}

/// SQLite's running checksum over pairs of words.
struct Checksum {
    big_endian: bool,
    a: u32,
    b: u32,
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks_exact(8) {
            self.a = self.a.wrapping_add(word(pair, 0, self.big_endian)).wrapping_add(self.b);
            self.b = self.b.wrapping_add(word(pair, 4, self.big_endian)).wrapping_add(self.a);
        }
    }

    /// Whether the sum so far stands at this place, where it is always big-endian.
    fn is(&self, bytes: &[u8], at: usize) -> bool {
        word(bytes, at, true) == self.a && word(bytes, at + 4, true) == self.b
    }
}

fn word(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok()).unwrap_or_default();
    if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
}

fn read_block<const N: usize>(from: &mut impl Read) -> Result<Option<[u8; N]>, StoreError> {
    let mut block = [0; N];
    Ok(fill(from, &mut block)?.then_some(block))
}

/// Whether there was enough to fill the buffer.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<bool, StoreError> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e.into()),
    }
}
