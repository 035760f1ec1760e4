//! The bytes of a segment: `tag[6] | kind | ...`, decoded strictly (spec, chapter "Segments").

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::wire::THIN_SIZES;

/// Names one link on its medium. Random, so that it says nothing of who talks.
pub type Tag = [u8; 6];

/// Bytes before the data of a [`Segment::Data`].
pub const DATA_HEADER: usize = 9;
/// Bytes of a [`Segment::Ack`] before its bitmap.
const ACK_HEADER: usize = 10;
/// Bytes of a [`Segment::Reset`].
const RESET: usize = 7;
/// Most segments under way; each has a bit in the bitmap.
pub const MAX_WINDOW: u8 = 64;

const KIND: u8 = 0b1100_0000;
const DATA: u8 = 0b0000_0000;
const ACK: u8 = 0b0100_0000;
const BREAK: u8 = 0b1000_0000;
const ACCEPTOR: u8 = 0b0010_0000;
const OPEN: u8 = 0b0001_0000;
const POLL: u8 = 0b0000_1000;
const END: u8 = 0b0000_0100;
const FIN: u8 = 0b0000_0010;

/// Why bytes are no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// Too short, or of a length that only raw packets have.
    #[error("no segment has this length")]
    Length,
    /// A tag that could be taken for the outermost byte of a packet.
    #[error("the tag begins with a byte below 16")]
    Tag,
    /// An unknown kind, or marks that do not go together.
    #[error("not a kind of segment")]
    Kind,
    /// A window over the largest, or a bitmap too long or with zeros at its end.
    #[error("not a canonical acknowledgement")]
    Ack,
}

/// One frame of a segmented link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A piece of a packet.
    Data(Data),
    /// What has arrived of the other direction.
    Ack(Ack),
    /// The link is broken off.
    Reset {
        /// The link.
        tag: Tag,
        /// Sent by the side that accepted the link.
        acceptor: bool,
    },
}

/// A piece of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// The link.
    pub tag: Tag,
    /// Sent by the side that accepted the link.
    pub acceptor: bool,
    /// The dialling side has not heard of the far side yet: whoever listens may take this as a new link.
    pub open: bool,
    /// An acknowledgement is wanted now; the sender is silent until then.
    pub poll: bool,
    /// The last piece of its packet.
    pub end: bool,
    /// Nothing follows in this direction.
    pub fin: bool,
    /// Number of the piece within its direction, modulo 2^16.
    pub seq: u16,
    /// The piece; empty only for a `fin` that stands alone.
    pub data: Bytes,
}

/// What has arrived of the other direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The link.
    pub tag: Tag,
    /// Sent by the side that accepted the link.
    pub acceptor: bool,
    /// The same is wanted back.
    pub poll: bool,
    /// The first piece that is missing, modulo 2^16.
    pub base: u16,
    /// How many pieces from `base` on are taken, 0 to 64.
    pub window: u8,
    /// Bit n: piece `base + 1 + n` is there.
    pub bitmap: u64,
}

