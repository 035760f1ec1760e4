//! The first sector of a segment: which generation it is of. So tables that lost their last transaction are told from a log
//! that was folded.

use std::fs::File;
use std::io::ErrorKind;

use meow_core::crypto::{KeyLabel, Secret, derive_key, short_mac};

use super::super::StoreError;
use super::epoch::Salt;
use super::file;

const MAGIC: &[u8; 16] = b"meow mail log 1\n";
pub(super) const LEN: usize = 16 + 8 + 16 + 16;

/// `magic [16] | generation i64 | salt [16] | check [16]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) generation: i64,
    pub(super) salt: Salt,
}

/// Writes and proves heads.
pub(super) struct Heads(Secret);

impl Heads {
    pub(super) fn new(key: &Secret) -> Self {
        Self(derive_key(KeyLabel::ServerLog, &[], key.expose(), &[]))
    }

    fn check(&self, generation: i64, salt: &Salt) -> [u8; 16] {
        short_mac(&self.0, &[MAGIC, &generation.to_be_bytes(), salt])
    }

    pub(super) fn encode(&self, head: &SegmentHead) -> Vec<u8> {
        let SegmentHead { generation, salt } = head;
        [&MAGIC[..], &generation.to_be_bytes(), salt, &self.check(*generation, salt)].concat()
    }

    /// The head at this place; none where a crash tore it, or there never was one.
    pub(super) fn read(&self, file: &File, at: u64) -> Result<Option<SegmentHead>, StoreError> {
        let mut bytes = [0; LEN];
        match file::read(file, &mut bytes, at) {
            Ok(()) => Ok(self.parse(&bytes)),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Option<SegmentHead> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (salt, rest) = rest.split_first_chunk::<16>()?;
        let generation = i64::from_be_bytes(*generation);
        (rest == self.check(generation, salt)).then_some(SegmentHead { generation, salt: *salt })
    }
}
