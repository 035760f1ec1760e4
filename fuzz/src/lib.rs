//! One fuzz target per decoder. A target takes any bytes and panics only when the decoder breaks a promise: what
//! decodes must encode to the same bytes again, what was parsed must parse back to the same value.
//!
//! Three callers: the programs in `fuzz_targets/`, for libFuzzer; `examples/seed.rs`, which writes the corpora
//! from real encodings; and `tests/corpus.rs`, which replays them and mutations of them without an engine.

pub mod cards;
pub mod contacts;
pub mod direct;
pub mod http;
pub mod identity;
pub mod lanes;
pub mod messages;
pub mod mqtt;
pub mod onion;
pub mod openings;
pub mod ratchet;
pub mod requests;
pub mod segments;
pub mod serial;
pub mod sessions;
pub mod store;
pub mod text;
mod world;

use meow_core::wire::Wire;

/// A file of a corpus: its name, and the bytes.
pub type Seed = (String, Vec<u8>);

/// A decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name of the program in `fuzz_targets/` and of the folder in `corpus/`.
    pub name: &'static str,
    /// Feeds it, and says whether it accepted the bytes.
    pub run: fn(&[u8]) -> bool,
    /// Real encodings, and damaged ones that reach its refusals: their names begin with `bad-`. The same at every
    /// call.
    pub seeds: fn() -> Vec<Seed>,
}

/// Every target.
pub fn targets() -> Vec<Target> {
    [
        requests::TARGETS,
        cards::TARGETS,
        lanes::TARGETS,
        messages::TARGETS,
        onion::TARGETS,
        openings::TARGETS,
        ratchet::TARGETS,
        contacts::TARGETS,
        identity::TARGETS,
        sessions::TARGETS,
        direct::TARGETS,
        text::TARGETS,
        http::TARGETS,
        segments::TARGETS,
        serial::TARGETS,
        mqtt::TARGETS,
        store::TARGETS,
    ]
    .concat()
}

/// Decodes strictly; a value must encode to the bytes that it came from.
fn strict<T: Wire>(data: &[u8]) -> Option<T> {
    let value = T::from_wire(data).ok()?;
    let again = value.to_wire().expect("what was decoded can be encoded");
    assert_eq!(again, data, "one value, one encoding");
    Some(value)
}

/// Items in sequence, as `ratchet` and `contacts` take them: each with its length before it, 16 bits, big-endian.
fn sequence<'a>(items: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    let framed = items.into_iter().map(|item| {
        let length = u16::try_from(item.len()).expect("short");
        [&length.to_be_bytes()[..], item].concat()
    });
    framed.collect::<Vec<_>>().concat()
}

/// The items of a sequence; what is cut off at its end is dropped.
fn items(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<2>()?;
        let (item, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        data = rest;
        Some(item)
    })
}

fn seed(name: &str, bytes: impl Into<Vec<u8>>) -> Seed {
    (name.to_owned(), bytes.into())
}

/// The encoding of a value, as a seed.
fn encoded(name: &str, value: &impl Wire) -> Seed {
    seed(name, value.to_wire().expect("a seed can be encoded"))
}

/// Seeds that every strict decoder refuses: nothing, a bit too little, a bit too much, too many.
fn with_damage<T: Wire>(mut seeds: Vec<Seed>) -> Vec<Seed> {
    let (_, whole) = seeds.first().cloned().unwrap_or_default();
    let short = whole.len().saturating_sub(1);
    seeds.push(seed("bad-empty", []));
    seeds.push(seed("bad-short", &whole[..short]));
    seeds.push(seed("bad-trailing", [&whole[..], &[0]].concat()));
    if T::MAX <= 4096 {
        seeds.push(seed("bad-too-long", vec![0; T::MAX + 1]));
    }
    seeds
}
