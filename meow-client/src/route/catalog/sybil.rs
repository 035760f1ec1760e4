//! A thousand servers of one operator, by the way on which a client gets to know servers: signed descriptors in the catalogs of
//! those whom the user named for the first place, page by page as they come off the wire (attack 30). No catalog shows more
//! than 64, so it takes sixteen of them.

use std::collections::BTreeMap;

use meow_core::crypto::{SeededRandom, SigningKey};
use meow_core::onion::HopId;
use meow_core::policy::{Chain, Pool};
use meow_core::request::{Answer, Limits, SignedDescriptor};
use meow_core::wire::{Fixed, List, Text, Wire as _};

use super::super::hops::HopMarks;
use super::super::known::View;
use super::super::path::{Draw, choose};
use super::*;

/// How servers say where they are.
type Url = fn(usize) -> String;

const HONEST: usize = 5;
const FAKES: usize = 16 * MAX_ONWARD;
/// Honest ones, the first of all chains, and the mailbox server.
const FIRST: usize = HONEST;
const TARGET: usize = HONEST + 1;
const OTHERS: usize = HONEST + 2;

/// A server by its number: the honest ones first; the fakes after them.
fn key_of(n: usize) -> SigningKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
    SigningKey::from_seed(&seed)
}

/// The honest ones each on a network of their own, the fakes all on one.
fn address(n: usize) -> String {
    match n.checked_sub(OTHERS) {
        None => format!("http://203.{n}.113.7/"),
        // An address and a port of its own for each.
        Some(fake) => format!("http://66.6.{}.{}:{}/", fake / 250, fake % 250, 1000 + fake),
    }
}

/// A name of its own for each, which says nothing of the network that it leads into.
fn name(n: usize) -> String {
    format!("https://one.of-{n}.example/")
}

