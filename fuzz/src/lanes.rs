//! Lane lists, their entries, and the servers that they name.

use meow_core::crypto::{DhSecret, SigningKey};
use meow_core::lane::{
    LaneEntry, LaneId, LaneList, Lookup, MergedLanes, Revoked, ServerRef, SignedLaneList, VerifiedLaneList,
};
use meow_core::wire::{Fixed, Wire};

use crate::{Seed, Target, encoded, seed, strict, with_damage, world};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "lane_list", run: lane_list, seeds: lane_list_seeds },
    Target { name: "lane_entry", run: lane_entry, seeds: lane_entry_seeds },
    Target { name: "server_ref", run: server_ref, seeds: server_ref_seeds },
];

fn ckp() -> SigningKey {
    world::signing(40)
}

fn entry(stream: u64) -> LaneEntry {
    let prekey: DhSecret = world::dh(stream);
    LaneEntry {
        key: world::signing(stream + 1).public(),
        prekey: prekey.public(),
        kem: Fixed([9; 32]),
        lookup: world::lookup(stream + 2),
    }
}

fn first() -> VerifiedLaneList {
    let list = LaneList::first(ckp().public(), [7; 32], vec![entry(100), entry(110)]).expect("few");
    VerifiedLaneList::sign(list, &ckp()).expect("consistent")
}

fn second() -> VerifiedLaneList {
    let gone = Revoked { lane: entry(110).id(), last_seq: 12 };
    let list = first().next(vec![entry(100), entry(120)], &[gone]).expect("follows");
    VerifiedLaneList::sign(list, &ckp()).expect("consistent")
}

/// A list that comes in, and what it does to the list that is known.
pub fn lane_list(data: &[u8]) -> bool {
    let Some(signed) = strict::<SignedLaneList>(data) else { return false };
    let Ok(list) = signed.verify() else { return false };
    let _ = (list.follows(&first()), list.list().lane(&LaneId::from_bytes([0; 16])));
    for known in [first(), second()] {
        let mut lanes = MergedLanes::of(&known).expect("a list");
        let before = lanes.clone();
        match lanes.accept(&list) {
            Ok(()) => assert!(lanes.lanes().all(|lane| lanes.revoked_after(&lane.id()).is_none())),
            Err(_) => assert_eq!(lanes, before, "a refused list changes nothing"),
        }
    }
    true
}

/// Seeds of [`lane_list`].
pub fn lane_list_seeds() -> Vec<Seed> {
    let signed = |list: &VerifiedLaneList| list.signed().clone();
    let fork = LaneList::first(ckp().public(), [7; 32], vec![entry(100), entry(130)]).expect("few");
    let fork = VerifiedLaneList::sign(fork, &ckp()).expect("consistent");
    // a second device revokes another lane, and the same lane earlier
    let gone =
        [Revoked { lane: entry(110).id(), last_seq: 5 }, Revoked { lane: entry(120).id(), last_seq: 1 }];
    let rival = first().next(vec![entry(100)], &gone).expect("follows");
    let rival = VerifiedLaneList::sign(rival, &ckp()).expect("consistent");
    let foreign = world::signing(41);
    let foreign_list = LaneList::first(foreign.public(), [7; 32], vec![entry(100)]).expect("few");
    let foreign_list = VerifiedLaneList::sign(foreign_list, &foreign).expect("consistent");
    let far = LaneList { epoch: 9, ..first().list().clone() };
    let far = VerifiedLaneList::sign(far, &ckp()).expect("consistent");
    let (_, mut forged) = encoded("", &signed(&second()));
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let (_, mut twice) = encoded("", &signed(&first()));
    // the second lane's keys over the first's: 101 bytes of list head, then the entries
    let len = (twice.len() - 64 - 1 - 101 - 1) / 2;
    let start = 102;
    twice.copy_within(start..start + len, start + len);
    with_damage::<SignedLaneList>(vec![
        encoded("second", &signed(&second())),
        encoded("first", &signed(&first())),
        encoded("fork", &signed(&fork)),
        encoded("rival", &signed(&rival)),
        encoded("foreign", &signed(&foreign_list)),
        encoded("far", &signed(&far)),
        seed("bad-signature", forged),
        seed("bad-twice", twice),
        seed("bad-count", [&[0; 32][..], &[0], &[0; 64], &[17]].concat()),
    ])
}

/// One lane.
pub fn lane_entry(data: &[u8]) -> bool {
    strict::<LaneEntry>(data).is_some_and(|lane| lane.id() == LaneId::of(&lane.key))
}

/// Seeds of [`lane_entry`].
pub fn lane_entry_seeds() -> Vec<Seed> {
    let mut bare = entry(140);
    bare.lookup = Lookup::new(world::secret(141), Vec::new()).expect("no place is fine here");
    let (_, whole) = encoded("", &bare);
    // the prekey stands second
    let low_order = [&whole[..32], &[0; 32], &whole[64..]].concat();
    let over_p = [&whole[..32], &[0xff; 32], &whole[64..]].concat();
    let lookup = world::lookup(142);
    let wrap = world::secret(142);
    let place = |n: usize| lookup.places().get(n).expect("two places").to_wire().expect("encodes");
    let (_, head) = encoded("", &entry(140));
    let with = |places: &[Vec<u8>]| {
        let count = u8::try_from(places.len()).expect("few");
        seed("", [&head[..96], wrap.expose(), &[count], &places.concat()].concat()).1
    };
    with_damage::<LaneEntry>(vec![
        encoded("entry", &entry(140)),
        encoded("entry-without-servers", &bare),
        seed("entry-with-two-places", with(&[place(0), place(1)])),
        seed("bad-place-twice", with(&[place(0), place(0)])),
        seed("bad-five-places", with(&[place(0), place(1), place(0), place(1), place(0)])),
        seed("bad-prekey-zero", low_order),
        seed("bad-prekey-not-canonical", over_p),
    ])
}

/// A server as cards name it.
pub fn server_ref(data: &[u8]) -> bool {
    let Some(server) = strict::<ServerRef>(data) else { return false };
    assert!(server.endpoints().count() <= server.urls().count());
    true
}

/// Seeds of [`server_ref`].
pub fn server_ref_seeds() -> Vec<Seed> {
    let none = ServerRef::new([1; 32], &[]).expect("no URL is fine here");
    with_damage::<ServerRef>(vec![
        encoded("server", &world::servers().remove(0)),
        encoded("server-without-urls", &none),
        seed("no-url", [&[1; 32][..], &[1, 3], b"~~~"].concat()),
        seed("bad-url-count", [&[1; 32][..], &[5], &[0; 5]].concat()),
        seed("bad-url-text", [&[1; 32][..], &[1, 1, 0xff]].concat()),
        seed("bad-url-length", [&[1; 32][..], &[1, 0x81, 2], &[b'a'; 257]].concat()),
    ])
}
