//! Many links and stations on one half-duplex medium: who waits for whom, and how long.

use super::super::header;
use super::*;

fn half_duplex() -> Config {
    let mut config = config(252);
    config.half_duplex = true;
    config
}

/// Takes everything that a station would send now.
fn sent(world: &mut World) -> Vec<Bytes> {
    let now = world.now;
    let station = &mut world.stations[0];
    let frames = std::iter::from_fn(|| {
        let frame = station.transmit(now);
        station.sent(now);
        frame
    });
    frames.collect()
}

fn polls(frame: &Bytes) -> bool {
    match Segment::decode(frame) {
        Ok(Segment::Data(data)) => data.poll,
        Ok(Segment::Ack(ack)) => ack.poll,
        _ => false,
    }
}

#[test]
fn neither_questions_nor_resets_meet_the_answer_that_another_station_waits_for() {
    let mut world = World::new(1, &half_duplex(), 1, Harm::default());
    let [_asking, leaving] = [0, 1].map(|n| {
        let link = world.stations[0].open(world.now);
        world.send(0, link, packet(300, n));
        link
    });
    let mut asked = 0;
    while asked < 2 {
        world.now += Duration::from_millis(100);
        let now = world.now;
        world.stations[0].expire(now);
        asked += sent(&mut world).iter().filter(|frame| polls(frame)).count();
    }
    // Nobody answers: both are to be asked again, and one is given up.
    world.now += Duration::from_secs(20);
    let now = world.now;
    world.stations[0].expire(now);
    world.drop_link(0, leaving);
    let tag = header::tag_from([0x77; 6]);
    let question = Ack { tag, acceptor: false, poll: true, base: 0, window: 9, bitmap: 0 };
    world.stations[0].receive(now, &Segment::Ack(question).encode());
    assert_eq!(world.stations[0].transmit(now), None, "talks into an answer");
    world.now = world.stations[0].timeout(now).unwrap();
    assert!(world.now > now && world.now < now + Duration::from_secs(1));
    let now = world.now;
    world.stations[0].expire(now);
    let frames = sent(&mut world);
    assert!(matches!(Segment::decode(&frames[0]), Ok(Segment::Reset { .. })));
    assert!(polls(&frames[1]));
}

#[test]
fn what_one_link_may_send_goes_in_one_piece() {
    let mut world = World::new(2, &half_duplex(), 1, Harm::default());
    world.stations[1].listen(true);
    for n in 0..3 {
        let link = world.stations[0].open(world.now);
        world.send(0, link, packet(2000, n));
    }
    world.run_out();
    // Each time that another link has its turn, the one before has asked for its answer.
    let data: Vec<_> = world.heard.iter().filter(|frame| frame.len() > 18).collect();
    for pair in data.windows(2).filter(|pair| pair[0][..6] != pair[1][..6]) {
        assert!(polls(pair[0]), "{data:02x?}");
    }
}

#[test]
fn a_link_with_much_to_send_keeps_no_other_from_its_turn() {
    let mut config = half_duplex();
    config.window = 8;
    let mut world = World::new(2, &config, 1, Harm::default());
    world.stations[1].listen(true);
    for n in 0..3 {
        let link = world.stations[0].open(world.now);
        world.send(0, link, packet(30_000, n));
    }
    world.run_out();
    let asked: Vec<_> = world.heard.iter().filter(|frame| frame.len() > 18 && polls(frame)).collect();
    let tags: std::collections::HashSet<_> = asked.iter().map(|frame| &frame[..6]).collect();
    assert!(tags.len() == 3 && asked.len() > 9, "{} polls", asked.len());
    // As long as all have something to send: nobody asks twice before another one.
    for pair in asked[..asked.len() - 3].windows(2) {
        assert_ne!(pair[0][..6], pair[1][..6], "one has two turns");
    }
}

#[test]
fn silence_says_something_only_of_who_was_asked() {
    let config = half_duplex();
    let mut world = World::new(1, &config, 1, Harm::default());
    let near = world.stations[0].open(world.now);
    world.send(0, near, packet(100, 1));
    world.now += Duration::from_millis(2);
    assert_eq!(sent(&mut world).len(), 1);
    // The medium is busy for long.
    for _ in 0..20 {
        world.now += config.patience / 4;
        let now = world.now;
        world.stations[0].expire(now);
        assert_eq!(world.stations[0].broken(near), None);
    }
    world.run_out();
    assert_eq!(world.stations[0].broken(near), Some(Broken::Vanished));
    assert!((10..40).contains(&world.heard.len()), "asked {} times", world.heard.len());
}

