//! Frames of segmented links.

use std::time::Duration;

use bytes::Bytes;
use meow_core::crypto::SeededRandom;
use meow_core::segment::{Ack, Config, Data, Machine, Segment, Taken};
use meow_core::transport::{LinkProfile, Pattern};

use crate::{Seed, Target, items, seed, sequence};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "segment", run: segment, seeds: segment_seeds },
    Target { name: "segment_machine", run: machine, seeds: machine_seeds },
];

/// One frame.
pub fn segment(data: &[u8]) -> bool {
    let frame = Bytes::copy_from_slice(data);
    let Ok(segment) = Segment::decode(&frame) else { return false };
    assert_eq!(segment.encode(), frame, "one segment, one encoding");
    true
}

const TAG: [u8; 6] = [0x20, 1, 2, 3, 4, 5];

fn data(seq: u16, end: bool, fin: bool, piece: &[u8]) -> Vec<u8> {
    let data = Bytes::copy_from_slice(piece);
    let data = Data { tag: TAG, acceptor: false, open: true, poll: end || fin, end, fin, seq, data };
    Segment::Data(data).encode().to_vec()
}

fn ack(base: u16, bitmap: u64) -> Vec<u8> {
    let ack = Ack { tag: TAG, acceptor: false, poll: true, base, window: 64, bitmap };
    Segment::Ack(ack).encode().to_vec()
}

/// Seeds of [`segment`].
pub fn segment_seeds() -> Vec<Seed> {
    let whole = data(1, true, true, b"piece");
    let with = |kind: u8| [&TAG[..], &[kind], &[0, 1, 9]].concat();
    vec![
        seed("data", whole.clone()),
        seed("end-alone", data(2, false, true, b"")),
        seed("ack", ack(5, 0x8001)),
        seed("ack-full-map", ack(5, u64::MAX)),
        seed("reset", Segment::Reset { tag: TAG, acceptor: true }.encode().to_vec()),
        seed("bad-empty", []),
        seed("bad-tag", [&[0], &whole[1..]].concat()),
        seed("bad-thin", vec![0x20; 60]),
        seed("bad-kind", with(0xc0)),
        seed("bad-reset-long", with(0x80)),
        seed("bad-map", [with(0x40), vec![1, 0]].concat()),
        seed("bad-fin-without-end", with(0x02)),
        seed("bad-short", &whole[..8]),
    ]
}

/// A sequence of frames at a station that accepts links and answers packets by their bytes inverted. An empty frame keeps it
/// from answering until the next, one of a single byte from accepting links. True if a packet came whole.
pub fn machine(data: &[u8]) -> bool {
    let mut profile = LinkProfile::new(Pattern::Bus, 252);
    profile.reliable = false;
    let config = Config::from_profile(&profile).expect("a usable profile");
    let mut random = SeededRandom::new(1);
    let mut machine = Machine::new(config.clone(), &mut random).expect("randomness");
    machine.listen(true);
    let mut now = Duration::ZERO;
    let (mut read, mut links) = (false, Vec::new());
    let (mut answers, mut listens) = (true, true);
    for frame in items(data).take(300) {
        now += Duration::from_millis(20);
        answers ^= frame.is_empty();
        if frame.len() == 1 {
            listens = !listens;
            machine.listen(listens);
        }
        machine.receive(now, &Bytes::copy_from_slice(frame));
        machine.expire(now);
        while machine.event().is_some() {}
        if let Some(link) = machine.accept() {
            links.push(link);
        }
        for link in links.iter().filter(|_| answers) {
            if let Taken::Packet(packet) = machine.take(*link) {
                read = true;
                let packet = packet.iter().map(|byte| !byte).collect::<Bytes>();
                // The link may be broken, or finished.
                let _ = machine.send(*link, packet, now, &mut random);
                let _ = machine.finish(*link, &mut random);
            }
        }
        while let Some(frame) = machine.transmit(now) {
            assert!(frame.len() <= config.max_frame, "a frame that does not fit");
            machine.sent(now);
        }
        assert!(machine.memory() <= config.max_memory + config.max_frame, "memory is bounded");
    }
    for link in links {
        machine.drop_tx(link);
        machine.drop_rx(link);
    }
    read
}

/// Seeds of [`machine`].
pub fn machine_seeds() -> Vec<Seed> {
    let run = |frames: &[Vec<u8>]| sequence(frames);
    let piece = vec![7; 243];
    vec![
        seed("one", run(&[data(0, true, true, b"question"), ack(1, 0)])),
        seed(
            "three-in-disorder",
            run(&[
                data(2, true, true, &piece),
                data(0, false, false, &piece),
                data(1, false, false, &piece),
                ack(0, 1),
                ack(3, 0),
            ]),
        ),
        seed("thin", run(&[vec![9; 60], vec![9; 124], vec![9; 60]])),
        seed("thin-echo", run(&[vec![9; 60], vec![!9; 60], vec![9; 60]])),
        seed("thin-asked-twice", run(&[vec![], vec![9; 60], vec![9; 60], vec![]])),
        seed("thin-unheard", run(&[vec![0], vec![9; 60], vec![0], vec![9; 60]])),
        seed(
            "goes-on",
            run(&[data(0, true, false, b"question"), data(1, true, true, b"another"), ack(2, 0)]),
        ),
        seed(
            "reset",
            run(&[
                data(0, true, false, b"question"),
                Segment::Reset { tag: TAG, acceptor: false }.encode().to_vec(),
            ]),
        ),
        seed("bad-half", run(&[data(0, false, false, &piece), data(0, false, false, &piece)])),
        seed("bad-end-within", run(&[data(0, false, false, &piece), data(1, false, true, b"")])),
        seed("bad-ack", run(&[data(1, false, false, &piece), ack(9, 0)])),
        seed("bad-unknown", run(&[ack(0, 0)])),
    ]
}
