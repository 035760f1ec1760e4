//! The keys of one segment, and reading what is in it.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;

use meow_core::crypto::{AEAD_TAG, KeyLabel, Secret, derive_keys, open_siv, seal_siv_in_place, short_mac};

use super::super::StoreError;
use super::record::{ITEM_HEAD, Record};
use super::{SECTOR, file};

/// Random, of one segment; the tables hold it.
pub(crate) type Salt = [u8; 16];

/// Bytes before a group's records: number, length, check.
pub(super) const HEAD: usize = 8 + 4 + 16;
/// Bytes before a sealed record: its length.
pub(super) const PREFIX: usize = 4;
/// Longest group, so that reading one takes bounded memory.
pub(crate) const MAX_GROUP: usize = 8 << 20;

/// The file and the keys of one segment. Each place is written once under them.
pub(crate) struct Epoch {
    file: Arc<File>,
    seal: Secret,
    mark: Secret,
}

/// A group's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) group: u64,
    pub(super) len: u32,
}

impl Epoch {
    pub(super) fn new(file: Arc<File>, key: &Secret, salt: &Salt) -> Self {
        let [seal, mark] = derive_keys(KeyLabel::ServerLog, salt, key.expose(), &[]);
        Self { file, seal, mark }
    }

    fn check(&self, at: u64, group: u64, len: u32) -> [u8; 16] {
        short_mac(&self.mark, &[&at.to_be_bytes(), &group.to_be_bytes(), &len.to_be_bytes()])
    }

    pub(super) fn head(&self, at: u64, head: Head) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        let (number, rest) = bytes.split_at_mut(8);
        let (len, check) = rest.split_at_mut(4);
        number.copy_from_slice(&head.group.to_be_bytes());
        len.copy_from_slice(&head.len.to_be_bytes());
        check.copy_from_slice(&self.check(at, head.group, head.len));
        bytes
    }

    /// The head at the beginning of these bytes, which lie at this place; `None` where there is none of this epoch.
    pub(super) fn parse_head(&self, at: u64, bytes: &[u8]) -> Option<Head> {
        let (number, rest) = bytes.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (check, _) = rest.split_first_chunk::<16>()?;
        let head = Head { group: u64::from_be_bytes(*number), len: u32::from_be_bytes(*len) };
        // Zeros lie behind the end, by the thousand.
        let possible = head.len > 0 && head.len as usize <= MAX_GROUP;
        (possible && self.check(at, head.group, head.len) == *check).then_some(head)
    }

    /// Appends a sealed record whose sealed bytes will lie at this place.
    pub(super) fn seal(&self, at: u64, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let len = u32::try_from(record.len().saturating_add(AEAD_TAG)).map_err(|_| StoreError::TooLong)?;
        out.extend_from_slice(&len.to_be_bytes());
        let from = out.len();
        record.encode(out);
        seal_siv_in_place(&self.seal, &nonce(at), &[], out, from).map_err(|_| StoreError::TooLong)
    }

    /// Opens what was sealed for this place.
    pub(super) fn open(&self, at: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        open_siv(&self.seal, &nonce(at), &[], sealed).ok()
    }

    /// Fills the buffer; `false` when the file ends before.
    pub(super) fn fill(&self, buffer: &mut [u8], at: u64) -> Result<bool, StoreError> {
        match file::read(&self.file, buffer, at) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// The body of an item whose sealed bytes lie at this place.
    pub(crate) fn body(&self, at: u64, number: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let mut sealed = vec![0; len.saturating_add(ITEM_HEAD + AEAD_TAG)];
        let there = self.fill(&mut sealed, at)?;
        let mut plain = there.then(|| self.open(at, &sealed)).flatten().ok_or(StoreError::DamagedLog)?;
        match Record::decode(&plain) {
            Some(Record::Item { number: same, .. }) if same == number => {}
            _ => return Err(StoreError::DamagedLog),
        }
        plain.drain(..ITEM_HEAD);
        Ok(plain)
    }
}

/// No place is sealed for twice under one key.
fn nonce(at: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce.iter_mut().skip(4).zip(at.to_be_bytes()).for_each(|(to, from)| *to = from);
    nonce
}

/// Where the next group may begin.
pub(super) fn aligned(at: u64) -> u64 {
    at.next_multiple_of(SECTOR)
}