impl Segment {
    /// The frame of this segment.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(DATA_HEADER + 10);
        match self {
            Self::Data(data) => {
                out.reserve(data.data.len());
                out.put_slice(&data.tag);
                out.put_u8(
                    DATA | bit(data.acceptor, ACCEPTOR)
                        | bit(data.open, OPEN)
                        | bit(data.poll, POLL)
                        | bit(data.end, END)
                        | bit(data.fin, FIN),
                );
                out.put_u16(data.seq);
                out.put_slice(&data.data);
            }
            Self::Ack(ack) => {
                out.put_slice(&ack.tag);
                out.put_u8(ACK | bit(ack.acceptor, ACCEPTOR) | bit(ack.poll, POLL));
                out.put_u16(ack.base);
                out.put_u8(ack.window);
                let bytes = (64 - ack.bitmap.leading_zeros() as usize).div_ceil(8);
                out.put_slice(ack.bitmap.to_le_bytes().get(..bytes).unwrap_or_default());
            }
            Self::Reset { tag, acceptor } => {
                out.put_slice(tag);
                out.put_u8(BREAK | bit(*acceptor, ACCEPTOR));
            }
        }
        out.freeze()
    }

    /// Takes a frame apart. What is accepted encodes to the same bytes again.
    ///
    /// # Errors
    /// [`SegmentError`]; nothing is copied.
    pub fn decode(frame: &Bytes) -> Result<Self, SegmentError> {
        if THIN_SIZES.contains(&frame.len()) {
            return Err(SegmentError::Length);
        }
        let (tag, rest) = frame.split_first_chunk::<6>().ok_or(SegmentError::Length)?;
        let (kind, rest) = rest.split_first().ok_or(SegmentError::Length)?;
        let (tag, kind) = (*tag, *kind);
        if !is_tag(&tag) {
            return Err(SegmentError::Tag);
        }
        let has = |mark: u8| kind & mark != 0;
        let acceptor = has(ACCEPTOR);
        match kind & KIND {
            DATA => {
                let (seq, data) = rest.split_first_chunk::<2>().ok_or(SegmentError::Length)?;
                let (open, poll, end, fin) = (has(OPEN), has(POLL), has(END), has(FIN));
                // An end that stands alone carries nothing; a piece that ends the direction ends its packet.
                let whole = if data.is_empty() { fin && !end } else { !fin || end };
                if kind & 1 != 0 || (open && acceptor) || !whole {
                    return Err(SegmentError::Kind);
                }
                let data = frame.slice(DATA_HEADER..);
                let seq = u16::from_be_bytes(*seq);
                Ok(Self::Data(Data { tag, acceptor, open, poll, end, fin, seq, data }))
            }
            ACK => {
                let (base, rest) = rest.split_first_chunk::<2>().ok_or(SegmentError::Length)?;
                let (window, map) = rest.split_first().ok_or(SegmentError::Length)?;
                if kind & !(KIND | ACCEPTOR | POLL) != 0 {
                    return Err(SegmentError::Kind);
                }
                if *window > MAX_WINDOW || map.len() > 8 || map.last() == Some(&0) {
                    return Err(SegmentError::Ack);
                }
                let mut bytes = [0; 8];
                bytes.iter_mut().zip(map).for_each(|(to, from)| *to = *from);
                let bitmap = u64::from_le_bytes(bytes);
                Ok(Self::Ack(Ack {
                    tag,
                    acceptor,
                    poll: has(POLL),
                    base: u16::from_be_bytes(*base),
                    window: *window,
                    bitmap,
                }))
            }
            BREAK if kind & !(KIND | ACCEPTOR) != 0 => Err(SegmentError::Kind),
            BREAK if frame.len() != RESET => Err(SegmentError::Length),
            BREAK => Ok(Self::Reset { tag, acceptor }),
            _ => Err(SegmentError::Kind),
        }
    }
}

fn bit(set: bool, mark: u8) -> u8 {
    if set { mark } else { 0 }
}

/// Whether a frame is an acknowledgement that asks for nothing: somebody waits for it, and nobody else sends one now.
pub fn is_answer(frame: &[u8]) -> bool {
    frame.get(6).is_some_and(|kind| kind & (KIND | POLL) == ACK)
        && (ACK_HEADER..=LONGEST_ACK).contains(&frame.len())
}

/// Whether this can be a tag: it cannot be taken for an outermost version-and-suite byte of version 0.
pub(super) fn is_tag(tag: &Tag) -> bool {
    tag[0] >= 0x10
}

/// A tag of these bytes: those that would begin like a packet are moved out of the way.
pub(super) fn tag_from(mut bytes: Tag) -> Tag {
    if bytes[0] < 0x10 {
        bytes[0] |= 0x80;
    }
    bytes
}

