//! An item alone in a thin packet: it is ratchet ciphertext already, so it is authenticated and not encrypted again.

use subtle::ConstantTimeEq;

use super::{Direction, SESSION_TAG, SessionKeys, Tag};
use crate::crypto::{CryptoError, header_mask, mac};
use crate::request::THIN_ITEM_OVERHEAD;
use crate::wire::{Suite, is_thin};

/// HMAC-SHA256 cut to 64 bits (RFC 9053, section 3.1).
const MAC: usize = 8;

impl SessionKeys {
    /// Puts an item and a kind byte into the thin packet that they fill: `tag[6] | mac[8] | masked kind | item`. There is no
    /// nonce that a restored snapshot could repeat.
    ///
    /// # Errors
    /// [`CryptoError::Length`] for an item that fills no thin packet.
    pub fn seal_item(
        &self,
        direction: Direction,
        counter: u64,
        kind: u8,
        item: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        if !is_thin(item.len() + THIN_ITEM_OVERHEAD) {
            return Err(CryptoError::Length);
        }
        let tag = self.tag(direction, counter);
        let code = self.item_mac(direction, counter, &tag, kind, item);
        let kind = self.masked(direction, &code, item, kind)?;
        Ok([&tag[..], &code, &[kind], item].concat())
    }

    /// The kind byte and the item in the thin packet with this counter.
    ///
    /// # Errors
    /// [`CryptoError::Rejected`] for anything that was not made so.
    pub fn open_item<'a>(
        &self,
        direction: Direction,
        counter: u64,
        packet: &'a [u8],
    ) -> Result<(u8, &'a [u8]), CryptoError> {
        let split = |packet: &'a [u8]| -> Option<(Tag, [u8; MAC], u8, &'a [u8])> {
            let (tag, rest) = packet.split_first_chunk::<SESSION_TAG>()?;
            let (code, rest) = rest.split_first_chunk::<MAC>()?;
            let (kind, item) = rest.split_first()?;
            is_thin(packet.len()).then_some((*tag, *code, *kind, item))
        };
        let (tag, code, masked, item) = split(packet).ok_or(CryptoError::Rejected)?;
        let kind = self.masked(direction, &code, item, masked)?;
        let right = self.item_mac(direction, counter, &tag, kind, item);
        let holds = code.ct_eq(&right) & tag.ct_eq(&self.tag(direction, counter));
        if bool::from(holds) { Ok((kind, item)) } else { Err(CryptoError::Rejected) }
    }

    /// Over `0x05 | direction | 0x02 | tag | counter | kind | item`: every part but the last has one length.
    fn item_mac(&self, direction: Direction, counter: u64, tag: &Tag, kind: u8, item: &[u8]) -> [u8; MAC] {
        let head = [Suite::Session.byte(), direction as u8, 2];
        let key = &self.one_way(direction).mac;
        let [a, b, c, d, e, f, g, h, ..] = mac(key, &[&head, tag, &counter.to_be_bytes(), &[kind], item]);
        [a, b, c, d, e, f, g, h]
    }

    /// Masks or unmasks the kind byte from the MAC and the first 8 bytes of the item (RFC 9001, section 5.4).
    fn masked(
        &self,
        direction: Direction,
        code: &[u8; MAC],
        item: &[u8],
        kind: u8,
    ) -> Result<u8, CryptoError> {
        let start: &[u8; 8] = item.first_chunk().ok_or(CryptoError::Rejected)?;
        let mut sample = [0; 16];
        sample.iter_mut().zip(code.iter().chain(start)).for_each(|(s, b)| *s = *b);
        let mut byte = [kind];
        header_mask(&self.one_way(direction).mask, &sample, &mut byte);
        let [kind] = byte;
        Ok(kind)
    }
}
