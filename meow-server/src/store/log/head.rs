//! The first sector of the log: which epoch it is of. So tables that lost their last transaction are told from a log that was
//! folded.

use std::fs::File;
use std::io::ErrorKind;

use meow_core::crypto::{KeyLabel, Secret, derive_key, short_mac};

use super::super::StoreError;
use super::epoch::Salt;
use super::file;

const MAGIC: &[u8; 16] = b"meow mail log 1\n";
const LEN: usize = 16 + 8 + 16 + 16;

/// `magic [16] | generation i64 | salt [16] | check [16]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHead {
    pub(super) generation: i64,
    pub(super) salt: Salt,
}

fn check(key: &Secret, generation: i64, salt: &Salt) -> [u8; 16] {
    let key = derive_key(KeyLabel::ServerLog, &[], key.expose(), &[]);
    short_mac(&key, &[MAGIC, &generation.to_be_bytes(), salt])
}

/// Makes an epoch the log's own; durable when this returns.
pub(super) fn write(file: &File, key: &Secret, generation: i64, salt: &Salt) -> Result<(), StoreError> {
    let bytes = [&MAGIC[..], &generation.to_be_bytes(), salt, &check(key, generation, salt)].concat();
    file::write(file, &bytes, 0)?;
    Ok(file.sync_data()?)
}

/// The head; none where a crash tore it, or there never was one.
pub(super) fn read(file: &File, key: &Secret) -> Result<Option<FileHead>, StoreError> {
    let mut bytes = [0; LEN];
    match file::read(file, &mut bytes, 0) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e.into()),
    }
    Ok(parse(key, &bytes))
}

fn parse(key: &Secret, bytes: &[u8]) -> Option<FileHead> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (salt, rest) = rest.split_first_chunk::<16>()?;
    let generation = i64::from_be_bytes(*generation);
    (rest == check(key, generation, salt)).then_some(FileHead { generation, salt: *salt })
}
