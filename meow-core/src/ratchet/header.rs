//! Masked message headers.

use std::ops::Range;

use crate::crypto::{AEAD_TAG, DhPublic, Secret, header_mask};
use crate::wire::Suite;

/// Header of a message whose sender knows that its chain was entered.
const SHORT: usize = 1 + 4;
/// Header that carries the sender's Ekp and the length of its previous chain.
const LONG: usize = SHORT + 32 + 4;

const CARRIES_EKP: u8 = 0b01;
const PARITY: u8 = 0b10;

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Parity of the number of the receiver's chains that the sender has entered.
    pub(super) parity: bool,
    /// Number of the message in its chain, from 0.
    pub(super) n: u32,
    /// The sender's Ekp and the number of messages in its previous chain.
    pub(super) turn: Option<(DhPublic, u32)>,
}

/// A header's bytes, unmasked, as they enter the associated data.
pub(super) struct Bytes {
    bytes: [u8; LONG],
    len: usize,
}

impl Bytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Associated data of the body: `ad | 0x02 | header`.
    pub(super) fn associated(&self, ad: &[u8; 32]) -> Associated {
        let mut bytes = [0u8; AD + LONG];
        let suite = [Suite::Ratchet.byte()];
        let parts = ad.iter().chain(&suite).chain(self.as_slice()).copied();
        bytes.iter_mut().zip(parts).for_each(|(b, v)| *b = v);
        Associated { bytes, len: AD + self.len }
    }
}

/// Length of what precedes the header in the associated data.
const AD: usize = 32 + 1;

/// Associated data of a body.
pub(super) struct Associated {
    bytes: [u8; AD + LONG],
    len: usize,
}

impl Associated {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Header {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = [0u8; LONG];
        let mut flags = if self.parity { PARITY } else { 0 };
        let mut len = SHORT;
        if let Some((ekp, previous)) = &self.turn {
            flags |= CARRIES_EKP;
            len = LONG;
            put(&mut bytes, SHORT, ekp.as_bytes());
            put(&mut bytes, SHORT + 32, &previous.to_be_bytes());
        }
        put(&mut bytes, 0, &[flags]);
        put(&mut bytes, 1, &self.n.to_be_bytes());
        Bytes { bytes, len }
    }

    /// Unmasks the header at the start of `message` (without its outermost byte) under a header key.
    /// `None` when what comes out is no header, which is how a wrong key shows.
    pub(super) fn decode(key: &Secret, message: &[u8]) -> Option<(Self, Bytes)> {
        let sample: &[u8; AEAD_TAG] = message.last_chunk()?;
        let visible = message.len().checked_sub(AEAD_TAG)?.min(LONG);
        let mut bytes = [0u8; LONG];
        put(&mut bytes, 0, message.get(..visible)?);
        header_mask(key, sample, &mut bytes);
        let [flags, n0, n1, n2, n3, rest @ ..] = &bytes;
        if flags & !(CARRIES_EKP | PARITY) != 0 {
            return None;
        }
        let (turn, len) = if flags & CARRIES_EKP == 0 {
            (None, SHORT)
        } else {
            let ekp = DhPublic::from_bytes(rest.first_chunk()?).ok()?;
            (Some((ekp, u32::from_be_bytes(*rest.last_chunk()?))), LONG)
        };
        let n = u32::from_be_bytes([*n0, *n1, *n2, *n3]);
        (visible >= len).then_some((Self { parity: flags & PARITY != 0, n, turn }, Bytes { bytes, len }))
    }
}

/// Masks the header that stands at `at` in `message`.
pub(super) fn mask(key: &Secret, message: &mut [u8], at: Range<usize>) {
    let Some(sample) = message.last_chunk::<AEAD_TAG>().copied() else { return };
    if let Some(header) = message.get_mut(at) {
        header_mask(key, &sample, header);
    }
}

fn put(bytes: &mut [u8; LONG], at: usize, value: &[u8]) {
    bytes.iter_mut().skip(at).zip(value).for_each(|(b, v)| *b = *v);
}
