//! What is drawn, of whom, and how often.

use std::collections::HashMap;

use meow_core::crypto::{SeededRandom, SigningKey};
use meow_core::policy::MAX_POOL;
use meow_core::request::{Limits, MAX_ONWARD};
use meow_core::wire::{Fixed, List, Text};

use super::*;

pub(in crate::route) fn id(n: u16) -> HopId {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    HopId(id)
}

/// A server that sends on to those of `onward`; a stranger.
pub(in crate::route) fn place(n: u16, onward: &[u16], group: &str) -> Place {
    let limits = Limits { item: 1, mailbox_items: 1, mailbox_bytes: 1, keep_secs: 1, wait_secs: 1, blob: 1 };
    let mut fingerprint = [0; 32];
    fingerprint[..2].copy_from_slice(&n.to_be_bytes());
    Place {
        fingerprint,
        id: id(n),
        descriptor: Arc::new(Descriptor {
            skp: SigningKey::from_seed(&[1; 32]).public(),
            issued: 0,
            expires: 0,
            urls: List::default(),
            keys: List::default(),
            limits,
            hop: Some(List::<_, MAX_ONWARD>::take(onward.iter().map(|n| Fixed(id(*n).0)))),
        }),
        trusted: false,
        own: false,
        pools: Vec::new(),
        said: [group.to_owned()].into(),
        found: None,
        answers: true,
        shown: true,
    }
}

pub(super) fn trusted(n: u16, onward: &[u16]) -> Place {
    Place { trusted: true, ..place(n, onward, "same") }
}

pub(super) fn ids(path: &[Place]) -> Vec<u16> {
    path.iter().map(|p| u16::from_be_bytes([p.id.0[0], p.id.0[1]])).collect()
}

pub(super) fn chain(hops: u8, first: Pool, between: Pool) -> Chain {
    Chain { hops, first, between, delay_ms: 0 }
}

fn choose(
    places: &[Place],
    chain: &Chain,
    target: &HopId,
    avoid: &[[u8; 32]],
    random: &mut dyn Random,
) -> Result<Path, NoPath> {
    super::choose(places, &Draw { chain, target, avoid, firsts: &[], failed: &[] }, random)
}

const ALL: [u16; 6] = [1, 2, 3, 4, 5, 9];

/// Five trusted servers and a mailbox server, which all know each other.
pub(super) fn mesh() -> Vec<Place> {
    let mut all: Vec<_> = (1..=5).map(|n| trusted(n, &ALL)).collect();
    all.push(place(9, &ALL, "theirs"));
    all
}

#[test]
fn paths_have_the_length_asked_for_and_end_where_they_should() {
    let (places, mut random) = (mesh(), SeededRandom::new(1));
    for hops in 2..=5 {
        let chain = chain(hops, Pool::Trusted, Pool::Trusted);
        for _ in 0..50 {
            let path = choose(&places, &chain, &id(9), &[], &mut random).unwrap();
            let (there, back) = (ids(&path.there), ids(&path.back));
            assert_eq!((there.len(), back.len()), (usize::from(hops), usize::from(hops) - 1));
            assert_eq!((there.last(), back.last()), (Some(&9), there.first()));
            for way in [&there, &back] {
                let distinct: BTreeSet<_> = way.iter().collect();
                assert_eq!(distinct.len(), way.len(), "{way:?}");
            }
            assert!(!back.contains(&9));
        }
    }
}

#[test]
fn every_packet_draws_anew_and_all_are_drawn() {
    let (places, mut random) = (mesh(), SeededRandom::new(2));
    let mut seen: HashMap<Vec<u16>, usize> = HashMap::new();
    for _ in 0..2000 {
        let path =
            choose(&places, &chain(3, Pool::Trusted, Pool::Trusted), &id(9), &[], &mut random).unwrap();
        *seen.entry(ids(&path.there)).or_default() += 1;
    }
    // 5 first servers, 4 others between: 100 of each are expected, and less than half of that is 5 deviations away.
    assert_eq!(seen.len(), 20);
    assert!(seen.values().all(|n| (50..170).contains(n)), "{seen:?}");
}

#[test]
fn the_first_is_of_its_pool_answers_and_keeps_no_mail_for_the_contact() {
    let (mut places, mut random) = (mesh(), SeededRandom::new(3));
    places[0].answers = false;
    places[1].trusted = false;
    places[2].pools = vec!["work".into()];
    let avoid = [places[3].fingerprint];
    let chain3 = chain(3, Pool::Trusted, Pool::Known);
    for _ in 0..100 {
        let path = choose(&places, &chain3, &id(9), &avoid, &mut random).unwrap();
        assert!([3, 5].contains(&ids(&path.there)[0]));
    }
    let work = Pool::Named(Text::<MAX_POOL>::new("work").unwrap());
    let path = choose(&places, &chain(2, work.clone(), Pool::Trusted), &id(9), &[], &mut random).unwrap();
    assert_eq!((ids(&path.there), ids(&path.back)), (vec![3, 9], vec![3]));
    let none = choose(&places, &chain(3, work.clone(), work), &id(9), &[], &mut random).unwrap_err();
    assert_eq!(none, NoPath::NoChain);
    let everybody: Vec<_> = places.iter().map(|p| p.fingerprint).collect();
    let none = choose(&places, &chain3, &id(9), &everybody, &mut random).unwrap_err();
    assert_eq!(none, NoPath::NoFirst);
}

