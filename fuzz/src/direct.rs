//! Direct links and what leads to them.

use meow_core::direct::{Dialling, DirectBinding, DirectFrame, Hello, Reach};
use meow_core::wire::{Blob, List, Text};

use crate::{Seed, Target, encoded, seed, strict, with_damage, world};

/// The targets of this file.
pub const TARGETS: &[Target] = &[
    Target { name: "direct_frame", run: frame, seeds: frame_seeds },
    Target { name: "direct_hello", run: hello, seeds: hello_seeds },
    Target { name: "reach", run: reach, seeds: reach_seeds },
];

/// What a packet of a direct link says.
pub fn frame(data: &[u8]) -> bool {
    strict::<DirectFrame>(data).is_some()
}

fn frame_seeds() -> Vec<Seed> {
    let item = Blob::new(vec![3; 96]).expect("short");
    let frames = [
        ("item", DirectFrame::Item(item)),
        ("ready", DirectFrame::Ready),
        ("taken", DirectFrame::Taken(300)),
        ("declined", DirectFrame::Declined(u64::MAX)),
        ("still", DirectFrame::Still),
        ("bye", DirectFrame::Bye),
    ];
    let mut seeds: Vec<_> = frames.iter().map(|(name, frame)| encoded(name, frame)).collect();
    seeds.push(seed("bad-kind", [6]));
    seeds.push(seed("bad-item-length", [1, 0xff, 0xff, 0x7f]));
    with_damage::<DirectFrame>(seeds)
}

/// A hello from anybody: taken apart, and held against one relation.
pub fn hello(data: &[u8]) -> bool {
    let Ok(hello) = Hello::from_packet(data) else { return false };
    let (secret, parties) = (world::secret(60), world::parties());
    let _ = hello.is_of(&DirectBinding { secret: &secret, dialler: &parties.from, listener: &parties.to });
    true
}

fn hello_seeds() -> Vec<Seed> {
    let (secret, parties) = (world::secret(60), world::parties());
    let binding = DirectBinding { secret: &secret, dialler: &parties.from, listener: &parties.to };
    let made =
        |thin| Dialling::begin(&binding, thin, &mut world::random(61)).expect("seeded").hello().to_vec();
    let (fat, thin) = (made(false), made(true));
    let (_, cut) = thin.split_last().expect("bytes");
    vec![
        seed("bad-length", cut),
        seed("bad-suite", [&[7], fat.get(1..).unwrap_or_default()].concat()),
        seed("bad-version", [&[0x18], fat.get(1..).unwrap_or_default()].concat()),
        seed("bad-zero-key", [&[8][..], &[0; 59]].concat()),
        seed("bad-empty", []),
        seed("fat", fat.clone()),
        seed("thin", thin.clone()),
    ]
}

/// Where a contact may be found.
pub fn reach(data: &[u8]) -> bool {
    strict::<Reach>(data).is_some()
}

fn reach_seeds() -> Vec<Seed> {
    let url = |text: &str| Text::new(text).expect("short");
    let some = Reach {
        at_ms: world::NOW * 1000,
        urls: List::take([url("udp://192.0.2.7:41325/"), url("udp://[::1]:1/")]),
    };
    let none = Reach { at_ms: 0, urls: List::default() };
    let mut seeds = vec![encoded("some", &some), encoded("none", &none)];
    seeds.push(seed("bad-too-many", [&[0, 9][..], &[0; 9]].concat()));
    seeds.push(seed("bad-url-length", [&[0, 1, 101][..], &[b'u'; 101]].concat()));
    with_damage::<Reach>(seeds)
}
