//! Thin plaintexts: the same body in the bytes that a radio frame has (spec, chapter "Messages", section "Thin").

use serde::{Deserialize, Serialize};

use super::{Body, Content, Data};
use crate::crypto::Signature;
use crate::ratchet::Numbers;
use crate::request::THIN_ITEM_SIZES;
use crate::wire::{Blob, Fixed, Text, WireError};

/// Ends the content and precedes zeros only: `0x80 | code << 1 | signed`.
const MARKER: u8 = 0x80;
const SIGNED: u8 = 1;
/// The content as it always is.
const WHOLE: u8 = 0;
/// A text without the time.
const TEXT: u8 = 1;
/// Application data without the time.
const DATA: u8 = 2;

/// The values of the low 16 bits of `seen`.
const SEEN_RANGE: u64 = 1 << 16;
/// A `seen` may be so far above what its reader knows to have sent: the reader's store is an older copy then.
const SEEN_AHEAD: u64 = 1 << 14;
/// A side that lacks one message and has so many after it says its `seen` in full.
const SEEN_BEHIND: u64 = 1 << 15;

/// What stands first in a plaintext that says its numbers.
#[derive(Serialize, Deserialize)]
struct Numbered {
    seq: u64,
    epoch: u32,
    seen: u64,
    digest: Fixed<4>,
}

/// The smallest thin item size that holds so many bytes.
pub fn thin_item_size(len: usize) -> Option<usize> {
    THIN_ITEM_SIZES.into_iter().find(|size| len <= *size)
}

/// Whether a side that has seen everything up to `seen`, and the message `top`, can leave away all but the low bits
/// of `seen`.
pub fn seen_is_short(seen: u64, top: u64) -> bool {
    top.saturating_sub(seen) < SEEN_BEHIND
}

/// The `seen` that low bits mean to a side whose last message is `sent`.
fn seen_in_full(low: u16, sent: u64) -> u64 {
    let highest = sent.saturating_add(SEEN_AHEAD);
    let down = highest.wrapping_sub(u64::from(low)) % SEEN_RANGE;
    highest.checked_sub(down).unwrap_or(u64::from(low))
}

/// The content as it stands in a thin plaintext, under its code.
fn compact(content: &Content) -> Result<(u8, Vec<u8>), WireError> {
    match content {
        Content::Text { sent: 0, text } => Ok((TEXT, text.as_bytes().to_vec())),
        Content::Data(data) if data.sent == 0 => {
            let kind = u8::try_from(data.kind.len()).map_err(|_| WireError::TooLong)?;
            Ok((DATA, [&[kind], data.kind.as_bytes(), &data.data].concat()))
        }
        other => Ok((WHOLE, postcard::to_stdvec(other).map_err(|_| WireError::Invalid)?)),
    }
}

fn expand(code: u8, bytes: &[u8]) -> Result<Content, WireError> {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| WireError::Invalid);
    match code {
        WHOLE => {
            let (content, rest) =
                postcard::take_from_bytes::<Content>(bytes).map_err(|_| WireError::Invalid)?;
            if !rest.is_empty() {
                return Err(WireError::Trailing);
            }
            // One form for each content, and one encoding.
            if compact(&content)? != (WHOLE, bytes.to_vec()) {
                return Err(WireError::NotCanonical);
            }
            Ok(content)
        }
        TEXT => Ok(Content::Text { sent: 0, text: Text::new(utf8(bytes)?).map_err(|_| WireError::TooLong)? }),
        DATA => {
            let (len, rest) = bytes.split_first().ok_or(WireError::Invalid)?;
            let (kind, data) = rest.split_at_checked(usize::from(*len)).ok_or(WireError::Invalid)?;
            let kind = Text::new(utf8(kind)?).map_err(|_| WireError::TooLong)?;
            if kind.is_empty() {
                return Err(WireError::Invalid);
            }
            let data = Blob::new(data.to_vec()).map_err(|_| WireError::TooLong)?;
            Ok(Content::Data(Data { sent: 0, kind, data }))
        }
        _ => Err(WireError::Invalid),
    }
}

