//! A thousand servers of one operator, by the way on which a client gets to know servers: signed descriptors in the catalogs of
//! those whom the user named for the first place, page by page as they come off the wire (attack 30). No catalog shows more
//! than 64, so it takes sixteen of them.

use std::collections::BTreeMap;

use meow_core::crypto::{SeededRandom, SigningKey};
use meow_core::request::{Limits, SignedDescriptor};
use meow_core::wire::{Fixed, List, Text, Wire as _};

use super::super::hops::HopMarks;
use super::super::path::{Draw, choose};
use super::*;

const HONEST: usize = 5;
const FAKES: usize = 16 * MAX_ONWARD;
/// Honest ones, the first of all chains, and the mailbox server.
const FIRST: usize = HONEST;
const TARGET: usize = HONEST + 1;
const OTHERS: usize = HONEST + 2;

/// A server by its number: the honest ones first, each on a network of its own; the fakes after them, all on one.
fn key_of(n: usize) -> SigningKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
    SigningKey::from_seed(&seed)
}

fn url(n: usize) -> String {
    match n.checked_sub(OTHERS) {
        None => format!("http://203.{n}.113.7/"),
        // An address and a port of its own for each.
        Some(fake) => format!("http://66.6.{}.{}:{}/", fake / 250, fake % 250, 1000 + fake),
    }
}

/// As that server signs it. Each sends on to all honest ones, to the end and the first, and to some of the fakes.
fn descriptor(n: usize, keys: &[SigningKey], ids: &[Fixed<16>]) -> SignedDescriptor {
    let limits = Limits { item: 1, mailbox_items: 1, mailbox_bytes: 1, keep_secs: 1, wait_secs: 1, blob: 1 };
    let onward = ids[..OTHERS].iter().chain(ids[OTHERS..].iter().skip(n % 19).step_by(19)).copied();
    let descriptor = Descriptor {
        skp: keys[n].public(),
        issued: 10,
        expires: 20,
        urls: List::take([Text::new(url(n)).unwrap()]),
        keys: List::default(),
        limits,
        hop: Some(List::take(onward)),
    };
    SignedDescriptor::sign(descriptor, &keys[n]).unwrap()
}

#[test]
fn a30_a_thousand_signed_descriptors_from_catalogs_have_one_chance_and_never_two_places() {
    let keys: Vec<_> = (0..OTHERS + FAKES).map(key_of).collect();
    let prints: Vec<_> = keys.iter().map(|key| meow_core::request::fingerprint(&key.public())).collect();
    let ids: Vec<_> = prints.iter().map(|print| Fixed(HopId::of(print).0)).collect();
    let numbers: BTreeMap<_, _> = prints.iter().zip(0..).collect();
    let signed: Vec<_> = (0..keys.len()).map(|n| descriptor(n, &keys, &ids)).collect();

    let mut directory = Directory::default();
    let mut show = |by: usize, shown: &[usize]| {
        let mut catalog = Catalog::new();
        for page in shown.chunks(10) {
            let page = CatalogPage { servers: List::take(page.iter().map(|n| signed[*n].clone())), next: 0 };
            let wire = Answer::Catalog(page).to_wire().unwrap();
            let Answer::Catalog(page) = Answer::from_wire(&wire).unwrap() else { panic!() };
            add(&mut catalog, page).unwrap();
        }
        directory.take(prints[by], catalog);
        let asked = Asked { at: Instant::now(), answered: true, whole: true };
        directory.asked.insert(prints[by], asked);
    };
    // One server that the user trusts, and sixteen that are known to it and belong to the attacker.
    show(FIRST, &(0..OTHERS).collect::<Vec<_>>());
    for n in 0..FAKES / MAX_ONWARD {
        let from = OTHERS + n * MAX_ONWARD;
        show(OTHERS + n, &(from..from + MAX_ONWARD).collect::<Vec<_>>());
    }
    let mut greedy = Catalog::new();
    let more = (OTHERS..OTHERS + MAX_ONWARD + 1).map(|n| signed[n].clone());
    let all = more.map(|signed| CatalogPage { servers: List::take([signed]), next: 0 });
    assert!(all.into_iter().map(|page| add(&mut greedy, page)).any(|added| added.is_err()));

    let trusted = KnownHop {
        reference: meow_core::lane::ServerReference {
            url: url(FIRST).parse().unwrap(),
            fingerprint: prints[FIRST],
            invite: None,
        },
        marks: HopMarks { trusted: true, ..HopMarks::default() },
        added_ms: 0,
    };
    let known: Vec<_> = directory
        .servers()
        .iter()
        .filter_map(|print| place(*print, &directory, (*print == prints[FIRST]).then_some(&trusted), false))
        .collect();
    // The trusted one is shown by nobody else, so it may be the first alone.
    assert_eq!(known.len(), OTHERS + FAKES);
    assert_eq!(known.iter().filter(|place| place.trusted).count(), 1, "trust is the user's");

    let target = HopId::of(&prints[TARGET]);
    let chain = Chain { hops: 4, first: Pool::Trusted, between: Pool::Known, delay_ms: 0 };
    let draw = Draw { chain: &chain, target: &target, avoid: &[], firsts: &[], failed: &[] };
    let (mut random, mut fakes) = (SeededRandom::new(30), 0);
    const DRAWS: usize = 300;
    for _ in 0..DRAWS {
        let path = choose(&known, &draw, &mut random).unwrap();
        assert_eq!(numbers[&path.there[0].fingerprint], FIRST);
        for way in [&path.there, &path.back] {
            let fake = way.iter().filter(|place| numbers[&place.fingerprint] >= OTHERS).count();
            assert!(fake <= 1, "two of one network");
            fakes += fake;
        }
    }
    // Two places each of five honest groups and one of fakes: a third of 600 ways are expected to hold one.
    assert!((130..270).contains(&fakes), "{fakes} of {}", 2 * DRAWS);
}
