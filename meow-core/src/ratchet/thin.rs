//! Thin messages: the same chains and keys, with a header of two bytes (spec, chapter "Ratchet", section "Thin").
//!
//! Neither the outermost byte nor the whole number in the chain travels, and the numbers of the message layer only
//! when the receiver cannot know them. All of it is associated data.

use crate::crypto::{AEAD_TAG, DhPublic, Secret, header_mask, open_siv};
use crate::wire::Suite;

use super::receive::{Change, Found};
use super::skipped::{MAX_SKIP, find, highest};
use super::{NONCE, Numbers, Ratchet, RatchetError, Receiving, Step};

/// Bytes that a thin message adds to its plaintext when its header carries no Ekp.
pub const THIN_OVERHEAD: usize = SHORT + AEAD_TAG;
/// Bytes that a thin message adds to its plaintext when its header carries the sender's Ekp.
pub const THIN_OVERHEAD_EKP: usize = LONG + AEAD_TAG;

const SHORT: usize = 2;
/// Header that carries the sender's Ekp and the length of its previous chain.
const LONG: usize = SHORT + 32 + 4;

const CARRIES_EKP: u16 = 1 << 15;
const PARITY: u16 = 1 << 14;
const NUMBERED: u16 = 1 << 13;
/// The low bits of the number in the chain.
const LOW: u16 = NUMBERED - 1;

/// What a thin header says.
#[derive(Clone, Copy)]
pub(super) struct ThinHeader {
    /// As in the whole header.
    pub(super) parity: bool,
    /// The plaintext says its numbers.
    pub(super) numbered: bool,
    /// Low bits of the number in the chain.
    pub(super) low: u16,
    /// The sender's Ekp and the number of messages in its previous chain.
    pub(super) turn: Option<(DhPublic, u32)>,
}

impl ThinHeader {
    pub(super) fn low(n: u32) -> u16 {
        let [_, _, high, low] = n.to_be_bytes();
        u16::from_be_bytes([high, low]) & LOW
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let flag = |set, bit| if set { bit } else { 0 };
        let first = flag(self.turn.is_some(), CARRIES_EKP)
            | flag(self.parity, PARITY)
            | flag(self.numbered, NUMBERED)
            | (self.low & LOW);
        let mut bytes = Vec::with_capacity(LONG);
        bytes.extend_from_slice(&first.to_be_bytes());
        if let Some((ekp, previous)) = &self.turn {
            bytes.extend_from_slice(ekp.as_bytes());
            bytes.extend_from_slice(&previous.to_be_bytes());
        }
        bytes
    }

    /// Unmasks the header of `message` under a header key. Nearly every wrong key gives some header: only opening the
    /// body tells.
    fn decode(key: &Secret, message: &[u8]) -> Option<Self> {
        let sample: &[u8; AEAD_TAG] = message.last_chunk()?;
        let visible = message.get(..message.len().checked_sub(AEAD_TAG)?.min(LONG))?;
        let mut bytes = [0u8; LONG];
        bytes.iter_mut().zip(visible).for_each(|(b, v)| *b = *v);
        header_mask(key, sample, &mut bytes);
        let [high, low, rest @ ..] = &bytes;
        let first = u16::from_be_bytes([*high, *low]);
        let (turn, len) = if first & CARRIES_EKP == 0 {
            (None, SHORT)
        } else {
            let ekp = DhPublic::from_bytes(rest.first_chunk()?).ok()?;
            (Some((ekp, u32::from_be_bytes(*rest.last_chunk()?))), LONG)
        };
        let numbered = first & NUMBERED != 0;
        // Whoever has to be told the Ekp has to be told the numbers.
        let fits = visible.len() >= len && (numbered || turn.is_none());
        fits.then_some(Self { parity: first & PARITY != 0, numbered, low: first & LOW, turn })
    }

    /// Associated data of the body: `ad | 0x06 | header | n | numbers, if the plaintext does not say them`.
    pub(super) fn associated(&self, ad: &[u8; 32], n: u32, numbers: Numbers) -> Vec<u8> {
        let mut bytes = self.bound(ad, n);
        if !self.numbered {
            bytes.extend_from_slice(&numbers.seq.to_be_bytes());
            bytes.extend_from_slice(&numbers.epoch.to_be_bytes());
        }
        bytes
    }

