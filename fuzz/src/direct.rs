//! Direct links and what leads to them.

use meow_core::direct::{Dialling, DirectBinding, DirectFrame, DirectLink, Hello, Reach, answer_hello};
use meow_core::wire::{Blob, List, Text};

use crate::{Seed, Target, encoded, seed, strict, with_damage, world};

/// The targets of this file.
pub const TARGETS: &[Target] = &[
    Target { name: "direct_frame", run: frame, seeds: frame_seeds },
    Target { name: "direct_hello", run: hello, seeds: hello_seeds },
    Target { name: "direct_link", run: link, seeds: link_seeds },
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

/// A hello from anybody: taken apart, held against one relation, and answered.
pub fn hello(data: &[u8]) -> bool {
    let Ok(hello) = Hello::from_packet(data) else { return false };
    let (secret, parties) = (world::secret(60), world::parties());
    let binding = DirectBinding { secret: &secret, dialler: &parties.from, listener: &parties.to };
    let answer = answer_hello(&hello, &binding, &mut world::random(62));
    assert!(answer.is_err() || hello.is_of(&binding));
    if let Ok((welcome, _)) = answer {
        assert_eq!(welcome.len(), data.len());
    }
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
        seed("bad-zero-key", [&[8][..], &[0; 63]].concat()),
        seed("bad-empty", []),
        seed("stranger", [&fat[..255], &[fat[255] ^ 1]].concat()),
        seed("fat", fat),
        seed("thin", thin),
    ]
}

/// A dialler that said its hello, the welcome that it gets, and the link of the listener.
fn begun(thin: bool) -> (Dialling, Vec<u8>, DirectLink) {
    let (secret, parties) = (world::secret(60), world::parties());
    let binding = DirectBinding { secret: &secret, dialler: &parties.from, listener: &parties.to };
    let dialling = Dialling::begin(&binding, thin, &mut world::random(61)).expect("seeded");
    let hello = Hello::from_packet(dialling.hello()).expect("its own");
    let (welcome, listener) = answer_hello(&hello, &binding, &mut world::random(62)).expect("its own");
    (dialling, welcome, listener)
}

fn finished(thin: bool, welcome: &[u8]) -> Option<DirectLink> {
    let (secret, parties) = (world::secret(60), world::parties());
    let binding = DirectBinding { secret: &secret, dialler: &parties.from, listener: &parties.to };
    begun(thin).0.finish(welcome, &binding).ok()
}

/// The welcome to a dialler, or the first packet of a link at its listener.
pub fn link(data: &[u8]) -> bool {
    [false, true].into_iter().any(|thin| {
        let mut listener = begun(thin).2;
        let opened = listener.open(data).is_ok();
        assert!(!opened || listener.open(data).is_err(), "a packet is opened once");
        opened || finished(thin, data).is_some()
    })
}

fn link_seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, thin) in [("fat", false), ("thin", true)] {
        let (_, welcome, _) = begun(thin);
        let packet = |frame: &DirectFrame| {
            let mut link = finished(thin, &welcome).expect("its own welcome");
            link.seal(frame).expect("fits").0
        };
        let item = |len| DirectFrame::Item(Blob::new(vec![3; len]).expect("short"));
        seeds.push(seed(&format!("{name}-welcome"), welcome.clone()));
        seeds.push(seed(&format!("{name}-still"), packet(&DirectFrame::Still)));
        seeds.push(seed(&format!("{name}-item"), packet(&item(45))));
        seeds.push(seed(&format!("{name}-long-item"), packet(&item(1000))));
        let (_, cut) = welcome.split_last().expect("bytes");
        seeds.push(seed(&format!("bad-{name}-welcome"), [cut, &[0]].concat()));
        let hello = begun(thin).0.hello().to_vec();
        seeds.push(seed(&format!("bad-{name}-hello-sent-back"), hello));
    }
    seeds.push(seed("bad-zero-key", [&[8][..], &[0; 63]].concat()));
    seeds.push(seed("bad-empty", []));
    seeds
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
