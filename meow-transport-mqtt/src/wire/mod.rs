//! What lies on the broker, byte by byte (docs/spec/transport-mqtt.md). Public for the fuzz targets and vectors; an
//! application has no use for it.

mod announcement;
mod hello;
mod record;
mod topic;

pub use announcement::{ANNOUNCEMENT, Announcement, Reference};
pub use hello::{Answered, Caller, HELLO, Hello};
pub use record::{CLASSES, Direction, Item, Items, ROOM, open_record, seal_record};
pub use topic::{MAX_PREFIX, Prefix, PrefixError, TopicId};

/// Bytes of a nonce that is drawn at random, and of the tag.
const OVERHEAD: usize = NONCE + meow_core::crypto::AEAD_TAG;
const NONCE: usize = 12;

/// Cuts `N` bytes off the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

/// A drawn nonce, then the sealed text.
fn seal(
    key: &meow_core::crypto::Secret,
    text: &[u8],
    random: &mut dyn meow_core::crypto::Random,
) -> Result<Vec<u8>, meow_core::crypto::CryptoError> {
    let mut nonce = [0; NONCE];
    random.fill(&mut nonce)?;
    let sealed = meow_core::crypto::seal_siv(key, &nonce, b"", text)?;
    Ok([&nonce[..], &sealed].concat())
}

/// Opens what [`seal`] made, if it has this length.
fn open<const LENGTH: usize>(
    key: &meow_core::crypto::Secret,
    bytes: &[u8],
) -> Result<Vec<u8>, meow_core::crypto::CryptoError> {
    let rejected = meow_core::crypto::CryptoError::Rejected;
    if bytes.len() != LENGTH {
        return Err(rejected);
    }
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE>().ok_or(rejected)?;
    meow_core::crypto::open_siv(key, nonce, b"", sealed)
}