    fn bound(&self, ad: &[u8; 32], n: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32 + 1 + LONG + 4 + 12);
        bytes.extend_from_slice(ad);
        bytes.push(Suite::Thin.byte());
        bytes.extend_from_slice(&self.encode());
        bytes.extend_from_slice(&n.to_be_bytes());
        bytes
    }

    /// Opens the body as message `n` of a chain whose first message has the numbers `first`.
    fn open(
        &self,
        key: &Secret,
        ad: &[u8; 32],
        n: u32,
        first: Option<Numbers>,
        message: &[u8],
    ) -> Option<(Vec<u8>, Option<Numbers>)> {
        let numbers = if self.numbered { None } else { Some(first?.at(n)?) };
        let associated = match numbers {
            Some(numbers) => self.associated(ad, n, numbers),
            None => self.bound(ad, n),
        };
        let len = if self.turn.is_some() { LONG } else { SHORT };
        let plaintext = open_siv(key, &NONCE, &associated, message.get(len..)?).ok()?;
        Some((plaintext, numbers))
    }
}

impl Receiving {
    /// The number that these low bits mean, if it is one of the next that may be reached.
    fn ahead(&self, low: u16) -> Option<u32> {
        let ahead = low.wrapping_sub(ThinHeader::low(self.n)) & LOW;
        self.n.checked_add(u32::from(ahead)).filter(|_| u32::from(ahead) <= MAX_SKIP)
    }
}

/// A thin message that was opened.
pub struct OpenedThin {
    /// What was encrypted.
    pub plaintext: Vec<u8>,
    /// The message's numbers, when the plaintext does not say them.
    pub implied: Option<Numbers>,
    /// To be applied when the plaintext is stored.
    pub step: Step,
}

impl std::fmt::Debug for OpenedThin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedThin").field("implied", &self.implied).finish_non_exhaustive()
    }
}

impl Ratchet {
    /// Decrypts one thin message without changing the state, as [`decrypt`](Self::decrypt) does a whole one.
    ///
    /// # Errors
    /// [`RatchetError::Rejected`], also for a message that was opened before: what is left of its number does not show
    /// that it was.
    pub fn decrypt_thin(&self, ad: &[u8; 32], message: &[u8]) -> Result<OpenedThin, RatchetError> {
        let mut look = Look { ad, message, implied: None };
        let found = self
            .current_thin(&mut look)
            .or_else(|| self.entering_thin(&mut look))
            .or_else(|| self.former_thin(&mut look));
        match found {
            Some((plaintext, change)) => {
                let step = Step { revision: self.revision, change };
                Ok(OpenedThin { plaintext, implied: look.implied, step })
            }
            None => Err(RatchetError::Rejected),
        }
    }

    fn current_thin(&self, look: &mut Look<'_>) -> Option<Found> {
        let current = self.receiving.as_ref()?;
        let header = ThinHeader::decode(&current.header, look.message)?;
        if header.turn.is_some_and(|(ekp, _)| ekp != current.ekp) {
            return None;
        }
        let mut try_key = |n: u32, key: &Secret| look.open(&header, key, n, current.first);
        if let Some(n) = current.ahead(header.low)
            && let Some(found) = current.forward(n, header.parity, |key| try_key(n, key))
        {
            return Some(found);
        }
        let n = highest(&current.skipped, |n| ThinHeader::low(n) == header.low)?;
        current.late(n, header.parity, |key| try_key(n, key))
    }

    fn entering_thin(&self, look: &mut Look<'_>) -> Option<Found> {
        let header = ThinHeader::decode(&self.next_receive, look.message)?;
        let n = u32::from(header.low);
        self.enter(header.turn?, n, |key| look.open(&header, key, n, None))
    }

    fn former_thin(&self, look: &mut Look<'_>) -> Option<Found> {
        self.former.iter().enumerate().rev().find_map(|(chain, former)| {
            let header = ThinHeader::decode(&former.header, look.message)?;
            if header.turn.is_some_and(|(ekp, _)| ekp != former.ekp) {
                return None;
            }
            let n = highest(&former.keys, |n| ThinHeader::low(n) == header.low)?;
            let (at, key) = find(&former.keys, n)?;
            Some((look.open(&header, key, n, former.first)?, Change::Former { chain, at }))
        })
    }
}

/// A message under inspection, and what was found out besides its plaintext.
struct Look<'a> {
    ad: &'a [u8; 32],
    message: &'a [u8],
    implied: Option<Numbers>,
}

impl Look<'_> {
    fn open(&mut self, header: &ThinHeader, key: &Secret, n: u32, first: Option<Numbers>) -> Option<Vec<u8>> {
        let (plaintext, implied) = header.open(key, self.ad, n, first, self.message)?;
        self.implied = implied;
        Some(plaintext)
    }
}