#[test]
fn who_is_given_up_hears_it() {
    let mut world = World::new(2, &half_duplex(), 1, Harm::default());
    world.stations[1].listen(true);
    let near = world.stations[0].open(world.now);
    world.send(0, near, packet(100, 1));
    let far = world.accepted(1);
    world.run_out();
    // The asker waits, and has nothing to ask. What it says is lost.
    world.send(1, far, packet(100, 2));
    while world.stations[1].broken(far).is_none() {
        world.under_way.retain(|(_, to, _)| *to == 0);
        assert!(world.step());
    }
    assert_eq!(world.stations[1].broken(far), Some(Broken::Vanished));
    assert_eq!(world.read(0, near), Taken::Packet(packet(100, 2)));
    assert_eq!(world.read(0, near), Taken::Broken(Broken::Reset));
}

#[test]
fn a_first_packet_may_take_longer_than_the_patience() {
    let config = half_duplex();
    let mut world = World::new(2, &config, 1, Harm::default());
    world.stations[1].listen(true);
    let near = world.stations[0].open(world.now);
    world.send(0, near, packet(700, 1));
    world.now += Duration::from_millis(2);
    for frame in sent(&mut world) {
        let now = world.now;
        world.stations[1].expire(now);
        world.stations[1].receive(now, &frame);
        world.now += config.patience * 2;
    }
    let far = world.accepted(1);
    assert_eq!(world.read(1, far), Taken::Packet(packet(700, 1)));
}

#[test]
fn two_hundred_links_at_once_are_taken_and_answered_for_when_they_are_over() {
    let mut world = World::new(1, &half_duplex(), 1, Harm::default());
    world.stations[0].listen(true);
    let tags: Vec<_> = (0..200u8).map(|n| header::tag_from([0x80, n, 1, 2, 3, 4])).collect();
    let now = world.now;
    let hear = |world: &mut World, tag: &Tag, poll| {
        let ack = Ack { tag: *tag, acceptor: false, poll, base: 1, window: 9, bitmap: 0 };
        world.stations[0].receive(now, &Segment::Ack(ack).encode());
    };
    let mut links = Vec::new();
    for tag in &tags {
        let (acceptor, open, poll, end, fin) = (false, true, true, true, true);
        let data = Data { tag: *tag, acceptor, open, poll, end, fin, seq: 0, data: packet(20, 1) };
        world.stations[0].receive(now, &Segment::Data(data).encode());
        links.push(world.stations[0].accept().unwrap());
    }
    for (link, tag) in links.into_iter().zip(&tags) {
        assert_eq!(world.read(0, link), Taken::Packet(packet(20, 1)));
        world.finish(0, link);
        world.drop_link(0, link);
        // The end of the answer goes out, and has arrived.
        while world.stations[0].tags.contains_key(tag) {
            world.stations[0].quiet = Duration::ZERO;
            assert!(!sent(&mut world).is_empty());
            hear(&mut world, tag, false);
        }
    }
    assert_eq!(world.stations[0].open_links(), 0);
    // The last acknowledgement of each was lost.
    for tag in &tags {
        sent(&mut world);
        hear(&mut world, tag, true);
        let answer = world.stations[0].transmit(now).expect("no answer");
        assert!(answer[..6] == *tag && is_answer(&answer));
    }
}

#[test]
fn who_is_told_that_nothing_is_taken_asks_ever_less_often() {
    let config = half_duplex();
    let mut world = World::new(2, &config, 1, Harm::default());
    world.stations[1].listen(true);
    let near = world.stations[0].open(world.now);
    for n in 0..5 {
        world.send(0, near, packet(100, n));
    }
    let far = world.accepted(1);
    let start = world.heard.len();
    let until = world.now + config.patience * 20;
    while world.now < until {
        assert!(world.step());
    }
    let frames = world.heard.len() - start;
    assert!((60..200).contains(&frames), "{frames} frames in 20 minutes");
    for n in 0..5 {
        assert_eq!(world.read(1, far), Taken::Packet(packet(100, n)));
    }
}
