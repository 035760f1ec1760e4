//! Who tries to stand where it must not.

use meow_core::crypto::SeededRandom;
use meow_core::policy::{Chain, Pool};

use super::tests::*;
use super::*;

fn named(places: &[Place]) -> Vec<First> {
    let first = |p: &Place| First {
        fingerprint: p.fingerprint,
        said: p.said.clone(),
        own: p.own,
        answers: p.answers,
    };
    places.iter().filter(|p| p.trusted).map(first).collect()
}

/// A path to the server 9.
fn draw(
    places: &[Place],
    chain: &Chain,
    avoid: &[u16],
    failed: &[u16],
    random: &mut SeededRandom,
) -> Result<Path, NoPath> {
    let fingerprint = |n: &u16| places.iter().find(|p| p.id == id(*n)).unwrap().fingerprint;
    let avoid: Vec<_> = avoid.iter().map(fingerprint).collect();
    let failed: Vec<_> = failed.iter().map(|n| id(*n)).collect();
    let (firsts, target) = (named(places), id(9));
    super::choose(
        places,
        &Draw { chain, target: &target, avoid: &avoid, firsts: &firsts, failed: &failed },
        random,
    )
}

fn trusted_chain(hops: u8) -> Chain {
    chain(hops, Pool::Trusted, Pool::Trusted)
}

#[test]
fn a30_a_trusted_first_server_of_the_mailbox_servers_operator_is_drawn_only_where_the_user_named_no_other() {
    let mut random = SeededRandom::new(20);
    let mut places = mesh();
    let theirs = |n: u16, places: &mut Vec<Place>| {
        places.iter_mut().find(|p| p.id == id(n)).unwrap().said.insert("theirs".into());
    };
    theirs(1, &mut places);
    theirs(2, &mut places);
    let mut between = BTreeSet::new();
    for _ in 0..100 {
        let path = draw(&places, &trusted_chain(3), &[], &[], &mut random).unwrap();
        assert!([3, 4, 5].contains(&ids(&path.there)[0]));
        between.insert(ids(&path.there)[1]);
    }
    assert_eq!(between, [1, 2, 3, 4, 5].into(), "as one between it tells the others nothing more");
    // The others are away, perhaps because somebody wants it so: no chain, rather than a weak one.
    for away in 3..=5 {
        places[away - 1].answers = false;
    }
    assert_eq!(draw(&places, &trusted_chain(3), &[], &[], &mut random).unwrap_err(), NoPath::CloseFirst);
    // The contact has them taken out by keeping mailboxes there: no choice of the user either.
    for back in 3..=5 {
        places[back - 1].answers = true;
    }
    let none = draw(&places, &trusted_chain(3), &[3, 4, 5], &[], &mut random).unwrap_err();
    assert_eq!(none, NoPath::CloseFirst);
    // All that the user named belongs to that operator: it is the user's choice, of which `meow route` warns.
    for n in 3..=5 {
        theirs(n, &mut places);
    }
    draw(&places, &trusted_chain(3), &[], &[], &mut random).unwrap();
    // Two strangers are never first and last.
    let mut strangers = mesh();
    strangers.iter_mut().for_each(|p| (p.trusted, p.said) = (false, ["theirs".into()].into()));
    let known = chain(3, Pool::Known, Pool::Known);
    assert_eq!(draw(&strangers, &known, &[], &[], &mut random).unwrap_err(), NoPath::CloseFirst);
}

#[test]
fn mailbox_servers_stand_at_the_end_or_nowhere() {
    let mut random = SeededRandom::new(21);
    let mut places = mesh();
    places[1].own = true;
    for _ in 0..100 {
        let path = draw(&places, &trusted_chain(4), &[3], &[], &mut random).unwrap();
        let inner = [&ids(&path.there)[1..3], &ids(&path.back)[..2]].concat();
        assert!(!inner.contains(&2) && !inner.contains(&3), "neither one's own nor the contact's: {inner:?}");
    }
    // Where that leaves too few, there is no chain.
    places.iter_mut().take(4).for_each(|p| p.own = true);
    assert_eq!(draw(&places, &trusted_chain(3), &[5], &[], &mut random).unwrap_err(), NoPath::NoChain);
    // At the end one's own is right.
    let mut pulls = mesh();
    pulls[5].own = true;
    assert_eq!(ids(&draw(&pulls, &trusted_chain(3), &[], &[], &mut random).unwrap().there)[2], 9);
}

