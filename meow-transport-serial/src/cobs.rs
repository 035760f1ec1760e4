//! Consistent overhead byte stuffing (Cheshire and Baker): no zero within a frame. Blocks are found and copied whole, not byte
//! by byte, and the one form that an encoder writes is the only one that is read.

use memchr::memchr;

/// The longest block: its length byte is 255, and no zero follows it.
const BLOCK: usize = 254;
const FULL: u8 = 255;

/// Appends the encoding of these bytes, without a delimiter.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + bytes.len() / BLOCK + 1);
    let mut rest = bytes;
    loop {
        let block = rest.get(..BLOCK).unwrap_or(rest);
        let zero = memchr(0, block);
        let length = zero.unwrap_or(block.len());
        // At most 255.
        out.push(u8::try_from(length + 1).unwrap_or(FULL));
        out.extend_from_slice(block.get(..length).unwrap_or(block));
        // A block that is not full stands for a zero after it, but for the last one.
        let ends = zero.is_none() && (length < BLOCK || rest.len() == BLOCK);
        if ends {
            return;
        }
        rest = rest.get(length + usize::from(zero.is_some())..).unwrap_or_default();
    }
}

/// Takes an encoding apart. None for what [`encode`] would not have written.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let (mut rest, mut before) = (bytes, 0);
    loop {
        let (code, after) = rest.split_first().filter(|(code, _)| **code > 0)?;
        let (block, next) = after.split_at_checked(usize::from(code - 1))?;
        if memchr(0, block).is_some() {
            return None;
        }
        out.extend_from_slice(block);
        if next.is_empty() {
            // After a full block, an empty one says nothing.
            return (before != FULL || !block.is_empty()).then_some(out);
        }
        if *code != FULL {
            out.push(0);
        }
        (rest, before) = (next, *code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(bytes, &mut out);
        out
    }

    #[test]
    fn the_ends_of_blocks_are_right() {
        for length in [0, 1, 2, 252, 253, 254, 255, 256, 507, 508, 509, 1016, 1017] {
            for zero in (0..length).map(Some).chain([None]) {
                let mut bytes = vec![7; length];
                if let Some(at) = zero {
                    bytes[at] = 0;
                }
                let line = encoded(&bytes);
                assert_eq!(line, ::cobs::encode_vec(&bytes), "{length}, zero at {zero:?}");
                assert_eq!(decode(&line).as_deref(), Some(&bytes[..]));
            }
        }
        let full = encoded(&[7; 254]);
        assert_eq!(decode(&[&full[..], &[1]].concat()), None, "a needless block");
        assert_eq!(decode(&[&full[..], &[1, 1]].concat()), Some([&[7; 254][..], &[0]].concat()));
        assert_eq!(decode(&[]), None);
    }

    proptest! {
        #[test]
        fn it_is_what_others_call_cobs(bytes in prop::collection::vec(prop_oneof![Just(0u8), 1u8..=255, Just(9)], 0..1500)) {
            let line = encoded(&bytes);
            prop_assert_eq!(&line, &::cobs::encode_vec(&bytes));
            prop_assert_eq!(decode(&line), Some(bytes));
        }

        #[test]
        fn what_is_read_has_one_form(line in prop::collection::vec(prop_oneof![Just(0u8), 1u8..6, 250u8..=255], 0..900)) {
            let others = ::cobs::decode_vec(&line).ok().filter(|whole| ::cobs::encode_vec(whole) == line);
            prop_assert_eq!(decode(&line), others);
        }
    }
}
