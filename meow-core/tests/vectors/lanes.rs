//! Lane lists: entries, chain, merge, refusals.

use meow_core::card::CardSecrets;
use meow_core::crypto::{KeyLabel, Secret, SeededRandom, SigningKey, WideKey, derive};
use meow_core::identity::Master;
use meow_core::lane::{
    LaneEntry, LaneError, LaneList, Lookup, LookupSecrets, MergedLanes, Place, Revoked, ServerRef,
    ServerReference, SignedLaneList, VerifiedLaneList,
};
use meow_core::wire::{List, Wire, WireError};
use serde_json::json;

use crate::harness::{Section, frame, hex};

fn server() -> ServerRef {
    ServerRef::new([0x5e; 32], &["https://relay.example/meow".parse().unwrap()]).unwrap()
}

/// Lane entries of three devices.
fn entries() -> [LaneEntry; 3] {
    let mut random = SeededRandom::new(4);
    std::array::from_fn(|_| {
        let root = Master::generate(&mut random).unwrap().root(0);
        CardSecrets::generate(&root, &mut random).unwrap().lane_entry(vec![server()]).unwrap()
    })
}

fn signed(name: &str, list: &VerifiedLaneList, section: &mut Section) {
    let encoded = list.list().to_wire().unwrap();
    section.case(
        name,
        json!({
            "list": hex(&encoded), "statement": hex(frame("meow sign lane list", &[&encoded])),
            "signed list": hex(list.signed().to_wire().unwrap()), "digest": hex(list.digest().unwrap()),
        }),
    );
}

#[test]
fn lanes() {
    let mut section =
        Section::new("lanes", "Servers, lanes, signed lane lists, their chain and their merge.");
    let reference = ServerReference {
        url: "https://relay.example/meow".parse().unwrap(),
        fingerprint: [0x5e; 32],
        invite: Some(meow_core::wire::Text::new("let-me-in").unwrap()),
    };
    section.case(
        "server reference",
        json!({ "text": reference.to_string(), "fingerprint": hex([0x5e; 32]), "server ref": hex(server().to_wire().unwrap()) }),
    );
    let ckp = SigningKey::from_seed(&[0xc4; 32]);
    let sign = |list| VerifiedLaneList::sign(list, &ckp);
    let [a, b, c] = entries();
    for (name, entry) in [("a", &a), ("b", &b), ("c", &c)] {
        section.case(
            &format!("lane {name}"),
            json!({ "key": hex(entry.key.as_bytes()), "id": hex(entry.id().as_bytes()), "entry": hex(entry.to_wire().unwrap()) }),
        );
    }
    section.case("ckp", json!({ "seed": hex(*ckp.seed()), "public": hex(ckp.public().as_bytes()) }));

    let all = vec![a.clone(), b.clone(), c.clone()];
    let first = sign(LaneList::first(ckp.public(), [0x2e; 32], all).unwrap()).unwrap();
    signed("epoch 0: a, b, c", &first, &mut section);
    let revoke = |entry: &LaneEntry, last_seq| Revoked { lane: entry.id(), last_seq };
    let one = sign(first.next(vec![a.clone(), b.clone()], &[revoke(&c, 300)]).unwrap()).unwrap();
    signed("epoch 1: c revoked after 300", &one, &mut section);
    let other = sign(
        first
            .next(vec![a.clone(), c.clone()], &[revoke(&b, 5), revoke(&c, 299)])
            .unwrap_or_else(|e| panic!("{e}")),
    );
    // A revoked lane cannot be listed.
    assert_eq!(other, Err(LaneError::Inconsistent));
    let other = sign(first.next(vec![a.clone(), c.clone()], &[revoke(&b, 5)]).unwrap()).unwrap();
    signed("epoch 1 elsewhere: b revoked after 5", &other, &mut section);
    let mut merged = MergedLanes::of(&first).unwrap();
    merged.accept(&one).unwrap();
    merged.accept(&other).unwrap();
    let lanes: Vec<_> = merged.lanes().map(|l| hex(l.id().as_bytes())).collect();
    assert_eq!(lanes, [hex(a.id().as_bytes())]);
    section.case(
        "both lists of epoch 1 merged",
        json!({
            "lanes": lanes,
            "revoked": [
                { "lane": hex(b.id().as_bytes()), "last_seq": merged.revoked_after(&b.id()) },
                { "lane": hex(c.id().as_bytes()), "last_seq": merged.revoked_after(&c.id()) },
            ],
        }),
    );
    refused(&mut section, &first, &one, &ckp);
    lookups(&mut section);
    section.check();
}

/// What an owner's secrets give, as JSON. The server is that of these vectors.
pub(crate) fn lookup_secrets(own: &LookupSecrets) -> serde_json::Value {
    let bytes = postcard::to_stdvec(own).unwrap();
    let (lkp, token) = own.keys(&[0x5e; 32]);
    json!({
        "secret": hex(&bytes[..32]), "wrap": hex(&bytes[32..64]), "number": bytes[64], "server": hex([0x5e; 32]),
        "lkp seed": hex(*lkp.seed()), "token": hex(token),
    })
}

