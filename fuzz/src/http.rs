//! HTTP responses, and frames in the body of a request or response.

use bytes::{Bytes, BytesMut};
use meow_transport_http::Limits;
use meow_transport_http::framing::{Decoder, Encoder, FramingError};
use meow_transport_http::response::{Head, Reader, ResponseError};

use crate::{Seed, Target, seed};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "http_frames", run: frames, seeds: frames_seeds },
    Target { name: "http_response", run: response, seeds: response_seeds },
];

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

/// The head, the body, and how many bytes of the connection are left over.
type Response = (Head, Vec<u8>, usize);

/// Reads what a connection brought in parts of this size.
fn read(bytes: &[u8], part: usize) -> Result<Response, ResponseError> {
    let (mut reader, mut arrived) = (Reader::default(), BytesMut::new());
    let (mut head, mut body, mut parts) = (None, Vec::new(), bytes.chunks(part));
    loop {
        if head.is_none() {
            head = reader.head(&mut arrived)?;
        }
        while let Some(piece) = reader.piece(&mut arrived)? {
            body.extend_from_slice(&piece);
        }
        if reader.ended() {
            let head = head.expect("no body without a head");
            return Ok((head, body, arrived.len() + parts.map(<[u8]>::len).sum::<usize>()));
        }
        match parts.next() {
            Some(part) => arrived.extend_from_slice(part),
            None => reader.closed()?,
        }
    }
}

/// The first byte says in which parts the rest arrives.
pub fn response(data: &[u8]) -> bool {
    let Some((part, bytes)) = data.split_first() else { return false };
    let found = read(bytes, usize::from(*part).max(1));
    let whole = read(bytes, bytes.len().max(1));
    // What breaks the rules in two ways may be refused for either.
    assert_eq!(found.clone().ok(), whole.ok(), "parts make no difference");
    found.is_ok()
}

/// Seeds of [`response`].
pub fn response_seeds() -> Vec<Seed> {
    let bytes = |part: u8, text: &str| [&[part], text.as_bytes()].concat();
    let ok = |part: u8, headers: &str, body: &str| {
        bytes(
            part,
            &format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n{headers}\r\n{body}"),
        )
    };
    let (length, chunked) = ("Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n");
    let interim =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";
    vec![
        seed("counted", ok(255, length, "\0\0\0\u{3}abc")),
        seed("counted-byte-by-byte", ok(1, length, "\0\0\0\u{3}abc")),
        seed("followed", ok(100, length, "\0\0\0\u{3}abcHTTP/1.1 200 OK\r\n")),
        seed("chunked", ok(9, chunked, "3;a=b\r\n\0\0\0\r\n04\r\n\u{3}abc\r\n0\r\nA: b\r\n\r\nnext")),
        seed("unbounded", ok(50, "Connection: close\r\n", "\0\0\0\u{3}abc")),
        seed("interim-then-busy", bytes(11, interim)),
        seed("nothing", bytes(3, "HTTP/1.1 204 No Content\r\n\r\n")),
        seed("old", bytes(3, "HTTP/1.0 404 Not Found\r\nContent-Length: 1\r\n\r\nx")),
        seed("bad-two-lengths", ok(20, "Content-Length: 7\r\nContent-Length: 7\r\n", "\0\0\0\u{3}abc")),
        seed(
            "bad-length-and-chunked",
            ok(20, "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        seed("bad-length", ok(20, "Content-Length: +7\r\n", "\0\0\0\u{3}abc")),
        seed("bad-coding", ok(20, "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
        seed("bad-chunk", ok(20, chunked, "3\r\nabcd\r\n0\r\n\r\n")),
        seed("bad-chunk-size", ok(20, chunked, "fffffffffffffffff\r\n")),
        seed("bad-switch", bytes(20, "HTTP/1.1 101 Switching Protocols\r\n\r\n")),
        seed("bad-syntax", bytes(20, "SSH-2.0-OpenSSH_9.2\r\n")),
        seed("bad-truncated", ok(20, length, "\0\0\0")),
        seed("bad-empty", []),
    ]
}