#[test]
fn servers_that_failed_are_passed_over_but_for_half_of_all() {
    let mut random = SeededRandom::new(22);
    let places = mesh();
    let mut firsts = BTreeMap::<u16, u32>::new();
    for _ in 0..600 {
        // 3 of 5 failed: the two that failed last are passed over.
        let path = draw(&places, &trusted_chain(3), &[], &[1, 2, 3], &mut random).unwrap();
        let (there, back) = (ids(&path.there), ids(&path.back));
        assert!([there[1], back[0]].iter().all(|n| [3, 4, 5].contains(n)), "{there:?} {back:?}");
        *firsts.entry(there[0]).or_default() += 1;
    }
    // 120 each are expected; half as many again is six deviations away.
    assert!(firsts.len() == 5 && firsts.values().all(|n| (60..180).contains(n)), "{firsts:?}");
    // Where nothing else leads there, they are taken all the same, and the first is none the less drawn as ever.
    let two: Vec<_> = mesh().into_iter().filter(|p| [id(1), id(2), id(9)].contains(&p.id)).collect();
    let mut firsts = BTreeSet::new();
    for _ in 0..50 {
        let path = draw(&two, &trusted_chain(3), &[], &[1], &mut random).unwrap();
        firsts.insert(ids(&path.there)[0]);
    }
    assert_eq!(firsts, [1, 2].into());
    // Nobody that it knows: a failure of others changes nothing.
    draw(&places, &trusted_chain(3), &[], &[9, 9], &mut random).unwrap();
}

#[test]
fn a_stranger_is_passed_over_with_its_whole_network() {
    let mut random = SeededRandom::new(23);
    let all: Vec<u16> = (1..=9).collect();
    let mut places = vec![trusted(1, &all), place(9, &all, "theirs")];
    places.extend([2, 3].map(|n| place(n, &all, "network 66.6")));
    places.extend([4, 5].map(|n| place(n, &all, &format!("network 10.{n}"))));
    for _ in 0..50 {
        let known = chain(3, Pool::Trusted, Pool::Known);
        let path = draw(&places, &known, &[], &[2], &mut random).unwrap();
        assert!([ids(&path.there)[1], ids(&path.back)[0]].iter().all(|n| ![2, 3].contains(n)));
    }
}

#[test]
fn a30_strangers_that_may_belong_together_stand_on_one_of_the_two_ways_at_most() {
    let mut random = SeededRandom::new(26);
    let all: Vec<u16> = (1..=9).collect();
    let mut places = vec![trusted(1, &all), place(9, &all, "theirs")];
    places.extend([2, 3].map(|n| place(n, &all, "network 66.6")));
    places.extend([4, 5, 6].map(|n| place(n, &all, &format!("network 10.{n}"))));
    let known = chain(4, Pool::Trusted, Pool::Known);
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let path = draw(&places, &known, &[], &[], &mut random).unwrap();
        let between = [&ids(&path.there)[1..3], &ids(&path.back)[..2]].concat();
        let distinct: BTreeSet<_> = between.iter().copied().collect();
        assert_eq!((distinct.len(), distinct.is_superset(&[4, 5, 6].into())), (4, true), "{between:?}");
        seen.extend(distinct);
    }
    assert_eq!(seen, [2, 3, 4, 5, 6].into());
    // Three networks are too few for two servers between on each of both ways; for one on each, one network will do.
    places.truncate(6);
    assert_eq!(draw(&places, &known, &[], &[], &mut random).unwrap_err(), NoPath::NoChain);
    let path = draw(&places[..3], &chain(3, Pool::Trusted, Pool::Known), &[], &[], &mut random).unwrap();
    assert_eq!((ids(&path.there), ids(&path.back)), (vec![1, 2, 9], vec![2, 1]));
    // Whom the user trusts may stand on both.
    let mut few = vec![trusted(1, &all), place(9, &all, "theirs")];
    few.extend([6, 7, 8].map(|n| trusted(n, &all)));
    for _ in 0..20 {
        draw(&few, &trusted_chain(4), &[], &[], &mut random).unwrap();
    }
}

