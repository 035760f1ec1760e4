//! Reading a log from its beginning, after a crash or beside the process that writes it.
//!
//! A group is written when the one before is synced. So a crash can tear the last group only, and that one was confirmed to
//! nobody. Where a later group of the same epoch follows what does not hold, the log is damaged.

use meow_core::crypto::AEAD_TAG;

use super::super::StoreError;
use super::SECTOR;
use super::epoch::{Epoch, HEAD, Head, PREFIX, aligned};
use super::record::Record;

/// Bytes that are read at once in search of a later group.
const WINDOW: usize = 1 << 18;

/// Hands over every record with the place of its sealed bytes, in order. With `torn`, whatever does not hold is an end: for a
/// process that reads while another one writes.
pub(crate) fn scan(
    epoch: &Epoch,
    torn: bool,
    mut visit: impl FnMut(u64, Record<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut at = SECTOR;
    for group in 0.. {
        let Some(records) = read_group(epoch, at, group)? else {
            return if !torn && follows(epoch, aligned(at + 1), Some(group))? {
                Err(StoreError::DamagedLog)
            } else {
                Ok(())
            };
        };
        for (place, plain) in &records.plain {
            visit(*place, Record::decode(plain).ok_or(StoreError::DamagedLog)?)?;
        }
        at = records.end;
    }
    Ok(())
}

struct Group {
    plain: Vec<(u64, Vec<u8>)>,
    end: u64,
}

/// The whole group with this number, or none.
fn read_group(epoch: &Epoch, at: u64, group: u64) -> Result<Option<Group>, StoreError> {
    let mut head = [0; HEAD];
    if !epoch.fill(&mut head, at)? {
        return Ok(None);
    }
    let Some(Head { len, .. }) = epoch.parse_head(at, &head).filter(|head| head.group == group) else {
        return Ok(None);
    };
    let mut place = at + HEAD as u64;
    let mut bytes = vec![0; len as usize];
    if !epoch.fill(&mut bytes, place)? {
        return Ok(None);
    }
    let (mut plain, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((len, after)) = rest.split_first_chunk::<PREFIX>() {
        place += PREFIX as u64;
        let len = u32::from_be_bytes(*len) as usize;
        let Some((sealed, after)) = after.split_at_checked(len).filter(|_| len > AEAD_TAG) else {
            return Ok(None);
        };
        let Some(record) = epoch.open(place, sealed) else { return Ok(None) };
        plain.push((place, record));
        place += len as u64;
        rest = after;
    }
    Ok(rest.is_empty().then_some(Group { plain, end: aligned(place) }))
}

/// Whether there is any group of this epoch.
pub(super) fn any(epoch: &Epoch) -> Result<bool, StoreError> {
    follows(epoch, SECTOR, None)
}

/// Whether a group with a higher number begins at this place or behind it.
fn follows(epoch: &Epoch, mut at: u64, group: Option<u64>) -> Result<bool, StoreError> {
    let mut window = vec![0; WINDOW];
    loop {
        // The last window may be short: what is left is read by the sector.
        let size = if epoch.fill(&mut window, at)? { WINDOW } else { SECTOR as usize };
        let Some(bytes) = window.get_mut(..size) else { return Ok(false) };
        if size < WINDOW && !epoch.fill(bytes, at)? {
            return Ok(false);
        }
        for sector in bytes.chunks_exact(SECTOR as usize) {
            if epoch.parse_head(at, sector).is_some_and(|head| Some(head.group) > group) {
                return Ok(true);
            }
            at += SECTOR;
        }
    }
}
