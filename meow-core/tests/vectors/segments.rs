//! `docs/vectors/segments.json`: the frames of segmented links.

use bytes::Bytes;
use meow_core::crypto::SeededRandom;
use meow_core::segment::{Ack, Config, Data, Machine, Segment, THIN_SIZES, answer_tag};
use meow_core::transport::{LinkProfile, Pattern};
use serde_json::json;
use std::time::Duration;

use crate::harness::{Section, frame, hex};

fn whole(section: &mut Section, name: &str, segment: Segment, expected: Vec<u8>) {
    assert_eq!(segment.encode(), expected, "{name}: the spec's bytes");
    assert_eq!(Segment::decode(&expected.clone().into()), Ok(segment));
    section.case(name, json!({ "frame": hex(expected) }));
}

#[test]
fn segments() {
    let mut section =
        Section::new("segments", "frames of segmented links, refused frames, how a packet is cut");
    let tag = [0x4d, 0x65, 0x6f, 0x77, 0x21, 0x21];
    let data = |acceptor, open, poll, end, fin, seq: u16, data: &[u8]| {
        let data = Bytes::copy_from_slice(data);
        Segment::Data(Data { tag, acceptor, open, poll, end, fin, seq, data })
    };
    let bytes = |kind: u8, rest: &[u8]| [&tag[..], &[kind], rest].concat();
    let first = data(false, true, false, false, false, 0, b"first piece");
    whole(&mut section, "the first piece of a packet", first, bytes(0x10, b"\0\0first piece"));
    let last = data(false, true, true, true, true, 1, b"last");
    whole(&mut section, "the last piece, polled, and the end", last, bytes(0x1e, b"\0\x01last"));
    let answer = data(true, false, true, true, false, 0xffff, b"answer");
    whole(&mut section, "the acceptor's, number 65535", answer, bytes(0x2c, b"\xff\xffanswer"));
    let alone = data(true, false, true, false, true, 7, b"");
    whole(&mut section, "an end that stands alone", alone, bytes(0x2a, b"\0\x07"));
    let ack = |acceptor, poll, base, window, bitmap| {
        Segment::Ack(Ack { tag, acceptor, poll, base, window, bitmap })
    };
    let all = ack(true, false, 2, 64, 0);
    whole(&mut section, "all has arrived", all, bytes(0x60, b"\0\x02\x40"));
    let some = ack(true, false, 2, 64, 0b1_0000_0010);
    whole(&mut section, "2 and 3 are missing, 4 and 11 are there", some, bytes(0x60, b"\0\x02\x40\x02\x01"));
    let closed = ack(false, true, 300, 0, 0);
    whole(&mut section, "nothing is taken, and how about you", closed, bytes(0x48, b"\x01\x2c\0"));
    whole(&mut section, "broken off", Segment::Reset { tag, acceptor: true }, bytes(0xa0, b""));

    let refused: &[(&str, Vec<u8>)] = &[
        ("refused: a tag below 0x10", [&[0x0f], &bytes(0x10, b"\0\0x")[1..]].concat()),
        ("refused: an empty piece", bytes(0x10, b"\0\0")),
        ("refused: an end within a packet", bytes(0x02, b"\0\0x")),
        ("refused: the reserved bit", bytes(0x01, b"\0\0x")),
        ("refused: the reserved kind", bytes(0xc0, b"\0\0x")),
        ("refused: an acceptor that opens", bytes(0x30, b"\0\0x")),
        ("refused: a window of 65", bytes(0x40, b"\0\0\x41")),
        ("refused: a zero at the end of the map", bytes(0x40, b"\0\0\x40\x01\0")),
        ("refused: the length of a thin packet", bytes(0x10, &[7; 53])),
    ];
    for (name, frame) in refused {
        assert!(Segment::decode(&frame.clone().into()).is_err(), "{name}");
        section.case(name, json!({ "frame": hex(frame) }));
    }

    // A packet of 500 bytes over frames of 236: 235, 235, 57, for 236 is a thin size.
    let mut profile = LinkProfile::new(Pattern::Bus, 236);
    profile.reliable = false;
    let mut random = SeededRandom::new(1);
    let mut machine = Machine::new(Config::from_profile(&profile).unwrap(), &mut random).unwrap();
    let link = machine.open(Duration::ZERO);
    machine.send(link, vec![0xab; 500].into(), Duration::ZERO, &mut random).unwrap();
    machine.finish(link, &mut random).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = machine.transmit(Duration::ZERO) {
        machine.sent(Duration::ZERO);
        frames.push(hex(frame));
    }
    section.case("500 bytes of 0xab over frames of 236", json!({ "frames": frames }));

    for size in THIN_SIZES {
        let packet = vec![0x5a; size];
        let digest = {
            use sha2::Digest as _;
            sha2::Sha256::digest(frame("meow segment tag", &[&packet]))
        };
        let mut tag: [u8; 6] = digest[..6].try_into().unwrap();
        if tag[0] < 0x10 {
            tag[0] |= 0x80;
        }
        assert_eq!(answer_tag(&packet), tag);
        section.case(&format!("tag of the answer to {size} bytes of 0x5a"), json!({ "tag": hex(tag) }));
    }
    section.check();
}
