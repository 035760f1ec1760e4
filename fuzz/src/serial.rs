//! What comes over a serial line.

use bytes::Bytes;
use meow_transport_serial::{framing, kiss};

use crate::{Seed, Target, seed};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "serial_cobs", run: cobs, seeds: cobs_seeds },
    Target { name: "serial_kiss", run: kiss, seeds: kiss_seeds },
];

const MTU: usize = 252;

fn cobs_frames(line: &[u8], chunk: usize) -> Vec<Bytes> {
    let mut decoder = framing::Decoder::new(MTU);
    line.chunks(chunk).for_each(|part| decoder.push(part));
    std::iter::from_fn(|| decoder.frame()).collect()
}

/// A line with COBS frames. True if there is one.
pub fn cobs(data: &[u8]) -> bool {
    let frames = cobs_frames(data, data.len().max(1));
    assert_eq!(frames, cobs_frames(data, 7), "chunks make no difference");
    for frame in &frames {
        assert!((1..=MTU).contains(&frame.len()));
        let again = framing::encode(frame);
        assert!(data.windows(again.len()).any(|part| part == again), "one frame, one form");
    }
    !frames.is_empty()
}

/// Seeds of [`cobs`].
pub fn cobs_seeds() -> Vec<Seed> {
    let whole = framing::encode(b"a frame");
    let mut damaged = whole.clone();
    damaged[3] ^= 1;
    vec![
        seed("one", whole.clone()),
        seed("zeros", framing::encode(&[0; 60])),
        seed("longest", framing::encode(&[9; MTU])),
        seed("noise-before", [&[7, 0][..], &whole].concat()),
        seed("bad-empty", []),
        seed("bad-sum", damaged),
        seed("bad-cut", &whole[..5]),
        seed("bad-long", framing::encode(&[9; MTU + 1])),
        seed("bad-flood", vec![9; 2000]),
        seed("bad-nothing", framing::encode(&[])),
    ]
}

fn kiss_frames(line: &[u8], chunk: usize) -> Vec<Bytes> {
    let mut decoder = kiss::Decoder::new(MTU);
    line.chunks(chunk).for_each(|part| decoder.push(part));
    std::iter::from_fn(|| decoder.frame()).collect()
}

/// A line with KISS frames. True if there is one.
pub fn kiss(data: &[u8]) -> bool {
    let frames = kiss_frames(data, data.len().max(1));
    assert_eq!(frames, kiss_frames(data, 7), "chunks make no difference");
    for frame in &frames {
        assert!((1..=MTU).contains(&frame.len()));
        assert_eq!(kiss_frames(&kiss::encode(frame), 300), [frame.clone()]);
    }
    !frames.is_empty()
}

/// Seeds of [`kiss`].
pub fn kiss_seeds() -> Vec<Seed> {
    vec![
        seed("one", kiss::encode(b"a frame")),
        seed("escapes", kiss::encode(&[0xc0, 0xdb, 0xdc, 0xdd])),
        seed("longest", kiss::encode(&[0xc0; MTU])),
        seed("bad-empty", []),
        seed("bad-port", [0xc0, 0x10, 1, 0xc0]),
        seed("bad-escape", [0xc0, 0, 0xdb, 1, 0xc0]),
        seed("bad-open-escape", [0xc0, 0, 1, 0xdb, 0xc0]),
        seed("bad-long", kiss::encode(&[1; MTU + 1])),
    ]
}