#[test]
fn the_way_there_gives_way_where_the_way_back_needs_its_server() {
    let mut random = SeededRandom::new(27);
    // By 2 or 3 and then 4 there; by 2 and 5 alone back.
    let mut places = vec![trusted(1, &[2, 3]), place(9, &[2], "theirs")];
    let onward: [(u16, &[u16]); 4] = [(2, &[4, 5]), (3, &[4]), (4, &[9]), (5, &[1])];
    places.extend(onward.map(|(n, onward)| place(n, onward, &format!("network 10.{n}"))));
    let known = chain(4, Pool::Trusted, Pool::Known);
    for _ in 0..20 {
        let path = draw(&places, &known, &[], &[], &mut random).unwrap();
        assert_eq!((ids(&path.there), ids(&path.back)), (vec![1, 3, 4, 9], vec![2, 5, 1]));
    }
}

const HONEST: u16 = 12;
const HOSTILE: u16 = 4;

fn hostile(n: u16) -> bool {
    (2 + HONEST..2 + HONEST + HOSTILE).contains(&n)
}

/// Chains of three that begin at the trusted server 1, go by strangers, a quarter of them hostile, and end at 9.
fn strangers() -> Vec<Place> {
    let name = |n: u16| if n == 9 { 99 } else { n };
    let all: Vec<u16> = (1..2 + HONEST + HOSTILE).map(name).chain([9]).collect();
    let mut places = vec![trusted(1, &all), place(9, &all, "theirs")];
    places.extend((2..2 + HONEST + HOSTILE).map(|n| place(name(n), &all, &format!("network 10.{n}"))));
    places
}

fn between(path: &Path) -> (u16, u16) {
    (ids(&path.there)[1], ids(&path.back)[0])
}

/// Hostile servers drop the packets that have one of theirs on one of the two ways only, so that those which are tried again
/// go by theirs on both.
#[test]
fn a30_who_drops_packets_to_be_chosen_more_often_loses_by_it() {
    let (places, known) = (strangers(), chain(3, Pool::Trusted, Pool::Known));
    let mut random = SeededRandom::new(24);
    const MESSAGES: usize = 2000;
    let mut both_ways = |drops: bool, remembers: bool| {
        let mut both = 0;
        for _ in 0..MESSAGES {
            let mut failed = Vec::new();
            loop {
                let path = draw(&places, &known, &[], &failed, &mut random).unwrap();
                let (there, back) = between(&path);
                if drops && hostile(there) != hostile(back) {
                    if remembers {
                        failed.splice(0..0, [back, there]);
                    }
                    continue;
                }
                both += usize::from(hostile(there) && hostile(back));
                break;
            }
        }
        both
    };
    // 4/16 x 4/16 of all by chance: 125, give or take 11. Dropping the others, of which each was tried again by any servers,
    // would give one in ten of what is left: 200.
    let (chance, gained, passed_over) =
        (both_ways(false, true), both_ways(true, false), both_ways(true, true));
    let all = (chance, gained, passed_over);
    assert!((70..180).contains(&chance) && gained > chance, "{all:?}");
    assert!(passed_over < gained, "who drops is passed over with whom it drops: {all:?}");
}

/// Somebody lets every packet fail that goes by an honest server, from outside of all of them.
#[test]
fn a30_who_lets_all_honest_servers_fail_gets_twice_its_share_at_most() {
    let (places, known) = (strangers(), chain(3, Pool::Trusted, Pool::Known));
    let mut random = SeededRandom::new(25);
    let honest: Vec<u16> = (2..2 + HONEST).map(|n| if n == 9 { 99 } else { n }).collect();
    const DRAWS: usize = 2000;
    let share = |failed: &[u16], random: &mut SeededRandom| {
        let paths = (0..DRAWS).map(|_| between(&draw(&places, &known, &[], failed, random).unwrap()));
        paths.map(|(there, back)| usize::from(hostile(there)) + usize::from(hostile(back))).sum::<usize>()
    };
    // A quarter of 4,000 places; 27 is one deviation.
    let (free, steered) = (share(&[], &mut random), share(&honest, &mut random));
    assert!((860..1140).contains(&free), "{free}");
    assert!((1840..2160).contains(&steered), "{steered}");
}
