//! `store.db.id`: which format the store has and which key it was made with.
//!
//! One line, written twice, so that a changed byte shows:
//! `meow store <format> <commitment to the key, 64 hex digits>`. The commitment reveals nothing of the key
//! (spec, chapter "Derivations").

use std::path::{Path, PathBuf};

use meow_core::crypto::{Secret, key_commitment};
use meow_core::{Error, ErrorKind, Result};

use super::connect::beside;
use crate::files;

/// The format this program writes: SQLCipher 4 with its default settings. It rises when an older program
/// could not even decrypt the file; changes of the tables have a version of their own inside.
const FORMAT: u32 = 1;

/// Longer files are no header.
const MAX_LEN: u64 = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    format: u32,
    commitment: String,
}

impl Header {
    /// The header of a store made now with this key.
    pub(super) fn of(key: &Secret) -> Self {
        let commitment = key_commitment(key).iter().map(|b| format!("{b:02x}")).collect();
        Self { format: FORMAT, commitment }
    }

    /// Compares the header of a store with this key. False when there is no whole header to compare with.
    pub(super) fn check(store: &Path, key: &Secret) -> Result<bool> {
        let Some(text) = files::read_small(&path(store), MAX_LEN)? else { return Ok(false) };
        let Some(found) = Self::parse(&text) else { return Ok(false) };
        let wanted = Self::of(key);
        if found.format > FORMAT {
            return Err(newer());
        }
        if found.commitment != wanted.commitment {
            return Err(Error::new(
                ErrorKind::WrongSecret,
                "this key does not open the store: it was made with another one",
            ));
        }
        Ok(true)
    }

    /// Writes the header of a store.
    pub(super) fn save(&self, store: &Path) -> Result<()> {
        let line = format!("meow store {} {}\n", self.format, self.commitment);
        files::write_atomically(&path(store), line.repeat(2).as_bytes())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (first, second) = text.split_once('\n')?;
        if second.strip_suffix('\n')? != first {
            return None;
        }
        let (format, commitment) = first.strip_prefix("meow store ")?.split_once(' ')?;
        // A newer format may say something else after its number.
        Some(Self { format: format.parse().ok()?, commitment: commitment.to_owned() })
    }
}

/// The error for what a newer program has written.
pub(super) fn newer() -> Error {
    Error::new(
        ErrorKind::NewerVersion,
        "the store was written by a newer version of this program: update, then open it again",
    )
}

fn path(store: &Path) -> PathBuf {
    beside(store, ".id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_byte_never_parses() {
        let line = format!("meow store 1 {}\n", "ab".repeat(32));
        let whole = line.repeat(2).into_bytes();
        assert_eq!(Header::parse(&whole), Some(Header { format: 1, commitment: "ab".repeat(32) }));
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(Header::parse(&changed), None, "byte {at} bit {bit}");
            }
        }
        for len in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..len]), None, "cut to {len}");
        }
    }

    #[test]
    fn the_key_is_not_in_it() {
        let key = Secret::new([7; 32]);
        assert!(!Header::of(&key).commitment.contains(&"07".repeat(32)));
        assert_ne!(Header::of(&key), Header::of(&Secret::new([8; 32])));
    }
}
