//! Looks for damage in the write-ahead log that an interrupted process left.
//!
//! SQLite takes the first frame whose checksum does not hold for the end of the log, because that is what an
//! interrupted write looks like. A changed byte looks the same, and would take confirmed transactions away
//! without a word. Two things tell them apart, because each commit is synced before it is confirmed:
//!
//! * a sound transaction behind the unsound frame: the frame had been synced;
//! * the shared-memory file counts more frames than are sound. It is written after the sync, and outlives a
//!   killed process (after a power failure it may lack the newest counts).
//!
//! Formats: <https://www.sqlite.org/walformat.html>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use meow_core::Result;

use super::connect::beside;
use super::fault::damaged;
use crate::files;

const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Two copies of 48 bytes, then the number of frames that the store's file holds already.
const INDEX_HEADER: usize = 100;
/// The only version of both formats so far, of 2010.
const VERSION: u32 = 3_007_000;

/// Refuses a store whose log lost something that was confirmed.
pub(super) fn check(store: &Path) -> Result<()> {
    // While another process writes, a frame may be read half old and half new. Damage stays.
    for _ in 0..3 {
        if !suspicious(store).map_err(files::fault)? {
            return Ok(());
        }
    }
    Err(damaged())
}

fn suspicious(store: &Path) -> io::Result<bool> {
    // First the claim, then the log, which can only have grown.
    let claim = match File::open(beside(store, "-shm")) {
        Ok(file) => claim(file)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    match File::open(beside(store, "-wal")) {
        Ok(file) => log_is_suspicious(BufReader::new(file), claim),
        // The last to close a store removes the log first.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// So many frames of the log with this salt were synced and are not yet all in the store's file.
struct Claim {
    salt: [u8; 8],
    frames: u32,
}

fn claim(index: impl Read) -> io::Result<Option<Claim>> {
    let mut bytes = Vec::with_capacity(INDEX_HEADER);
    index.take(INDEX_HEADER as u64).read_to_end(&mut bytes)?;
    let Some((first, rest)) = bytes.split_first_chunk::<48>() else { return Ok(None) };
    let Some((second, rest)) = rest.split_first_chunk::<48>() else { return Ok(None) };
    let Some(in_file) = rest.first_chunk::<4>() else { return Ok(None) };
    // Copies that differ: the process was killed between writing them.
    if first != second || native(first, 0) != Some(VERSION) {
        return Ok(None);
    }
    let (Some(frames), Some(salt)) = (native(first, 16), array::<8>(first, 32)) else { return Ok(None) };
    Ok((frames > u32::from_ne_bytes(*in_file)).then_some(Claim { salt, frames }))
}

fn log_is_suspicious(mut log: impl Read, claim: Option<Claim>) -> io::Result<bool> {
    let mut header = [0; LOG_HEADER];
    if !fill(&mut log, &mut header)? {
        return Ok(false);
    }
    let Some(form) = Form::read(&header) else {
        // The header is synced before the first frame is written.
        return Ok(log.read(&mut [0])? > 0);
    };
    let claimed = claim.filter(|claim| claim.salt == form.salt).map_or(0, |claim| claim.frames);

    let mut frame = vec![0; FRAME_HEADER + form.page_size];
    let (mut previous, mut sound, mut unsound_met) = (form.sum, 0_u32, false);
    // Behind the unsound frame: the frame before this one ended a transaction, and was whole.
    let mut behind_commit = false;
    while fill(&mut log, &mut frame)? {
        let (stored, commit) = (array::<8>(&frame, 16), big(&frame, 4) != Some(0));
        let ours = array::<8>(&frame, 8) == Some(form.salt);
        let body = frame.get(..8).into_iter().chain(frame.get(FRAME_HEADER..));
        let follows = ours && stored == Some(form.checksum(previous, body));
        previous = stored.unwrap_or_default();
        if !unsound_met && follows {
            sound = sound.saturating_add(1);
            continue;
        }
        if unsound_met && follows && behind_commit {
            return Ok(true);
        }
        behind_commit = commit && if unsound_met { follows } else { ours };
        unsound_met = true;
    }
    Ok(sound < claimed)
}

/// What the log's header says about its frames.
struct Form {
    big_endian: bool,
    page_size: usize,
    salt: [u8; 8],
    sum: [u8; 8],
}

impl Form {
    fn read(header: &[u8; LOG_HEADER]) -> Option<Self> {
        let big_endian = match big(header, 0)? {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let page_size = usize::try_from(big(header, 8)?).ok()?;
        let (salt, sum) = (array::<8>(header, 16)?, array::<8>(header, 24)?);
        let form = Self { big_endian, page_size, salt, sum };
        let sound = form.checksum([0; 8], header.get(..24)) == sum
            && big(header, 4)? == VERSION
            && (512..=65_536).contains(&page_size)
            && page_size.is_power_of_two();
        sound.then_some(form)
    }

    /// The running checksum: two sums, each fed by the other. Always written big-endian.
    fn checksum<'b>(&self, previous: [u8; 8], parts: impl IntoIterator<Item = &'b [u8]>) -> [u8; 8] {
        let read = if self.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        let (Some(mut a), Some(mut b)) = (big(&previous, 0), big(&previous, 4)) else { return [0; 8] };
        for part in parts {
            let (words, _) = part.as_chunks::<4>();
            let (pairs, _) = words.as_chunks::<2>();
            for [first, second] in pairs {
                a = a.wrapping_add(read(*first)).wrapping_add(b);
                b = b.wrapping_add(read(*second)).wrapping_add(a);
            }
        }
        (u64::from(a) << 32 | u64::from(b)).to_be_bytes()
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn big(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

fn native(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

/// False at the end, also in the middle of the buffer.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}
