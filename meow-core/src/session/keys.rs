//! The keys of a session, its tags, and its sealed packets.

use crate::crypto::{AEAD_TAG, CryptoError, KeyLabel, Secret, derive_keys, mac, open_siv, seal_siv};
use crate::wire::{SIZE_CLASSES, Suite, is_thin, pad, unpad};

/// Length of a tag in bytes.
pub const SESSION_TAG: usize = 6;
/// What a packet on a fat link adds to its padded content, in bytes.
pub const SESSION_OVERHEAD: usize = 1 + THIN_SESSION_OVERHEAD;
/// What a sealed packet on a thin link adds to its padded content, in bytes.
pub const THIN_SESSION_OVERHEAD: usize = SESSION_TAG + AEAD_TAG;

/// What a packet shows: it changes with each one, and only the two ends can tell whose it is.
pub type Tag = [u8; SESSION_TAG];

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From the client to the server.
    Up = 0,
    /// From the server to the client.
    Down = 1,
}

/// The keys of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OneWay {
    pub(super) seal: Secret,
    pub(super) mac: Secret,
    pub(super) mask: Secret,
}

/// The keys of a session. Each counter is for one request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKeys {
    tag: Secret,
    up: OneWay,
    down: OneWay,
}

/// The tag of a packet of any row; `None` for what is no packet of a session by its length and first byte.
pub fn session_tag(packet: &[u8]) -> Option<Tag> {
    if is_thin(packet.len()) {
        return packet.first_chunk().copied();
    }
    let body = Suite::Session.strip(packet).ok()?;
    SIZE_CLASSES.contains(&packet.len()).then(|| body.first_chunk().copied())?
}

impl SessionKeys {
    /// The keys that come from a session's secret.
    pub fn new(secret: &Secret) -> Self {
        let [tag, up_seal, up_mac, up_mask, down_seal, down_mac, down_mask] =
            derive_keys(KeyLabel::SessionKeys, &[], secret.expose(), &[]);
        Self {
            tag,
            up: OneWay { seal: up_seal, mac: up_mac, mask: up_mask },
            down: OneWay { seal: down_seal, mac: down_mac, mask: down_mask },
        }
    }

    pub(super) fn one_way(&self, direction: Direction) -> &OneWay {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// The tag of the packet with this counter.
    pub fn tag(&self, direction: Direction, counter: u64) -> Tag {
        let [a, b, c, d, e, f, ..] = mac(&self.tag, &[&[direction as u8], &counter.to_be_bytes()]);
        [a, b, c, d, e, f]
    }

    /// Seals a content into a packet of `size` bytes, a length of either row. The same counter again, as a restored
    /// snapshot may use it, gives away only whether the two contents are equal.
    ///
    /// # Errors
    /// [`CryptoError::Length`] for another size, or a content that does not fit.
    pub fn seal(
        &self,
        direction: Direction,
        counter: u64,
        mut content: Vec<u8>,
        size: usize,
    ) -> Result<Vec<u8>, CryptoError> {
        let overhead = match (is_thin(size), SIZE_CLASSES.contains(&size)) {
            (true, _) => THIN_SESSION_OVERHEAD,
            (_, true) => SESSION_OVERHEAD,
            _ => return Err(CryptoError::Length),
        };
        pad(&mut content, size - overhead).map_err(|_| CryptoError::Length)?;
        let tag = self.tag(direction, counter);
        let key = &self.one_way(direction).seal;
        let sealed = seal_siv(key, &nonce(counter), &associated(direction, size, &tag), &content)?;
        let head: &[u8] = if is_thin(size) { &[] } else { &[Suite::Session.byte()] };
        Ok([head, &tag, &sealed].concat())
    }

    /// Opens the packet with this counter.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`] for anything that was not sealed so: other session, direction, counter or row.
    pub fn open(&self, direction: Direction, counter: u64, packet: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let tag = session_tag(packet).ok_or(CryptoError::Rejected)?;
        if tag != self.tag(direction, counter) {
            return Err(CryptoError::Rejected);
        }
        let from = SESSION_TAG + usize::from(!is_thin(packet.len()));
        let sealed = packet.get(from..).ok_or(CryptoError::Rejected)?;
        let ad = associated(direction, packet.len(), &tag);
        let mut content = open_siv(&self.one_way(direction).seal, &nonce(counter), &ad, sealed)?;
        let len = unpad(&content).map_err(|_| CryptoError::Rejected)?.len();
        content.truncate(len);
        Ok(content)
    }
}

/// Counters are never so many that the first bytes would be needed.
fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce.iter_mut().skip(4).zip(counter.to_be_bytes()).for_each(|(n, c)| *n = c);
    nonce
}

/// `0x05 | direction | row | tag`: the row is 0 for fat, 1 for thin.
fn associated(direction: Direction, size: usize, tag: &Tag) -> [u8; 3 + SESSION_TAG] {
    let [a, b, c, d, e, f] = *tag;
    [Suite::Session.byte(), direction as u8, u8::from(is_thin(size)), a, b, c, d, e, f]
}
