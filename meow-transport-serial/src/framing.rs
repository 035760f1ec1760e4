//! COBS and CRC-16: `COBS(frame | CRC-16/X-25, little-endian) | 00`, 4 bytes more than a frame of up to 252 bytes.

use std::collections::VecDeque;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm::Crc16IbmSdlc, checksum};
use memchr::memchr;

use crate::cobs;

/// CRC-16/X-25, in the order that it has on the line.
fn sum(frame: &[u8]) -> [u8; 2] {
    let [low, high, ..] = checksum(Crc16IbmSdlc, frame).to_le_bytes();
    [low, high]
}

/// The bytes of a frame on the line.
pub fn encode(frame: &[u8]) -> Vec<u8> {
    let whole = [frame, &sum(frame)].concat();
    let mut out = Vec::with_capacity(whole.len() + whole.len() / 254 + 3);
    cobs::encode(&whole, &mut out);
    out.push(0);
    out
}

/// Takes one frame, without its delimiter, apart. None if it is damaged.
pub fn decode(bytes: &[u8]) -> Option<Bytes> {
    // One frame, one form: what an encoder would not have written is damage.
    let mut whole = cobs::decode(bytes)?;
    let (frame, found) = whole.split_last_chunk::<2>()?;
    let length = frame.len();
    if frame.is_empty() || sum(frame) != *found {
        return None;
    }
    whole.truncate(length);
    Some(whole.into())
}

/// Finds frames in what comes over a line. Noise costs at most the frame that it is in.
#[derive(Debug)]
pub struct Decoder {
    max_frame: usize,
    /// Since the last delimiter; None while that was too much for a frame.
    held: Option<Vec<u8>>,
    ready: VecDeque<Bytes>,
}

impl Decoder {
    /// Frames longer than this are dropped.
    pub fn new(max_frame: usize) -> Self {
        Self { max_frame, held: Some(Vec::new()), ready: VecDeque::new() }
    }

    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        let most = self.max_frame + 4 + self.max_frame / 254;
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr(0, rest);
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            if end.is_some() && self.held.as_ref().is_some_and(Vec::is_empty) && part.len() <= most {
                // A frame that came in one piece, as most do.
                self.ready.extend(decode(part).filter(|frame| frame.len() <= self.max_frame));
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            self.held = self.held.take().filter(|held| held.len() + part.len() <= most);
            if let Some(held) = &mut self.held {
                held.extend_from_slice(part);
            }
            if end.is_none() {
                return;
            }
            let frame = self.held.as_deref().and_then(decode);
            self.ready.extend(frame.filter(|frame| frame.len() <= self.max_frame));
            self.held.get_or_insert_default().clear();
            rest = after.get(1..).unwrap_or_default();
        }
    }

    /// The next whole frame.
    pub fn frame(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// The line was interrupted: what was begun is not continued.
    pub fn reset(&mut self) {
        self.held = Some(Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thin_packets_are_64_128_and_240_bytes_on_the_line() {
        for length in (1..=252).chain([60, 124, 236]) {
            for byte in [0, 1, 0xff] {
                assert_eq!(encode(&vec![byte; length]).len(), length + 4, "{length}");
            }
        }
        assert_eq!([60, 124, 236].map(|n| encode(&vec![7; n]).len()), [64, 128, 240]);
    }

    proptest! {
        #[test]
        fn the_sum_is_what_others_call_crc_16_x_25(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let slow = crc::Crc::<u16, crc::NoTable>::new(&crc::CRC_16_IBM_SDLC);
            prop_assert_eq!(sum(&bytes), slow.checksum(&bytes).to_le_bytes());
        }

        /// Attack 42: whatever noise comes first, the frame after the next delimiter is there.
        #[test]
        fn a42_noise_costs_at_most_one_frame(
            noise in prop::collection::vec(any::<u8>(), 0..2000),
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=252), 2..6),
            chunk in 1usize..300,
        ) {
            let mut line = noise;
            frames.iter().for_each(|frame| line.extend(encode(frame)));
            let mut decoder = Decoder::new(252);
            line.chunks(chunk).for_each(|part| decoder.push(part));
            let mut found: Vec<_> = std::iter::from_fn(|| decoder.frame()).collect();
            let after_the_first = &frames[1..];
            let last = found.split_off(found.len() - after_the_first.len().min(found.len()));
            prop_assert_eq!(last, after_the_first.to_vec());
        }

        #[test]
        fn a_flipped_bit_is_noticed(frame in prop::collection::vec(any::<u8>(), 1..=252), at: prop::sample::Index, bit in 0u8..8) {
            let mut line = encode(&frame);
            let n = at.index(line.len());
            line[n] ^= 1 << bit;
            let mut decoder = Decoder::new(252);
            decoder.push(&line);
            decoder.push(&[0]);
            let found: Vec<_> = std::iter::from_fn(|| decoder.frame()).collect();
            prop_assert!(found.iter().all(|f| *f != frame) || found.is_empty());
        }
    }

    #[test]
    fn a_needless_block_after_a_full_one_is_refused() {
        // 252 bytes and their sum fill one block to the end.
        let line = encode(&[7; 252]);
        let full = line.strip_suffix(&[0]).unwrap();
        assert_eq!((full[0], full.len()), (255, 255));
        assert_eq!(decode(full).unwrap(), vec![7; 252]);
        assert_eq!(decode(&[full, &[1]].concat()), None);
    }

    #[test]
    fn what_is_too_long_is_dropped_without_being_held() {
        let mut decoder = Decoder::new(100);
        decoder.push(&vec![7; 1_000_000]);
        assert!(decoder.held.is_none());
        decoder.push(&[0]);
        decoder.push(&encode(&[1; 101]));
        decoder.push(&encode(&[1; 100]));
        assert_eq!(decoder.frame().unwrap(), vec![1; 100]);
        assert_eq!(decoder.frame(), None);
    }
}