impl Body {
    /// Makes the body fit the smallest thin item that can hold it, by leaving away the time of a text if need be. Gives
    /// that size, with `overhead` bytes of ratchet; `None` beyond the largest. To be signed after, if `signed`.
    /// `implied` says that the numbers do not travel.
    ///
    /// # Errors
    /// [`WireError`] when the content cannot be encoded.
    pub fn fit_thin(
        &mut self,
        implied: bool,
        signed: bool,
        overhead: usize,
    ) -> Result<Option<usize>, WireError> {
        let around = self.thin_head(implied)?.len() + if signed { 64 } else { 0 } + 1 + overhead;
        let size = |content: &Content| Ok(thin_item_size(around + compact(content)?.1.len()));
        let whole = size(&self.content)?;
        let Some(timeless) = self.content.timeless() else { return Ok(whole) };
        let without = size(&timeless)?;
        let smaller = match (whole, without) {
            (Some(whole), Some(without)) => without < whole,
            (None, without) => without.is_some(),
            _ => false,
        };
        if !smaller {
            return Ok(whole);
        }
        self.content = timeless;
        Ok(without)
    }

    fn thin_head(&self, implied: bool) -> Result<Vec<u8>, WireError> {
        if implied {
            let [.., high, low] = self.seen.to_be_bytes();
            return Ok([&[high, low], self.digest.as_bytes().as_slice()].concat());
        }
        let Self { seq, epoch, seen, digest, .. } = *self;
        postcard::to_stdvec(&Numbered { seq, epoch, seen, digest }).map_err(|_| WireError::Invalid)
    }

    /// The thin plaintext of `len` bytes.
    ///
    /// # Errors
    /// [`WireError::TooLong`] when it needs more.
    pub fn to_thin(&self, implied: bool, len: usize) -> Result<Vec<u8>, WireError> {
        let (code, content) = compact(&self.content)?;
        let mut plain = self.thin_head(implied)?;
        plain.extend_from_slice(&content);
        let mut marker = MARKER | code << 1;
        if let Some(sig) = &self.sig {
            plain.extend_from_slice(sig.as_bytes());
            marker |= SIGNED;
        }
        plain.push(marker);
        if plain.len() > len {
            return Err(WireError::TooLong);
        }
        plain.resize(len, 0);
        Ok(plain)
    }

    /// Reads a thin plaintext. `implied` are its numbers, where it does not say them; `sent` is the last sequence of the
    /// reader.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn from_thin(plain: &[u8], implied: Option<Numbers>, sent: u64) -> Result<Self, WireError> {
        let end = plain.iter().rposition(|b| *b != 0).ok_or(WireError::Invalid)?;
        let (marker, rest) = plain.get(..=end).and_then(<[u8]>::split_last).ok_or(WireError::Invalid)?;
        if marker & !0b111 != MARKER {
            return Err(WireError::Invalid);
        }
        let (head, rest) = match implied {
            Some(Numbers { seq, epoch }) => {
                let ([high, low], rest) = rest.split_first_chunk().ok_or(WireError::Invalid)?;
                let (digest, rest) = rest.split_first_chunk().ok_or(WireError::Invalid)?;
                let seen = seen_in_full(u16::from_be_bytes([*high, *low]), sent);
                (Numbered { seq, epoch, seen, digest: Fixed(*digest) }, rest)
            }
            None => {
                let (head, after) =
                    postcard::take_from_bytes::<Numbered>(rest).map_err(|_| WireError::Invalid)?;
                let again = postcard::to_stdvec(&head).map_err(|_| WireError::Invalid)?;
                if rest.strip_suffix(after) != Some(&again) {
                    return Err(WireError::NotCanonical);
                }
                (head, after)
            }
        };
        let (content, sig): (&[u8], Option<Signature>) = if marker & SIGNED == 0 {
            (rest, None)
        } else {
            let (content, sig) = rest.split_last_chunk::<64>().ok_or(WireError::Invalid)?;
            (content, Some(Fixed(*sig)))
        };
        let content = expand((marker & !MARKER) >> 1, content)?;
        let Numbered { seq, epoch, seen, digest } = head;
        Ok(Self { seq, epoch, seen, digest, content, sig })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_bits_of_seen_mean_the_nearest_possible() {
        for (seen, sent) in [
            (0, 0),
            (0, 40_000),
            (7, 7),
            (70_000, 70_000),
            (70_000, 90_000),
            (65_535, 65_536),
            (1 << 61, (1 << 61) + 5),
        ] {
            assert_eq!(seen_in_full(seen as u16, sent), seen);
        }
        // The copy of a store does not know of what it sent.
        assert_eq!(seen_in_full(9, 3), 9);
        assert_eq!(seen_in_full(16_384, 0), 16_384);
        assert_eq!(seen_in_full(60_000, 0), 60_000, "no lower number has these bits");
        assert_eq!(seen_in_full((100_000u64 + 16_384) as u16, 100_000), 116_384);
        assert_eq!(seen_in_full((100_000u64 + 16_385) as u16, 100_000), 116_385 - 65_536);
    }
}
