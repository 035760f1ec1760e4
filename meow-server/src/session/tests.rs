use std::net::IpAddr;

use meow_core::crypto::{Secret, SigningKey};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn keys(n: u8) -> SessionKeys {
    SessionKeys::new(&Secret::new([n; 32]))
}

fn facts(n: u8) -> Facts {
    let mailbox = SigningKey::from_seed(&[n; 32]).public();
    Facts { keys: keys(n), role: SessionRole::Owner, mailbox, token: Fixed([0; 16]) }
}

fn known(sessions: &Sessions, n: u8, counter: u64) -> Option<Found> {
    sessions.find(&keys(n).tag(Direction::Up, counter), Duration::ZERO)
}

fn sizes(sessions: &Sessions) -> [usize; 4] {
    let table = sessions.table();
    [table.by_id.len(), table.tags.len(), table.uses.len(), table.of_network.len() + table.of_line.len()]
}

fn at(address: impl Into<IpAddr>) -> Option<Source> {
    Some(address.into().into())
}

#[test]
fn the_one_not_used_for_longest_makes_room() {
    let sessions = Sessions::new(3, 2, DAY);
    (1..=3).for_each(|n| sessions.keep(facts(n), None, Duration::ZERO));
    let first = known(&sessions, 1, 0).unwrap();
    assert!(matches!(sessions.note(&first, [0; 16]), Some(Seen::New(_))));
    sessions.keep(facts(4), None, Duration::ZERO);
    assert!(known(&sessions, 2, 0).is_none());
    assert!(sessions.note(&known(&sessions, 1, 0).unwrap(), [1; 16]).is_some());
    assert_eq!(sizes(&sessions), [3, 3 * 32 + 1, 3, 1]);
}

#[test]
fn an_address_has_its_share_only() {
    let sessions = Sessions::new(10, 2, DAY);
    let address = |n: u8| at([192, 0, n, 1]);
    sessions.keep(facts(9), address(9), Duration::ZERO);
    (1..=5).for_each(|n| sessions.keep(facts(n), address(1), Duration::ZERO));
    assert!((1..=3).all(|n| known(&sessions, n, 0).is_none()));
    assert!([4, 5, 9].iter().all(|n| known(&sessions, *n, 0).is_some()));
    assert_eq!(sizes(&sessions), [3, 96, 3, 4]);
    sessions.forget(&facts(4).mailbox);
    assert_eq!(sizes(&sessions), [2, 64, 2, 4]);
    assert!(sessions.find(&keys(5).tag(Direction::Up, 0), DAY).is_none(), "its time is over");
    sessions.expire(DAY);
    assert_eq!(sizes(&sessions), [0; 4]);
}

/// Attack 18, of sessions: who has an IPv6 network of 48 bits has 65,536 of 64.
#[test]
fn a18_many_addresses_of_one_network_push_out_their_own_sessions() {
    let sessions = Sessions::new(64, 4, DAY);
    let other = at([192, 0, 2, 1]);
    sessions.keep(facts(1), other, Duration::ZERO);
    sessions.keep(facts(2), None, Duration::ZERO);
    for n in 3..=200u16 {
        sessions.keep(facts(n as u8), at([0x2001, 0xdb8, 1, n, 0, 0, 0, 1]), Duration::ZERO);
        assert!(sizes(&sessions)[0] <= 10, "an eighth of all, and the others");
    }
    assert!([1, 2, 200, 193].iter().all(|n| known(&sessions, *n, 0).is_some()));
    assert!(known(&sessions, 192, 0).is_none());
}

/// Attack 18, of sessions: through a broker, on a line or through a chain nobody has an address that bounds what they open.
#[test]
fn a18_whoever_has_no_address_pushes_out_their_own_sessions() {
    let (broker, line, here) = (Some(Source::Listener(0)), Some(Source::Listener(1)), Some(Source::Here));
    for flood in [broker, here, None] {
        let sessions = Sessions::new(64, 4, DAY);
        let keep = |n: u8, source| sessions.keep(facts(n), source, Duration::ZERO);
        let idle = (1..=8).map(|n| at([n, 0, 2, 1])).chain([line]);
        (1..).zip(idle).for_each(|(n, source)| keep(n, source));
        (10..=200).for_each(|n| keep(n, flood));
        assert!((1..=9).all(|n| known(&sessions, n, 0).is_some()), "those of others stay");
        assert_eq!(sizes(&sessions)[0], 64, "what is free is nobody's");
        assert!(known(&sessions, 145, 0).is_none() && known(&sessions, 146, 0).is_some());
        // Whoever comes now finds room, until the flood has no more than its share.
        (201..=247).for_each(|n| keep(n, at([n, 1, 2, 1])));
        assert!((1..=9).chain(201..=247).all(|n| known(&sessions, n, 0).is_some()));
        assert_eq!((sizes(&sessions)[0], sessions.table().of_line[&flood].len()), (64, 8));
    }
}

#[test]
fn tags_follow_the_window() {
    let sessions = Sessions::new(10, 2, DAY);
    sessions.keep(facts(1), None, Duration::ZERO);
    assert!(known(&sessions, 1, 32).is_none());
    for counter in (0..3000).step_by(31) {
        let found = known(&sessions, 1, counter).unwrap();
        assert!(matches!(sessions.note(&found, [0; 16]), Some(Seen::New(_))));
        assert!(sizes(&sessions)[1] <= 65);
    }
    assert!(known(&sessions, 1, 2900).is_none());
    let late = Found { id: 1, counter: 0, facts: Arc::new(facts(1)) };
    assert!(sessions.note(&late, [0; 16]).is_none());
}

#[test]
fn a_tag_that_two_sessions_have_stays_that_of_the_first() {
    let sessions = Sessions::new(10, 2, DAY);
    // The same keys give the same tags, which happens to others by chance only.
    (0..2).for_each(|_| sessions.keep(facts(1), None, Duration::ZERO));
    let first = known(&sessions, 1, 0).unwrap();
    let second = *sessions.table().by_id.keys().max().unwrap();
    for counter in [31, 63, 95] {
        let found = Found { id: second, counter, facts: Arc::new(facts(1)) };
        assert!(sessions.note(&found, [0; 16]).is_some());
    }
    assert!(known(&sessions, 1, 0).is_some_and(|found| found.id == first.id));
}
