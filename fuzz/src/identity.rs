//! The files and words that keep an identity.

use meow_core::crypto::PasswordCost;
use meow_core::identity::{KeyFile, Master, RecoveryKeys, Unlock};
use meow_core::wire::Wire;

use crate::{Seed, Target, seed, strict, world};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "key_file", run: key_file, seeds: key_file_seeds },
    Target { name: "recovery_keys", run: recovery_keys, seeds: recovery_keys_seeds },
    Target { name: "words", run: words, seeds: words_seeds },
];

/// A key file; one under a provider's key is opened too. A password's work is never done here.
pub fn key_file(data: &[u8]) -> bool {
    let Ok(file) = KeyFile::decode(data) else { return false };
    assert_eq!(file.encode().expect("what was decoded can be encoded"), data);
    let opened = file.unlock(Unlock::Key(&world::secret(70)));
    if file.needs_password() {
        assert!(opened.is_err(), "a key opens no password's file");
        return true;
    }
    opened.is_ok_and(|unlocked| unlocked.ukp().is_ok() && unlocked.root().is_ok())
}

/// Seeds of [`key_file`].
pub fn key_file_seeds() -> Vec<Seed> {
    let key = world::secret(70);
    let root = world::root();
    let (cost, mut random) = (PasswordCost::STANDARD, world::random(71));
    let by_key = KeyFile::create(Unlock::Key(&key), cost, &root, &mut random).expect("locks");
    let whole = by_key.encode().expect("encodes");
    let flipped = |at: usize| [&whole[..at], &[whole[at] ^ 1], &whole[at + 1..]].concat();
    // version, salt [16], then the three parts of the cost: zeros, since a key locks the file
    let with_cost = |cost: &[u8]| [&whole[..17], cost, &whole[20..]].concat();
    vec![
        seed("by-key", whole.clone()),
        seed("by-password", with_cost(&[0x80, 0x80, 4, 3, 1])),
        seed("bad-cost-low", with_cost(&[1, 3, 1])),
        seed("bad-cost-high", with_cost(&[0x80, 0x80, 0x80, 2, 3, 1])),
        seed("bad-version", [&[1], &whole[1..]].concat()),
        seed("bad-salt", flipped(3)),
        seed("bad-commitment", flipped(25)),
        seed("bad-ukp", flipped(whole.len() - 90)),
        seed("bad-root", flipped(whole.len() - 1)),
        seed("bad-short", &whole[..whole.len() - 1]),
        seed("bad-trailing", [&whole[..], &[0]].concat()),
        seed("bad-too-long", vec![0; KeyFile::MAX + 1]),
        seed("bad-empty", []),
    ]
}

/// The public recovery keys that a device keeps.
pub fn recovery_keys(data: &[u8]) -> bool {
    let Some(keys) = strict::<RecoveryKeys>(data) else { return false };
    let _ = (keys.key(0), keys.key(u32::MAX), keys.key(keys.end()));
    true
}

/// Seeds of [`recovery_keys`].
pub fn recovery_keys_seeds() -> Vec<Seed> {
    let near_the_end = RecoveryKeys::of(&world::master(), u32::MAX - 3).to_wire().expect("encodes");
    vec![
        seed("last-three", near_the_end.clone()),
        seed("none", [0, 0]),
        seed("bad-count", [0, 0x81, 8]),
        // Its point is looked at when it is used.
        seed("no-key", [&[0, 1][..], &[0xff; 32]].concat()),
        seed("bad-trailing", [&near_the_end[..], &[0]].concat()),
        seed("bad-empty", []),
    ]
}

/// The 24 words, as a person types them.
pub fn words(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(master) = Master::parse(text) else { return false };
    let shown = master.words();
    let again = Master::parse(&shown).expect("what is shown parses back");
    assert_eq!(*again.words(), *shown);
    true
}

/// Seeds of [`words`].
pub fn words_seeds() -> Vec<Seed> {
    let words = world::master().words().to_string();
    let all: Vec<&str> = words.split(' ').collect();
    let exchanged = [&all[1..2], &all[..1], &all[2..]].concat().join(" ");
    vec![
        seed("words", words.clone()),
        seed("words-untidy", format!("  {}\n", words.to_uppercase().replace(' ', " \t"))),
        seed("bad-order", exchanged),
        seed("bad-count", all[..23].join(" ")),
        seed("bad-word", format!("{} meow", all[..23].join(" "))),
        seed("bad-text", [0xff]),
        seed("bad-empty", []),
    ]
}
