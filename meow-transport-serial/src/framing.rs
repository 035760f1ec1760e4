//! COBS and CRC-16: `COBS(frame | CRC-16/X-25, little-endian) | 00`, 4 bytes more than a frame of up to 252 bytes.

use std::collections::VecDeque;

use bytes::Bytes;
use memchr::memchr;

const CRC: crc::Crc<u16, crc::Table<16>> = crc::Crc::<u16, crc::Table<16>>::new(&crc::CRC_16_IBM_SDLC);

/// The bytes of a frame on the line.
pub fn encode(frame: &[u8]) -> Vec<u8> {
    let mut out = stuffed(&[frame, &CRC.checksum(frame).to_le_bytes()].concat());
    out.push(0);
    out
}

/// COBS, without the delimiter.
fn stuffed(whole: &[u8]) -> Vec<u8> {
    // With room for the delimiter.
    let mut out = Vec::with_capacity(whole.len() + whole.len() / 254 + 2);
    let mut rest = whole;
    loop {
        let run = memchr(0, rest.get(..254).unwrap_or(rest));
        // A code of 255 stands for 254 bytes that no zero follows.
        let length = run.unwrap_or(rest.len().min(254));
        let (body, after) = rest.split_at(length);
        out.push(length as u8 + 1);
        out.extend_from_slice(body);
        match run {
            Some(_) => rest = after.get(1..).unwrap_or_default(),
            None if after.is_empty() => return out,
            None => rest = after,
        }
    }
}

/// Takes one frame, without its delimiter, apart. None if it is damaged.
pub fn decode(bytes: &[u8]) -> Option<Bytes> {
    let whole = unstuffed(bytes)?;
    let (frame, sum) = whole.split_last_chunk::<2>()?;
    if frame.is_empty() || CRC.checksum(frame).to_le_bytes() != *sum {
        return None;
    }
    Some(Bytes::copy_from_slice(frame))
}

/// COBS taken back. None for what an encoder would not have written: one frame has one form.
fn unstuffed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    if memchr(0, bytes).is_some() {
        return None;
    }
    let (mut rest, mut full) = (bytes, false);
    loop {
        let (code, after) = rest.split_first()?;
        let (body, after) = after.split_at_checked(usize::from(code.checked_sub(1)?))?;
        out.extend_from_slice(body);
        if after.is_empty() {
            // After a full block the end needs no block of its own.
            return (!full || *code > 1).then_some(out);
        }
        full = *code == 255;
        if !full {
            out.push(0);
        }
        rest = after;
    }
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

        /// Another implementation of COBS says the same, and takes no other form of anything.
        #[test]
        fn cobs_is_cobs(
            mut whole in prop::collection::vec(prop_oneof![9 => 1u8..=255, 1 => Just(0u8)], 0..600),
            run in 0usize..520,
            other in prop::collection::vec(prop_oneof![Just(255u8), Just(1), Just(2), any::<u8>()], 0..600),
        ) {
            whole.extend(vec![7; run]);
            let ours = stuffed(&whole);
            prop_assert_eq!(&ours, &cobs::encode_vec(&whole));
            prop_assert_eq!(unstuffed(&ours), Some(whole));
            let twin = cobs::decode_vec(&other).ok().filter(|plain| cobs::encode_vec(plain) == other);
            prop_assert_eq!(unstuffed(&other), twin);
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
        let full = stuffed(&[7; 254]);
        assert_eq!(unstuffed(&full).unwrap(), [7; 254]);
        assert_eq!(unstuffed(&[&full[..], &[1]].concat()), None);
        assert_eq!(unstuffed(&[2, 0]), None);
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