/// Where to deposit, what lies there, and lookups that are refused.
fn lookups(section: &mut Section) {
    let mut random = SeededRandom::new(6);
    let own = LookupSecrets::generate(&mut random).unwrap();
    section.case("lookup secrets", lookup_secrets(&own));
    section.case("the same, for their next lookup", lookup_secrets(&own.again()));
    let other = ServerRef::new([0x5f; 32], &["udp://192.0.2.7:41325".parse().unwrap()]).unwrap();
    let lookup = own.lookup(vec![server(), other]).unwrap();
    section.case("lookup with two places", json!({ "lookup": hex(lookup.to_wire().unwrap()) }));
    for place in lookup.places() {
        for len in [45usize, 352] {
            let item: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let context: [&[u8]; 3] =
                [place.server.fingerprint(), place.lkp.as_bytes(), &(len as u32).to_be_bytes()];
            let key: [u8; 32] = derive(KeyLabel::Wrapping, &[], own.wrap().expose(), &context);
            let wrapped = lookup.wrap(place, &item).unwrap();
            assert_eq!(lookup.unwrap(place, &wrapped).unwrap(), item);
            let mut by_hand = item.clone();
            WideKey::expand(&Secret::new(key)).encrypt(&mut by_hand).unwrap();
            assert_eq!(wrapped, by_hand);
            let server = hex(&place.server.fingerprint()[..1]);
            section.case(
                &format!("item of {len} bytes at the server {server}.."),
                json!({
                    "wrap": hex(own.wrap().expose()), "server": hex(place.server.fingerprint()),
                    "mailbox": hex(place.lkp.as_bytes()), "key": hex(key), "item": hex(item), "wrapped": hex(wrapped),
                }),
            );
        }
    }
    let [a, b] = lookup.places() else { panic!("two places") };
    for (name, bad) in [
        ("one server twice", Place { server: a.server.clone(), ..b.clone() }),
        ("one lkp twice", Place { lkp: a.lkp, ..b.clone() }),
        ("one token twice", Place { token: a.token, ..b.clone() }),
    ] {
        let (a, bad) = (a.to_wire().unwrap(), bad.to_wire().unwrap());
        let bytes = [own.wrap().expose().as_slice(), &[2], &a, &bad].concat();
        assert_eq!(Lookup::from_wire(&bytes), Err(WireError::Invalid), "{name}");
        section.case(&format!("refused: {name}"), json!({ "lookup": hex(bytes) }));
    }
}

fn refused(section: &mut Section, first: &VerifiedLaneList, one: &VerifiedLaneList, ckp: &SigningKey) {
    let [a, b, _] = entries();
    // Signed by hand: the library does not sign such lists.
    let mut refuse = |name: &str, list: LaneList| {
        let encoded = list.to_wire().unwrap();
        let sig = ckp.sign(meow_core::crypto::SignLabel::LaneList, &[&encoded]);
        let bytes = [&encoded[..], sig.as_bytes()].concat();
        assert_eq!(
            SignedLaneList::from_wire(&bytes).unwrap().verify(),
            Err(LaneError::Inconsistent),
            "{name}"
        );
        section.case(&format!("refused: {name}"), json!({ "signed list": hex(bytes) }));
    };
    let list = |lanes: Vec<LaneEntry>| LaneList { lanes: List::new(lanes).unwrap(), ..first.list().clone() };
    refuse("no lane in epoch 0", list(vec![]));
    refuse(
        "two lanes with one lkp",
        list(vec![a.clone(), LaneEntry { lookup: a.lookup.clone(), ..b.clone() }]),
    );
    refuse("two lanes with one prekey", list(vec![a.clone(), LaneEntry { prekey: a.prekey, ..b }]));
    let place = Place { lkp: ckp.public(), ..a.lookup.places()[0].clone() };
    let lookup = Lookup::new(Secret::new([3; 32]), vec![place]).unwrap();
    refuse("lkp is the ckp", list(vec![LaneEntry { lookup, ..a.clone() }]));
    let gone = List::new(vec![Revoked { lane: a.id(), last_seq: 1 }]).unwrap();
    refuse("revoked lane is listed", LaneList { revoked: gone, ..first.list().clone() });

    let mut broken = |name: &str, change: &dyn Fn(&mut LaneList), error: LaneError| {
        let mut list = one.next(vec![a.clone()], &[]).unwrap();
        change(&mut list);
        let list = VerifiedLaneList::sign(list, ckp).unwrap();
        assert_eq!(list.follows(one), Err(error), "{name}");
        let bytes = list.signed().to_wire().unwrap();
        section.case(&format!("does not follow epoch 1: {name}"), json!({ "signed list": hex(bytes) }));
    };
    broken("epoch 3", &|l| l.epoch = 3, LaneError::BrokenChain);
    broken("prev is epoch 0", &|l| l.prev = first.digest().unwrap().into(), LaneError::BrokenChain);
    broken("other recovery commitment", &|l| l.recovery = [0x2f; 32].into(), LaneError::Foreign);
    broken("revocation taken back", &|l| l.revoked = List::default(), LaneError::Unrevoked);
}
