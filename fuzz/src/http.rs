//! Frames in the body of an HTTP request or response.

use bytes::Bytes;
use meow_transport_http::Limits;
use meow_transport_http::framing::{Decoder, Encoder, FramingError};

use crate::{Seed, Target, seed};

/// The targets of this module.
pub const TARGETS: &[Target] = &[Target { name: "http_frames", run: frames, seeds: frames_seeds }];

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.max_frame, limits.max_frames, limits.max_body) = (300, 4, 1000);
    limits
}

/// Decodes what comes in chunks, taking frames out after each, or only at the end.
fn decode(body: &[u8], chunk: usize, drain: bool) -> Result<Vec<Bytes>, FramingError> {
    let mut decoder = Decoder::new(limits());
    let mut frames = Vec::new();
    for (n, part) in body.chunks(chunk).enumerate() {
        decoder.push(Bytes::copy_from_slice(part))?;
        let last = (n + 1) * chunk >= body.len();
        while drain || last {
            let Some(frame) = decoder.next_frame()? else { break };
            frames.push(frame);
        }
    }
    decoder.end().map(|()| frames)
}

/// The first byte says in which chunks the rest arrives, and in its top bit whether frames are taken out in between.
pub fn frames(data: &[u8]) -> bool {
    let Some((chunk, body)) = data.split_first() else { return false };
    let (drain, chunk) = (chunk & 0x80 == 0, usize::from(chunk & 0x7f).max(1));
    let found = decode(body, chunk, drain);
    if body.len() <= limits().max_body {
        assert_eq!(found, decode(body, limits().max_body, true), "chunks make no difference");
    }
    let Ok(frames) = found else { return false };
    let mut encoder = Encoder::new(limits());
    frames.iter().for_each(|frame| encoder.push(frame).expect("what was decoded can be encoded"));
    assert_eq!(encoder.take(), body);
    true
}

/// Seeds of [`frames`].
pub fn frames_seeds() -> Vec<Seed> {
    let frames = |lengths: &[usize]| {
        let one = |length: &usize| {
            let header = u32::try_from(*length).expect("short").to_be_bytes();
            [&header[..], &vec![7; *length]].concat()
        };
        lengths.iter().map(one).collect::<Vec<_>>().concat()
    };
    let chunked = |chunk: u8, body: Vec<u8>| [vec![chunk], body].concat();
    vec![
        seed("one", chunked(127, frames(&[20]))),
        seed("four-byte-by-byte", chunked(1, frames(&[1, 2, 300, 3]))),
        seed("four-in-sevens", chunked(7, frames(&[256, 2, 300, 3]))),
        seed("four-taken-at-the-end", chunked(0x80 | 50, frames(&[256, 2, 300, 3]))),
        seed("none", chunked(1, Vec::new())),
        seed("bad-zero", chunked(3, frames(&[5, 0]))),
        seed("bad-long", chunked(4, frames(&[301]))),
        seed("bad-huge", chunked(2, vec![0xff; 9])),
        seed("bad-many", chunked(9, frames(&[1; 5]))),
        seed("bad-body", chunked(100, frames(&[300; 4]))),
        seed("bad-truncated-header", chunked(5, frames(&[4])[..3].to_vec())),
        seed("bad-truncated", chunked(5, frames(&[40])[..30].to_vec())),
        seed("bad-empty", []),
    ]
}