#[test]
fn a_chain_goes_only_where_servers_send_on() {
    let mut random = SeededRandom::new(4);
    let two = |places: &[Place], random: &mut SeededRandom| {
        choose(places, &chain(3, Pool::Trusted, Pool::Trusted), &id(9), &[], random)
    };
    // 1 to 2 to 9 and back by 3; nothing else.
    let places = vec![trusted(1, &[2]), trusted(2, &[9]), trusted(3, &[1]), place(9, &[3], "theirs")];
    let path = two(&places, &mut random).unwrap();
    assert_eq!((ids(&path.there), ids(&path.back)), (vec![1, 2, 9], vec![3, 1]));
    let no_way_back = vec![trusted(1, &[2]), trusted(2, &[9]), trusted(3, &[1]), place(9, &[2], "theirs")];
    assert_eq!(two(&no_way_back, &mut random).unwrap_err(), NoPath::NoChain);
    assert_eq!(two(&places[..3], &mut random).unwrap_err(), NoPath::Unknown);
    let mut plain = places;
    let no_hop = Descriptor { hop: None, ..(*plain[3].descriptor).clone() };
    plain[3].descriptor = Arc::new(no_hop);
    assert_eq!(two(&plain, &mut random).unwrap_err(), NoPath::NoHop);
}

/// The draw alone, with as many as no catalog could show at once; `catalog::sybil` has the way that leads here.
#[test]
fn a30_a_thousand_servers_on_one_network_have_one_chance_and_never_two_places() {
    let honest = 1..=5u16;
    let mut places: Vec<_> = honest.clone().map(|n| place(n, &[], &format!("network 10.{n}"))).collect();
    places.extend((100..1100).map(|n| place(n, &[], "network 66.6")));
    places.push(Place { trusted: true, ..place(8, &[], "first") });
    places.push(place(9, &[], "theirs"));
    // Everybody sends on to everybody: a descriptor has no room for that, so the check is left out by a full list.
    let some = |from: usize| -> Vec<u16> {
        let fakes = (100..1100u16).skip(from).step_by(19);
        [1, 2, 3, 4, 5, 8, 9].into_iter().chain(fakes).collect()
    };
    for (n, p) in places.iter_mut().enumerate() {
        let onward = List::<_, MAX_ONWARD>::take(some(n % 19).iter().map(|n| Fixed(id(*n).0)));
        p.descriptor = Arc::new(Descriptor { hop: Some(onward), ..(*p.descriptor).clone() });
    }
    let (mut random, mut fakes) = (SeededRandom::new(5), 0);
    const DRAWS: usize = 600;
    for _ in 0..DRAWS {
        let path = choose(&places, &chain(4, Pool::Trusted, Pool::Known), &id(9), &[], &mut random).unwrap();
        for way in [ids(&path.there), ids(&path.back)] {
            let fake = way.iter().filter(|n| **n >= 100).count();
            assert!(fake <= 1, "{way:?}");
            fakes += fake;
        }
    }
    // Two places each of 5 honest groups and one of fakes: 2/6 of 1,200 ways are expected to hold one.
    assert!((300..500).contains(&fakes), "{fakes} of {}", 2 * DRAWS);
}

#[test]
fn a30_a_name_of_its_own_for_each_of_many_servers_on_one_network_gives_no_more_chances() {
    let mut places: Vec<_> = (1..=5u16).map(|n| place(n, &[], &format!("network 10.{n}"))).collect();
    places.extend((100..200).map(|n| Place {
        said: [format!("domain {n}.example"), "network 66.6".into()].into(),
        ..place(n, &[], "")
    }));
    let mut random = SeededRandom::new(8);
    const DRAWS: usize = 600;
    let fakes = (0..DRAWS).filter(|_| {
        let order = drawn(places.iter().collect(), &mut random).unwrap();
        assert_eq!(order.len(), places.len());
        ids(&[order[0].clone()])[0] >= 100
    });
    // One in six: 100 are expected, and half as many again is 5 deviations away.
    let fakes = fakes.count();
    assert!((55..145).contains(&fakes), "{fakes} of {DRAWS}");
}

