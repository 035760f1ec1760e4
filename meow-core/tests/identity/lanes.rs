//! Lane lists: signature, chain, merge.

use std::collections::HashSet;

use meow_core::crypto::{SeededRandom, SigningKey, VerifyKey};
use meow_core::lane::{
    LaneEntry, LaneError, LaneId, LaneList, Lookup, LookupSecrets, MergedLanes, Place, Revoked,
    SignedLaneList, VerifiedLaneList,
};
use meow_core::wire::{Fixed, List, Wire, WireError};
use proptest::prelude::*;

use crate::common::{entry, first_list, secret, server};

fn resign(list: LaneList, ckp: &SigningKey) -> Result<VerifiedLaneList, LaneError> {
    VerifiedLaneList::sign(list, ckp)
}

fn revoked(entry: &LaneEntry, last_seq: u64) -> Revoked {
    Revoked { lane: entry.id(), last_seq }
}

/// The places of a lane, the first under another key.
fn named(entry: &LaneEntry, lkp: VerifyKey) -> Lookup {
    let mut places = entry.lookup.places().to_vec();
    places[0].lkp = lkp;
    Lookup::new(secret(7), places).unwrap()
}

#[test]
fn no_two_places_have_anything_in_common() {
    let mut random = SeededRandom::new(5);
    let own = LookupSecrets::generate(&mut random).unwrap();
    let lookup = own.lookup(vec![server(1), server(2), server(3), server(4)]).unwrap();
    let bytes = lookup.to_wire().unwrap();
    assert_eq!(Lookup::from_wire(&bytes).unwrap(), lookup);
    assert_eq!(own.again().lookup(vec![server(1)]).unwrap().servers().count(), 1);
    assert_ne!(
        own.again().place(server(1)).lkp,
        lookup.places()[0].lkp,
        "a server that comes back gets another"
    );
    let places = lookup.places();
    let distinct: HashSet<_> = places.iter().map(|p| (*p.lkp.as_bytes(), p.token)).collect();
    assert_eq!((distinct.len(), places.len()), (4, 4));

    let [a, b, ..] = places else { panic!("four places") };
    let two = |b: Place| Lookup::new(secret(1), vec![a.clone(), b]);
    assert!(two(b.clone()).is_ok());
    for same in [
        Place { server: a.server.clone(), ..b.clone() },
        Place { lkp: a.lkp, ..b.clone() },
        Place { token: a.token, ..b.clone() },
    ] {
        assert_eq!(two(same.clone()), Err(LaneError::Inconsistent));
        // And what another made is not read.
        let wire = |place: &Place| place.to_wire().unwrap();
        let bytes = [secret(1).expose().as_slice(), &[2], &wire(a), &wire(&same)].concat();
        assert_eq!(Lookup::from_wire(&bytes), Err(WireError::Invalid));
    }
    let five = vec![server(1), server(2), server(3), server(4), server(5)];
    assert_eq!(own.lookup(five), Err(LaneError::Full));
    assert_eq!(Lookup::from_wire(&[&[0; 32][..], &[5]].concat()), Err(WireError::Invalid));
}

fn lanes_of(list: &VerifiedLaneList) -> Vec<LaneEntry> {
    list.list().lanes.to_vec()
}

#[test]
fn signs_encodes_and_verifies() {
    let (ckp, list) = first_list(2, 1);
    let bytes = list.signed().to_wire().unwrap();
    let read = SignedLaneList::from_wire(&bytes).unwrap().verify().unwrap();
    assert_eq!(read, list);
    assert_eq!(read.list().ckp, ckp.public());
    let lane = &list.list().lanes[0];
    assert_eq!(list.list().lane(&lane.id()), Some(lane));
    assert_eq!(LaneId::from_bytes(*lane.id().as_bytes()), lane.id());
}

#[test]
fn another_key_cannot_sign() {
    let (_, list) = first_list(1, 1);
    let stranger = SigningKey::generate(&mut SeededRandom::new(99)).unwrap();
    assert_eq!(resign(list.list().clone(), &stranger), Err(LaneError::Foreign));
}

