//! Fixed keys and values, the same in every run, from which seeds are made and with which targets decode.

use meow_core::card::{CardFile, CardSecrets};
use meow_core::crypto::{DhSecret, Secret, SeededRandom, SigningKey};
use meow_core::identity::{Master, Root};
use meow_core::lane::{LaneId, Lookup, LookupSecrets, ServerRef};
use meow_core::message::Parties;
use meow_core::request::{SealingKey, fingerprint};

/// When the seeds were made, in Unix seconds.
pub const NOW: u64 = 1_800_000_000;

pub fn random(stream: u64) -> SeededRandom {
    SeededRandom::new(stream)
}

pub fn signing(stream: u64) -> SigningKey {
    SigningKey::generate(&mut random(stream)).expect("seeded randomness does not fail")
}

pub fn secret(stream: u64) -> Secret {
    Secret::generate(&mut random(stream)).expect("seeded randomness does not fail")
}

pub fn dh(stream: u64) -> DhSecret {
    DhSecret::generate(&mut random(stream)).expect("seeded randomness does not fail")
}

pub fn skp() -> SigningKey {
    signing(1)
}

pub fn server_fingerprint() -> [u8; 32] {
    fingerprint(&skp().public())
}

/// The server's private sealing key.
pub fn sealing() -> DhSecret {
    dh(2)
}

pub fn sealing_key() -> SealingKey {
    SealingKey { number: 7, key: sealing().public(), parcel: false, not_after: NOW + 86_400 }
}

pub fn master() -> Master {
    Master::generate(&mut random(3)).expect("seeded randomness does not fail")
}

pub fn root() -> Root {
    master().root(0)
}

pub fn secrets(stream: u64) -> CardSecrets {
    CardSecrets::generate(&root(), &mut random(stream)).expect("seeded randomness does not fail")
}

pub fn servers() -> Vec<ServerRef> {
    let urls =
        ["http://mail.example.org:8080/box", "https://[2001:db8::7]"].map(|u| u.parse().expect("a URL"));
    vec![ServerRef::new(server_fingerprint(), &urls).expect("a server")]
}

/// Where to deposit: two servers.
pub fn lookup(stream: u64) -> Lookup {
    let own = LookupSecrets::generate(&mut random(stream)).expect("seeded randomness does not fail");
    own.lookup(two_servers()).expect("two servers")
}

pub fn two_servers() -> Vec<ServerRef> {
    let url = ["udp://192.0.2.7:41325".parse().expect("a URL")];
    servers().into_iter().chain([ServerRef::new([7; 32], &url).expect("a server")]).collect()
}

/// A card in the file form, and what its issuer keeps.
pub fn card() -> (CardFile, CardSecrets) {
    let secrets = secrets(4);
    let file = secrets.card(&signing(5).public(), servers(), NOW + 86_400, &mut random(6)).expect("a card");
    (file, secrets)
}

pub fn parties() -> Parties {
    Parties {
        from: signing(20).public(),
        to: signing(21).public(),
        from_lane: LaneId::of(&signing(22).public()),
        to_lane: LaneId::of(&signing(23).public()),
    }
}