/// As that server signs it. Each sends on to all honest ones, to the end and the first, and to some of the fakes.
fn descriptor(n: usize, url: Url, keys: &[SigningKey], ids: &[Fixed<16>]) -> SignedDescriptor {
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

/// Servers, and what the client has of them.
struct World {
    prints: Vec<[u8; 32]>,
    signed: Vec<SignedDescriptor>,
    directory: Directory,
    trusted: Vec<KnownHop>,
}

impl World {
    fn new(url: Url) -> Self {
        let keys: Vec<_> = (0..OTHERS + FAKES).map(key_of).collect();
        let prints: Vec<_> = keys.iter().map(|key| meow_core::request::fingerprint(&key.public())).collect();
        let ids: Vec<_> = prints.iter().map(|print| Fixed(HopId::of(print).0)).collect();
        let signed = (0..keys.len()).map(|n| descriptor(n, url, &keys, &ids)).collect();
        let mut world = Self { prints, signed, directory: Directory::default(), trusted: Vec::new() };
        world.trust(world.prints[FIRST]);
        world
    }

    /// The user trusts one that says so.
    fn trust(&mut self, fingerprint: [u8; 32]) {
        let url = "https://trusted.example".parse().unwrap();
        let reference = meow_core::lane::ServerReference { url, fingerprint, invite: None };
        let marks = HopMarks { trusted: true, ..HopMarks::default() };
        self.trusted.push(KnownHop { reference, marks, added_ms: 0 });
    }

    /// A server shows its catalog, which says of some of the servers at which address they were found.
    fn show(&mut self, by: [u8; 32], shown: &[usize], found: impl Fn(usize) -> Option<[u8; 4]>) {
        let mut catalog = Catalog::new();
        for page in shown.chunks(10) {
            let listed = page.iter().map(|n| Listed {
                signed: self.signed[*n].clone(),
                found: List::take(found(*n).map(|at| Subnet::of(at.into()))),
            });
            let wire =
                Answer::Catalog(CatalogPage { servers: List::take(listed), next: 0 }).to_wire().unwrap();
            let Answer::Catalog(page) = Answer::from_wire(&wire).unwrap() else { panic!() };
            add(&mut catalog, page).unwrap();
        }
        self.directory.take(by, catalog);
        self.directory.asked.insert(by, Asked::now(Some(true)));
    }

    /// As many catalogs as it takes show the fakes.
    fn show_fakes(&mut self, by: impl Fn(usize) -> [u8; 32], found: impl Fn(usize) -> Option<[u8; 4]>) {
        for n in 0..FAKES / MAX_ONWARD {
            let from = OTHERS + n * MAX_ONWARD;
            self.show(by(n), &(from..from + MAX_ONWARD).collect::<Vec<_>>(), &found);
        }
    }

    /// Draws chains of four that begin at the first server, and counts the fakes on their ways, and the ways that have two.
    fn draw(&self) -> (usize, usize) {
        let own = BTreeSet::new();
        let places = View::new(&self.directory, &self.trusted, &own, &Pool::Trusted).places();
        // The trusted one is shown by nobody else, so it may be the first alone.
        assert_eq!(places.len(), OTHERS + FAKES);
        assert_eq!(places.iter().filter(|place| place.trusted).count(), 1, "trust is the user's");
        let numbers: BTreeMap<_, _> = self.prints.iter().zip(0..).collect();
        let target = HopId::of(&self.prints[TARGET]);
        let chain = Chain { hops: 4, first: Pool::Trusted, between: Pool::Known, delay_ms: 0 };
        let draw = Draw { chain: &chain, target: &target, avoid: &[], firsts: &[], failed: &[] };
        let (mut random, mut fakes, mut twice) = (SeededRandom::new(30), 0, 0);
        for _ in 0..DRAWS {
            let path = choose(&places, &draw, &mut random).unwrap();
            assert_eq!(numbers[&path.there[0].fingerprint], FIRST);
            for way in [&path.there, &path.back] {
                let fake = way.iter().filter(|place| numbers[&place.fingerprint] >= OTHERS).count();
                fakes += fake;
                twice += usize::from(fake > 1);
            }
        }
        (fakes, twice)
    }

    /// Two places each of five honest groups and one of fakes: a third of 600 ways are expected to hold one.
    fn count_as_one(&self) {
        let (fakes, twice) = self.draw();
        assert_eq!(twice, 0, "two of one network");
        assert!((130..270).contains(&fakes), "{fakes} of {}", 2 * DRAWS);
    }
}

const DRAWS: usize = 300;

/// Honest servers, each on its own network.
fn apart(n: usize) -> Option<[u8; 4]> {
    Some([203, u8::try_from(n).unwrap(), 113, 7])
}

/// All in one network, each at an address of its own.
fn together(n: usize) -> Option<[u8; 4]> {
    let [a, b, ..] = u16::try_from(n).unwrap().to_be_bytes();
    Some([66, 6, a, b])
}

fn nobody(_: usize) -> Option<[u8; 4]> {
    None
}

const HONEST_ONES: [usize; OTHERS] = [0, 1, 2, 3, 4, FIRST, TARGET];

#[test]
fn a30_a_thousand_signed_descriptors_from_catalogs_have_one_chance_and_never_two_places() {
    let mut world = World::new(address);
    // One server that the user trusts, and sixteen that are known to it and belong to the attacker.
    world.show(world.prints[FIRST], &HONEST_ONES, nobody);
    let prints = world.prints.clone();
    world.show_fakes(|n| prints[OTHERS + n], nobody);
    let mut greedy = Catalog::new();
    let more = world.signed[OTHERS..=OTHERS + MAX_ONWARD].iter().cloned();
    let listed = more.map(|signed| Listed { signed, found: List::default() });
    let mut pages = listed.map(|listed| CatalogPage { servers: List::take([listed]), next: 0 });
    assert!(pages.any(|page| add(&mut greedy, page).is_err()));
    world.count_as_one();
}

#[test]
fn a30_a_thousand_names_that_lead_into_one_network_have_one_chance_and_never_two_places() {
    let mut world = World::new(name);
    world.show(world.prints[FIRST], &HONEST_ONES, apart);
    // They got into the catalogs of as many servers as it takes, all of which the user trusts, and which found them.
    let by = |n| [u8::try_from(n).unwrap(); 32];
    (0..FAKES / MAX_ONWARD).for_each(|n| world.trust(by(n)));
    world.show_fakes(by, together);
    world.count_as_one();
    // Where none of these says where anybody is, all that is known of a name is its domain.
    world.show(world.prints[FIRST], &HONEST_ONES, nobody);
    world.show_fakes(by, nobody);
    let (fakes, twice) = world.draw();
    assert!(fakes > 2 * DRAWS && twice > DRAWS, "{fakes}, {twice}");
}

/// Nobody whom the user trusts knows the fakes: catalogs of accomplices show them, and lie about where they are, and where
/// the honest ones are.
#[test]
fn a30_a_strangers_word_on_where_servers_are_sets_nobody_apart_and_puts_nobody_together() {
    for url in [name as Url, liar] {
        let mut world = World::new(url);
        world.show(world.prints[FIRST], &HONEST_ONES, apart);
        let prints = world.prints.clone();
        world.show_fakes(|n| prints[OTHERS + n], |n| together(n).map(|[.., a, b]| [a + 11, b, 0, 1]));
        world.show([99; 32], &HONEST_ONES, together);
        world.count_as_one();
    }
}

/// Each fake says that it is on a network of its own; honest ones say where they are.
fn liar(n: usize) -> String {
    match n.checked_sub(OTHERS) {
        None => address(n),
        Some(fake) => format!("http://{}.{}.0.1/", 11 + fake / 250, fake % 250),
    }
}

/// One of three hops that the user trusts says that all servers but itself are in one network.
#[test]
fn a30_a_trusted_hop_that_lies_alone_neither_becomes_the_only_first_one_nor_puts_others_together() {
    let mut world = World::new(name);
    for n in [0, 1] {
        world.trust(world.prints[n]);
        world.show(world.prints[n], &HONEST_ONES, apart);
    }
    world.show(world.prints[FIRST], &HONEST_ONES, |n| together(n).filter(|_| n != FIRST));
    let own = BTreeSet::new();
    let view = View::new(&world.directory, &world.trusted, &own, &Pool::Trusted);
    let (places, firsts) = (view.places(), view.firsts());
    let target = HopId::of(&world.prints[TARGET]);
    let chain = Chain { hops: 4, first: Pool::Trusted, between: Pool::Known, delay_ms: 0 };
    let draw = Draw { chain: &chain, target: &target, avoid: &[], firsts: &firsts, failed: &[] };
    let (mut random, mut first, mut strangers) =
        (SeededRandom::new(31), BTreeMap::<_, u32>::new(), BTreeMap::<_, u32>::new());
    for _ in 0..DRAWS {
        let path = choose(&places, &draw, &mut random).unwrap();
        *first.entry(path.there[0].fingerprint).or_default() += 1;
        let between = path.there[1..3].iter().chain(&path.back);
        let between = between.filter(|place| !place.trusted).map(|place| place.fingerprint);
        *strangers.entry(between.collect::<BTreeSet<_>>().len()).or_default() += 1;
    }
    // 100 of each are expected, and 40 are nearly 5 deviations.
    assert!(first.len() == 3 && first.values().all(|n| (60..140).contains(n)), "{first:?}");
    assert!(strangers.keys().any(|together| *together > 1), "{strangers:?}");
}