#[test]
fn a_list_must_agree_with_itself() {
    let (ckp, list) = first_list(2, 1);
    let good = list.list();
    let [a, b] = &*good.lanes else { panic!("two lanes") };
    let with = |lanes: Vec<LaneEntry>| LaneList { lanes: List::new(lanes).unwrap(), ..good.clone() };
    let bad = [
        with(vec![]),
        with(vec![a.clone(), a.clone()]),
        with(vec![a.clone(), LaneEntry { lookup: a.lookup.clone(), ..b.clone() }]),
        with(vec![a.clone(), LaneEntry { lookup: named(b, a.key), ..b.clone() }]),
        with(vec![a.clone(), LaneEntry { key: a.key, ..b.clone() }]),
        with(vec![a.clone(), LaneEntry { prekey: a.prekey, ..b.clone() }]),
        with(vec![LaneEntry { lookup: named(a, ckp.public()), ..a.clone() }]),
        with(vec![LaneEntry { lookup: named(a, a.key), ..a.clone() }]),
        LaneList { prev: Fixed([1; 32]), ..good.clone() },
        LaneList { revoked: List::new(vec![revoked(a, 3)]).unwrap(), ..good.clone() },
        LaneList {
            revoked: List::new(vec![Revoked { lane: LaneId::from_bytes([9; 16]), last_seq: 3 }; 2]).unwrap(),
            ..good.clone()
        },
    ];
    for list in bad {
        assert_eq!(resign(list, &ckp), Err(LaneError::Inconsistent));
    }
}

#[test]
fn the_chain_holds_and_breaks() {
    let (ckp, first) = first_list(2, 1);
    let [a, b] = &lanes_of(&first)[..] else { panic!("two lanes") };
    let second = resign(first.next(vec![a.clone()], &[revoked(b, 17)]).unwrap(), &ckp).unwrap();
    assert_eq!(second.follows(&first), Ok(()));
    assert_eq!(first.follows(&second), Err(LaneError::BrokenChain));
    assert_eq!(second.follows(&second), Err(LaneError::BrokenChain));

    let third = second.next(vec![a.clone()], &[revoked(b, 12)]).unwrap();
    assert_eq!(third.revoked.to_vec(), [revoked(b, 12)], "a lower sequence wins");
    let third = resign(third, &ckp).unwrap();
    assert_eq!(third.follows(&second), Ok(()));
    assert_eq!(third.follows(&first), Err(LaneError::BrokenChain), "an epoch was withheld");

    type Change = fn(&mut LaneList);
    let variants: [(Change, LaneError); 4] = [
        (|l| l.prev = Fixed([3; 32]), LaneError::BrokenChain),
        (|l| l.recovery = Fixed([3; 32]), LaneError::Foreign),
        (|l| l.revoked = List::default(), LaneError::Unrevoked),
        (
            |l| l.revoked = List::new(vec![Revoked { last_seq: 13, ..l.revoked[0] }]).unwrap(),
            LaneError::Unrevoked,
        ),
    ];
    for (change, error) in variants {
        let mut list = third.next(vec![a.clone()], &[]).unwrap();
        change(&mut list);
        assert_eq!(resign(list, &ckp).unwrap().follows(&third), Err(error));
    }
}

#[test]
fn a_chain_ends_with_an_error() {
    let (ckp, first) = first_list(1, 1);
    let last = resign(LaneList { epoch: u32::MAX, ..first.list().clone() }, &ckp).unwrap();
    assert_eq!(last.next(lanes_of(&first), &[]), Err(LaneError::Full));
    let many: Vec<_> = (0..65).map(|i| Revoked { lane: LaneId::from_bytes([i; 16]), last_seq: 0 }).collect();
    assert_eq!(first.next(lanes_of(&first), &many), Err(LaneError::Full));
}