/// How many of `left` bytes fit into one segment of at most `max_frame` bytes, header included. Never makes a frame
/// of a length that only raw packets have.
pub(super) fn piece(left: usize, max_frame: usize) -> usize {
    let fits = left.min(max_frame.saturating_sub(DATA_HEADER));
    if THIN_SIZES.contains(&(fits + DATA_HEADER)) { fits - 1 } else { fits }
}

/// Bytes of an acknowledgement at its longest: what the medium is kept free for after a poll.
pub(super) const LONGEST_ACK: usize = ACK_HEADER + 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag() -> impl Strategy<Value = Tag> {
        any::<Tag>().prop_map(tag_from)
    }

    prop_compose! {
        fn data()(
            tag in tag(), acceptor: bool, open: bool, poll: bool, end: bool, fin: bool, seq: u16,
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) -> Segment {
            let alone = data.is_empty();
            let data = data.get(..piece(data.len(), 1000)).unwrap_or_default().to_vec();
            let fin = if alone { true } else { fin };
            let end = !alone && (end || fin);
            Segment::Data(Data { tag, acceptor, open: open && !acceptor, poll, end, fin, seq, data: data.into() })
        }
    }
    prop_compose! {
        fn ack()(tag in tag(), acceptor: bool, poll: bool, base: u16, window in 0..=MAX_WINDOW, bitmap: u64) -> Segment {
            Segment::Ack(Ack { tag, acceptor, poll, base, window, bitmap })
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(segment in prop_oneof![data(), ack()]) {
            let bytes = segment.encode();
            prop_assert!(!THIN_SIZES.contains(&bytes.len()));
            prop_assert_eq!(Segment::decode(&bytes), Ok(segment));
        }

        #[test]
        fn what_decodes_encodes_to_itself(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let bytes = Bytes::from(bytes);
            if let Ok(segment) = Segment::decode(&bytes) {
                prop_assert_eq!(segment.encode(), bytes);
            }
        }

        #[test]
        fn pieces_make_progress_and_no_raw_length(left in 1usize..70_000, max in 11usize..40_000) {
            let n = piece(left, max);
            prop_assert!(n >= 1 && n <= left && n + DATA_HEADER <= max);
            prop_assert!(!THIN_SIZES.contains(&(n + DATA_HEADER)));
        }
    }

    #[test]
    fn each_refusal_has_its_name() {
        let refused = |bytes: &[u8]| Segment::decode(&Bytes::copy_from_slice(bytes)).unwrap_err();
        let frame = |kind: u8, rest: &[u8]| [&[0x10, 2, 3, 4, 5, 6, kind], rest].concat();
        assert_eq!(refused(&[]), SegmentError::Length);
        assert_eq!(refused(&[0x0f, 0, 0, 0, 0, 0, BREAK]), SegmentError::Tag);
        for size in THIN_SIZES {
            assert_eq!(refused(&vec![0x20; size]), SegmentError::Length);
        }
        assert_eq!(refused(&frame(DATA, &[0])), SegmentError::Length);
        // Nothing in it; an end without its packet's end; an acceptor that opens; the reserved bit and kind.
        for (kind, data) in [(DATA, &b""[..]), (FIN, b"x"), (OPEN | ACCEPTOR, b"x"), (1, b"x"), (KIND, b"x")]
        {
            assert_eq!(refused(&frame(kind, &[&[0, 1], data].concat())), SegmentError::Kind);
        }
        assert_eq!(refused(&frame(FIN | END, &[0, 1])), SegmentError::Kind);
        assert_eq!(refused(&frame(ACK, &[0, 1])), SegmentError::Length);
        assert_eq!(refused(&frame(ACK | OPEN, &[0, 1, 9])), SegmentError::Kind);
        for bad in [&[0, 1, 65][..], &[0, 1, 9, 1, 0], &[0, 1, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1]] {
            assert_eq!(refused(&frame(ACK, bad)), SegmentError::Ack);
        }
        assert_eq!(refused(&frame(BREAK, &[0])), SegmentError::Length);
        assert_eq!(refused(&frame(BREAK | POLL, &[])), SegmentError::Kind);
    }
}
