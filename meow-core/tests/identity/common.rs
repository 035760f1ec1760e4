//! What the tests start from.

use meow_core::card::{Card, CardFile, CardSecrets};
use meow_core::crypto::{Random, Secret, SeededRandom, SigningKey, VerifyKey};
use meow_core::identity::{Master, Root};
use meow_core::lane::{LaneEntry, LaneList, ServerRef, VerifiedLaneList};

pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn root(seed: u64) -> Root {
    Master::generate(&mut SeededRandom::new(seed)).unwrap().root(0)
}

pub(crate) fn recovery(seed: u64) -> VerifyKey {
    Master::generate(&mut SeededRandom::new(seed)).unwrap().recovery_key(0).public()
}

pub(crate) fn server(n: u8) -> ServerRef {
    let url = format!("https://relay{n}.example:8443/meow").parse().unwrap();
    ServerRef::new([n; 32], &[url]).unwrap()
}

/// A person's card and what stands behind it.
pub(crate) struct Issuer {
    pub(crate) secrets: CardSecrets,
    pub(crate) file: CardFile,
}

impl Issuer {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let root = Master::generate(&mut random).unwrap().root(0);
        let secrets = CardSecrets::generate(&root, &mut random).unwrap();
        let file = secrets.card(&recovery(seed), vec![server(1)], NOW, &mut random).unwrap();
        Self { secrets, file }
    }

    pub(crate) fn card(&self) -> &Card {
        self.file.card()
    }
}

/// A lane entry with fresh keys.
pub(crate) fn entry(random: &mut dyn Random) -> LaneEntry {
    let root = Master::generate(random).unwrap().root(0);
    CardSecrets::generate(&root, random).unwrap().lane_entry(vec![server(1)]).unwrap()
}

/// The first list of a fresh Ckp with so many lanes.
pub(crate) fn first_list(lanes: usize, seed: u64) -> (SigningKey, VerifiedLaneList) {
    let mut random = SeededRandom::new(seed);
    let ckp = SigningKey::generate(&mut random).unwrap();
    let lanes = (0..lanes).map(|_| entry(&mut random)).collect();
    let list = LaneList::first(ckp.public(), [7; 32], lanes).unwrap();
    let signed = VerifiedLaneList::sign(list, &ckp).unwrap();
    (ckp, signed)
}

pub(crate) fn secret(byte: u8) -> Secret {
    Secret::new([byte; 32])
}
