//! Reading a segment from its beginning, after a crash or beside the process that writes it.
//!
//! A group is written when the one before is synced. So a crash can tear the last group of the last segment only, and that
//! one was confirmed to nobody. Where a later group of the same epoch follows what does not hold, or a segment that was ended
//! has fewer groups than the tables say, the log is damaged.

use meow_core::crypto::AEAD_TAG;

use super::super::StoreError;
use super::SECTOR;
use super::epoch::{Epoch, HEAD, Head, PREFIX, aligned};
use super::record::Record;
use super::segment::Segment;

/// Bytes that are read at once in search of a later group.
const WINDOW: usize = 1 << 18;

/// Hands over every record with the place of its sealed bytes, in order, and notes how many groups and records there are.
/// `groups` are all that there must be, where that is known. With `torn`, whatever does not hold is an end: for a process that
/// reads while another one writes.
pub(crate) fn scan(
    segment: &mut Segment,
    groups: Option<u64>,
    torn: bool,
    mut visit: impl FnMut(u64, Record<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut at = segment.first();
    while groups.is_none_or(|all| segment.groups < all) {
        let Some(records) = read_group(segment, at)? else {
            let damaged = groups.is_some() || !torn && follows(segment, aligned(at + 1), segment.groups)?;
            return if damaged { Err(StoreError::DamagedLog) } else { Ok(()) };
        };
        for (place, plain) in &records.plain {
            visit(*place, Record::decode(plain).ok_or(StoreError::DamagedLog)?)?;
        }
        segment.groups += 1;
        segment.records += records.plain.len();
        at = records.end;
    }
    Ok(())
}

struct Group {
    plain: Vec<(u64, Vec<u8>)>,
    end: u64,
}

/// The whole group that is the next, or none.
fn read_group(segment: &Segment, at: u64) -> Result<Option<Group>, StoreError> {
    let epoch = &segment.epoch;
    let mut head = [0; HEAD];
    if !epoch.fill(&mut head, at)? {
        return Ok(None);
    }
    let Some(Head { len, .. }) = epoch.parse_head(at, &head).filter(|head| head.group == segment.groups)
    else {
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

/// Whether there is any group of this segment beyond its first.
pub(super) fn goes_on(segment: &Segment) -> Result<bool, StoreError> {
    follows(segment, segment.first(), 0)
}

/// Whether a group with a higher number begins at this place of the segment or behind it.
fn follows(segment: &Segment, mut at: u64, group: u64) -> Result<bool, StoreError> {
    let mut window = vec![0; WINDOW];
    while at < segment.end {
        // The last window may be short: what is left is read by the sector.
        let size = if segment.epoch.fill(&mut window, at)? { WINDOW } else { SECTOR as usize };
        let Some(bytes) = window.get_mut(..size) else { return Ok(false) };
        if size < WINDOW && !segment.epoch.fill(bytes, at)? {
            return Ok(false);
        }
        for sector in bytes.chunks_exact(SECTOR as usize) {
            if is_head(&segment.epoch, at, sector, group) {
                return Ok(true);
            }
            at += SECTOR;
        }
    }
    Ok(false)
}

fn is_head(epoch: &Epoch, at: u64, sector: &[u8], above: u64) -> bool {
    epoch.parse_head(at, sector).is_some_and(|head| head.group > above)
}
