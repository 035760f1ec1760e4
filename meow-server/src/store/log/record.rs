//! What one record of the log says, and its bytes.
//!
//! Stands on `meow-core` and the standard library alone, so that the fuzz targets can take this file as it is.

/// Bytes of an item's record before its body: kind, slot, number, expiry, id.
pub(crate) const ITEM_HEAD: usize = 1 + 8 + 8 + 8 + 16;
/// Bytes of the record of an acknowledgement.
pub(crate) const TAKEN: usize = 1 + 8 + 8 + 8 + 8 + 8;

const KIND_ITEM: u8 = 1;
const KIND_TAKEN: u8 = 2;

/// One change of one mailbox. Integers are big-endian; what the tables hold as signed is never above 2^63 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// `1 | slot u64 | number u64 | expires u64 | id [16] | body`
    Item {
        /// Stands for the mailbox; from 1.
        slot: i64,
        /// From 1.
        number: u64,
        /// Unix seconds.
        expires: u64,
        /// The depositor's idempotency id.
        id: [u8; 16],
        /// The sealed item.
        body: &'a [u8],
    },
    /// `2 | slot u64 | counter u64 | floor u64 | items u64 | bytes u64`
    Taken {
        /// Stands for the mailbox; from 1.
        slot: i64,
        /// The counter that was used.
        counter: u64,
        /// Everything up to this number is acknowledged.
        floor: u64,
        /// How many items went by it.
        items: u64,
        /// Their bytes.
        bytes: u64,
    },
}

impl<'a> Record<'a> {
    /// The length of the encoding.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Item { body, .. } => ITEM_HEAD.saturating_add(body.len()),
            Self::Taken { .. } => TAKEN,
        }
    }

    /// Appends the encoding.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Item { slot, number, expires, id, body } => {
                out.push(KIND_ITEM);
                out.extend_from_slice(&slot.to_be_bytes());
                out.extend_from_slice(&number.to_be_bytes());
                out.extend_from_slice(&expires.to_be_bytes());
                out.extend_from_slice(id);
                out.extend_from_slice(body);
            }
            Self::Taken { slot, counter, floor, items, bytes } => {
                out.push(KIND_TAKEN);
                out.extend_from_slice(&slot.to_be_bytes());
                for value in [counter, floor, items, bytes] {
                    out.extend_from_slice(&value.to_be_bytes());
                }
            }
        }
    }

    /// The record in exactly these bytes; `None` for any that [`encode`](Self::encode) never makes.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&kind, mut rest) = bytes.split_first()?;
        let slot = i64::try_from(word(&mut rest)?).ok().filter(|slot| *slot > 0)?;
        match kind {
            KIND_ITEM => {
                let number = number(&mut rest).filter(|number| *number > 0)?;
                let expires = word(&mut rest)?;
                let (id, body) = rest.split_first_chunk::<16>()?;
                Some(Self::Item { slot, number, expires, id: *id, body })
            }
            KIND_TAKEN => {
                let counter = word(&mut rest)?;
                let (floor, items, bytes) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
                // No item has no number.
                let sound = rest.is_empty() && items <= floor && (items > 0 || bytes == 0);
                sound.then_some(Self::Taken { slot, counter, floor, items, bytes })
            }
            _ => None,
        }
    }
}

fn word(rest: &mut &[u8]) -> Option<u64> {
    let (word, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_be_bytes(*word))
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    word(rest).filter(|number| *number <= i64::MAX.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(record: Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        record.encode(&mut out);
        assert_eq!(out.len(), record.len());
        out
    }

    #[test]
    fn records_come_back_and_nothing_else_does() {
        let item = Record::Item { slot: 7, number: 3, expires: u64::MAX, id: [5; 16], body: b"sealed" };
        let taken = Record::Taken { slot: 1, counter: u64::MAX, floor: 9, items: 2, bytes: 77 };
        for record in [item, taken] {
            let bytes = encoded(record);
            assert_eq!(Record::decode(&bytes), Some(record));
            assert_eq!(Record::decode(&bytes[..ITEM_HEAD - 1]), None);
        }
        assert_eq!(Record::decode(&[&encoded(taken)[..], &[0]].concat()), None, "trailing bytes");
        let zero = Record::Item { slot: 1, number: 0, expires: 1, id: [0; 16], body: b"" };
        assert_eq!(Record::decode(&encoded(zero)), None);
        let closed = Record::Item { slot: 0, number: 1, expires: 1, id: [0; 16], body: b"" };
        assert_eq!(Record::decode(&encoded(closed)), None);
        let large = Record::Taken { slot: 1, counter: 1, floor: 1 << 63, items: 0, bytes: 0 };
        assert_eq!(Record::decode(&encoded(large)), None);
        let many = Record::Taken { slot: 1, counter: 1, floor: 1, items: 2, bytes: 0 };
        assert_eq!(Record::decode(&encoded(many)), None);
        assert_eq!(Record::decode(&[3; 60]), None);
        assert_eq!(Record::decode(&[]), None);
    }
}
