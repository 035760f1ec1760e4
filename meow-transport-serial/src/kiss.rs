//! KISS (Chepponis and Karn, 1987): `C0 00 ... C0` with C0 as DB DC and DB as DB DD. Data frames of port 0 only.

use std::collections::VecDeque;

use bytes::Bytes;

const FEND: u8 = 0xc0;
const FESC: u8 = 0xdb;
const TFEND: u8 = 0xdc;
const TFESC: u8 = 0xdd;
/// Data, port 0.
const DATA: u8 = 0x00;

/// The bytes of a frame on the line.
pub fn encode(frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame.len() + 8);
    out.extend([FEND, DATA]);
    for byte in frame {
        match *byte {
            FEND => out.extend([FESC, TFEND]),
            FESC => out.extend([FESC, TFESC]),
            byte => out.push(byte),
        }
    }
    out.push(FEND);
    out
}

/// Finds data frames in what a TNC says; its other messages are dropped.
#[derive(Debug)]
pub struct Decoder {
    max_frame: usize,
    /// Since the last delimiter, unescaped; None until the next one.
    held: Option<Vec<u8>>,
    escaped: bool,
    ready: VecDeque<Bytes>,
}

impl Decoder {
    /// Frames longer than this are dropped.
    pub fn new(max_frame: usize) -> Self {
        Self { max_frame, held: None, escaped: false, ready: VecDeque::new() }
    }

    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == FEND {
                let whole = !std::mem::take(&mut self.escaped);
                let held = self.held.replace(Vec::new()).filter(|_| whole);
                if let Some((&DATA, frame)) = held.as_deref().and_then(<[u8]>::split_first)
                    && !frame.is_empty()
                {
                    self.ready.push_back(Bytes::copy_from_slice(frame));
                }
                continue;
            }
            let Some(held) = &mut self.held else { continue };
            let byte = match (std::mem::take(&mut self.escaped), *byte) {
                (false, FESC) => {
                    self.escaped = true;
                    continue;
                }
                (false, byte) => Some(byte),
                (true, TFEND) => Some(FEND),
                (true, TFESC) => Some(FESC),
                (true, _) => None,
            };
            match byte {
                Some(byte) if held.len() <= self.max_frame => held.push(byte),
                _ => self.held = None,
            }
        }
    }

    /// The next whole frame.
    pub fn frame(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// The line was interrupted: what was begun is not continued.
    pub fn reset(&mut self) {
        (self.held, self.escaped) = (None, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(line: &[u8]) -> Vec<Bytes> {
        let mut decoder = Decoder::new(252);
        decoder.push(line);
        std::iter::from_fn(|| decoder.frame()).collect()
    }

    proptest! {
        #[test]
        fn a42_kiss_noise_costs_at_most_one_frame(
            noise in prop::collection::vec(any::<u8>(), 0..2000),
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=252), 1..6),
        ) {
            let mut line = noise;
            frames.iter().for_each(|frame| line.extend(encode(frame)));
            let mut found = decode(&line);
            let last = found.split_off(found.len() - frames.len().min(found.len()));
            prop_assert_eq!(last, frames);
        }
    }

    #[test]
    fn only_data_of_port_0_and_whole_escapes() {
        assert_eq!(decode(&[FEND, 0x00, 1, FEND]), [vec![1]]);
        for bad in [
            &[FEND, 0x10, 1, FEND][..],
            &[FEND, 0x06, 1, FEND],
            &[FEND, 0, FESC, 1, FEND],
            &[FEND, 0, FESC, FEND],
            &[FEND, 0, FEND],
        ] {
            assert_eq!(decode(bad), Vec::<Bytes>::new(), "{bad:?}");
        }
        assert_eq!(decode(&encode(&[FEND, FESC, TFEND])), [vec![FEND, FESC, TFEND]]);
        assert_eq!(decode(&encode(&[1; 253])), Vec::<Bytes>::new());
    }
}