#[test]
fn a_later_list_cannot_forget_what_a_sibling_revoked() {
    let (ckp, first) = first_list(3, 1);
    let [a, b, c] = &lanes_of(&first)[..] else { panic!("three lanes") };
    // Two devices, each without knowing of the other: one removes c, the other goes on with all.
    let removes = resign(first.next(vec![a.clone(), b.clone()], &[revoked(c, 5)]).unwrap(), &ckp).unwrap();
    let keeps = resign(first.next(lanes_of(&first), &[]).unwrap(), &ckp).unwrap();
    let after = resign(keeps.next(lanes_of(&first), &[]).unwrap(), &ckp).unwrap();

    let mut known = MergedLanes::of(&first).unwrap();
    known.accept(&keeps).unwrap();
    known.accept(&removes).unwrap();
    assert_eq!((known.epoch(), known.revoked_after(&c.id())), (1, Some(5)));
    known.accept(&after).unwrap();
    assert_eq!(known.epoch(), 2);
    assert!(known.lane(&c.id()).is_none(), "removals win");
    assert_eq!(known.lanes().count(), 2);

    let before = known.clone();
    for old in [&first, &keeps, &removes] {
        assert_eq!(known.accept(old), Err(LaneError::BrokenChain));
    }
    let (_, stranger) = first_list(1, 5);
    assert_eq!(known.accept(&stranger), Err(LaneError::Foreign));
    assert_eq!(known, before);
}

#[test]
fn debug_names_nobody() {
    let (_, list) = first_list(1, 1);
    let shown = format!("{:?}", list.list().lanes[0]);
    assert_eq!(
        shown,
        "LaneEntry { key: VerifyKey(..), prekey: DhPublic(..), kem: [32 bytes], lookup: Lookup { wrap: Secret(..), \
         places: List([Place { server: ServerRef { fingerprint: [32 bytes], urls: List([[text of 32 bytes]]) }, \
         lkp: VerifyKey(..), token: [16 bytes] }]) } }"
    );
    assert_eq!(format!("{:?}", list.list().lanes[0].id()), "LaneId(..)");
}

#[test]
fn a_flipped_bit_is_refused() {
    let (_, list) = first_list(2, 1);
    let bytes = list.signed().to_wire().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let read = SignedLaneList::from_wire(&bad).map_err(LaneError::from).and_then(SignedLaneList::verify);
        assert!(read.is_err(), "bit {bit}");
    }
    assert_eq!(SignedLaneList::from_wire(&[&bytes[..], &[0]].concat()), Err(WireError::Trailing));
}

/// Lists of epoch 1 over one pool of lanes: each keeps, drops or revokes some.
fn forks(choices: &[Vec<u8>]) -> (VerifiedLaneList, Vec<VerifiedLaneList>) {
    let (ckp, first) = first_list(4, 3);
    let mut random = SeededRandom::new(4);
    let fresh: Vec<_> = (0..4).map(|_| entry(&mut random)).collect();
    let lists = choices.iter().map(|choice| {
        let (mut lanes, mut gone) = (vec![], vec![]);
        for (i, (old, new)) in lanes_of(&first).iter().zip(&fresh).enumerate() {
            match choice[i] % 4 {
                0 => lanes.push(old.clone()),
                // The lane's device turned its mailbox and prekey.
                1 => lanes.push(LaneEntry { lookup: new.lookup.clone(), prekey: new.prekey, ..old.clone() }),
                2 => gone.push(revoked(old, u64::from(choice[i]))),
                _ => {}
            }
        }
        VerifiedLaneList::sign(first.next(lanes, &gone).unwrap(), &ckp).unwrap()
    });
    let lists = lists.collect();
    (first, lists)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn merging_does_not_depend_on_order(
        choices in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 4), 2..5),
        turn in 0usize..24,
    ) {
        let (first, lists) = forks(&choices);
        let all = |order: &[VerifiedLaneList]| {
            let mut merged = MergedLanes::of(&first).unwrap();
            order.iter().for_each(|l| merged.accept(l).unwrap());
            merged
        };
        let one = all(&lists);
        let mut other = lists.clone();
        let length = other.len();
        other.rotate_left(turn % length);
        if turn % 2 == 0 { other.reverse(); }
        prop_assert_eq!(&all(&other), &one);
        // Again is no change.
        let mut again = one.clone();
        lists.iter().for_each(|l| again.accept(l).unwrap());
        prop_assert_eq!(&again, &one);
        // Removals win.
        for list in &lists {
            for r in list.list().revoked.iter() {
                prop_assert!(one.lane(&r.lane).is_none());
                prop_assert!(one.revoked_after(&r.lane).unwrap() <= r.last_seq);
            }
        }
    }
}