#[test]
fn a30_who_claims_to_be_where_honest_servers_are_takes_nothing_of_their_chance() {
    let found = |n: u16, at: String, also: Option<String>| Place {
        found: Some([at].into()),
        said: also.into_iter().collect(),
        ..place(n, &[], "")
    };
    // Ten honest ones, and twenty fakes in each of ten networks, of which twenty each say that they are beside an honest one.
    let mut places: Vec<_> = (0..10).map(|n| found(n, format!("network 10.{n}"), None)).collect();
    places.extend(
        (100..300)
            .map(|n| found(n, format!("network 66.{}", n % 10), Some(format!("network 10.{}", n % 10)))),
    );
    let mut random = SeededRandom::new(12);
    const DRAWS: usize = 600;
    let honest = (0..DRAWS).filter(|_| {
        let order = drawn(places.iter().collect(), &mut random).unwrap();
        ids(&[order[0].clone()])[0] < 100
    });
    // Half: 300 are expected, and 60 are 5 deviations.
    let honest = honest.count();
    assert!((240..360).contains(&honest), "{honest} of {DRAWS}");
}

#[test]
fn a24_what_a_server_alone_says_of_itself_makes_it_the_first_at_most() {
    let mut random = SeededRandom::new(9);
    let mut places = mesh();
    let draw = |places: &[Place], random: &mut SeededRandom| {
        choose(places, &chain(3, Pool::Trusted, Pool::Trusted), &id(9), &[], random)
    };
    places[0].shown = false;
    for _ in 0..50 {
        let path = draw(&places, &mut random).unwrap();
        assert!(ids(&path.there)[1] != 1 && ids(&path.back)[0] != 1);
    }
    places[5].shown = false;
    assert_eq!(draw(&places, &mut random).unwrap_err(), NoPath::Unknown);
}

#[test]
fn strangers_of_the_mailbox_servers_network_are_left_out() {
    let mut random = SeededRandom::new(6);
    let mut places = vec![trusted(1, &ALL), place(2, &ALL, "theirs"), place(9, &ALL, "theirs")];
    let draw = |places: &[Place], random: &mut SeededRandom| {
        choose(places, &chain(3, Pool::Trusted, Pool::Known), &id(9), &[], random)
    };
    assert_eq!(draw(&places, &mut random).unwrap_err(), NoPath::NoChain);
    // One's own server is no stranger.
    places[2].own = true;
    assert_eq!(ids(&draw(&places, &mut random).unwrap().there), [1, 2, 9]);
}

#[test]
fn a_maze_without_a_way_out_ends() {
    let mut random = SeededRandom::new(7);
    let all: Vec<u16> = (1..=60).collect();
    let mut places: Vec<_> = all.iter().map(|n| trusted(*n, &all)).collect();
    places.push(place(99, &all, "theirs"));
    let none = choose(&places, &chain(5, Pool::Trusted, Pool::Trusted), &id(99), &[], &mut random);
    assert_eq!(none.unwrap_err(), NoPath::NoChain);
}

#[test]
fn a30_servers_that_send_on_to_each_other_alone_stand_in_nobodys_way() {
    let mut random = SeededRandom::new(10);
    let maze: Vec<u16> = (100..150).collect();
    let honest = [1, 2, 3, 4, 5, 6, 9];
    let all: Vec<u16> = honest.iter().chain(&maze).copied().collect();
    let mut places: Vec<_> = (1..=6).map(|n| place(n, &all, &format!("network 10.{n}"))).collect();
    places.push(place(9, &all, "theirs"));
    places.push(Place { trusted: true, ..place(8, &all, "first") });
    places.extend(maze.iter().map(|n| place(*n, &maze, &format!("network 66.{n}"))));
    // The way back has to lead to the first one.
    for p in places.iter_mut().take(7) {
        let onward = all.iter().chain([&8]).map(|n| Fixed(id(*n).0));
        let hop = Some(List::<_, MAX_ONWARD>::take(onward));
        p.descriptor = Arc::new(Descriptor { hop, ..(*p.descriptor).clone() });
    }
    for _ in 0..20 {
        choose(&places, &chain(5, Pool::Trusted, Pool::Known), &id(9), &[], &mut random).unwrap();
    }
}

#[test]
fn a30_a_maze_behind_one_first_server_leaves_time_for_the_others() {
    // Fifteen in five networks, that seem to lead there and back by three on each way, which takes six networks. To see that they do
    // not takes twice as many looks as there are.
    let (maze, honest): (Vec<u16>, Vec<u16>) = ((100..115).collect(), (11..=16).collect());
    let onward = |all: &[u16], first| [all, &[9, first]].concat();
    let mut places: Vec<_> =
        maze.iter().map(|n| place(*n, &onward(&maze, 1), &format!("network 66.{}", n % 5))).collect();
    places.extend(honest.iter().map(|n| place(*n, &onward(&honest, 2), &format!("network 10.{n}"))));
    places.push(place(9, &[&maze[..], &honest].concat(), "theirs"));
    places.extend([trusted(1, &maze), trusted(2, &honest)]);
    let mut random = SeededRandom::new(11);
    for _ in 0..6 {
        let path = choose(&places, &chain(5, Pool::Trusted, Pool::Known), &id(9), &[], &mut random).unwrap();
        assert_eq!(ids(&path.there)[0], 2);
    }
}
