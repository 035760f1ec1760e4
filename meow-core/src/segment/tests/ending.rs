//! Links that end: finished, broken off, given up, cut; and those that only wait.

use super::*;

/// The answer to the first poll comes when the first piece is about to be sent again.
#[test]
fn a_late_answer_still_says_what_is_lost() {
    let mut world = World::new(2, &config(252), 1, Harm::default());
    let near = world.stations[0].open(world.now);
    world.send(0, near, packet(700, 1));
    world.finish(0, near);
    let mut frames = Vec::new();
    while let Some(frame) = world.stations[0].transmit(world.now) {
        world.stations[0].sent(world.now);
        frames.push(frame);
    }
    assert_eq!(frames.len(), 3);
    world.stations[1].listen(true);
    for frame in [&frames[0], &frames[2]] {
        world.stations[1].receive(world.now, frame);
    }
    let answer = world.stations[1].transmit(world.now).unwrap();
    world.stations[1].sent(world.now);
    world.now += Duration::from_secs(5);
    world.stations[0].expire(world.now);
    world.stations[0].receive(world.now, &answer);
    let far = world.accepted(1);
    assert_eq!(world.read(1, far), Taken::Packet(packet(700, 1)));
    assert_eq!(world.read(1, far), Taken::End);
}

#[test]
fn who_vanishes_is_given_up_and_who_breaks_off_says_so() {
    let mut world = World::new(2, &config(252), 1, Harm::default());
    let near = world.stations[0].open(world.now);
    world.send(0, near, packet(3000, 1));
    world.run_out();
    assert_eq!(world.stations[0].take(near), Taken::Broken(Broken::Vanished));
    let patience = world.stations[0].config.patience;
    assert!(world.now >= patience && world.now < patience * 3);
    assert!(world.heard.len() < 40, "{} frames into the void", world.heard.len());
    world.drop_link(0, near);

    world.stations[1].listen(true);
    let near = world.stations[0].open(world.now);
    world.send(0, near, packet(300, 1));
    let far = world.accepted(1);
    world.drop_link(0, near);
    assert_eq!(world.read(1, far), Taken::Packet(packet(300, 1)));
    assert_eq!(world.read(1, far), Taken::Broken(Broken::Reset));
    assert_eq!(
        world.stations[1].send(far, packet(1, 1), world.now, &mut world.random),
        Err(Broken::Reset.into())
    );
}

#[test]
fn a_reader_that_is_behind_holds_its_sender_back_for_as_long_as_it_likes() {
    let mut world = World::new(2, &config(252), 1, Harm { lose: 100, ..Harm::default() });
    world.stations[1].listen(true);
    let near = world.stations[0].open(world.now);
    let mut sent = 0u8;
    let far = loop {
        while world.stations[0].has_room(near, 20_000) && sent < 9 {
            world.send(0, near, packet(20_000, sent));
            sent += 1;
        }
        world.step();
        if let Some(far) = world.stations[1].accept() {
            break far;
        }
    };
    for _ in 0..3000 {
        world.step();
    }
    assert!(world.now > config(252).patience * 3, "{:?}", world.now);
    assert!(world.stations[1].memory() <= 80_000, "{}", world.stations[1].memory());
    assert_eq!(world.stations[0].broken(near), None);
    for n in 0..9 {
        assert_eq!(world.read(1, far), Taken::Packet(packet(20_000, n)));
        while sent < 9 && world.stations[0].has_room(near, 20_000) {
            world.send(0, near, packet(20_000, sent));
            sent += 1;
        }
    }
}

#[test]
fn what_others_opened_can_be_cut_off_and_what_was_dialled_goes_on() {
    let mut world = World::new(2, &config(200), 5, Harm::default());
    let [near, far] = [0, 1];
    world.stations.iter_mut().for_each(|station| station.listen(true));
    let dialled = world.stations[near].open(world.now);
    world.send(near, dialled, Bytes::from_static(&[1; 500]));
    let back = world.stations[far].open(world.now);
    world.send(far, back, Bytes::from_static(&[2; 500]));
    while world.stations.iter().any(|station| station.waiting() == 0) {
        assert!(world.step());
    }
    let (accepted, there) = (world.stations[far].accept().unwrap(), world.stations[near].accept().unwrap());
    world.stations[far].cut();
    assert_eq!(world.stations[far].broken(accepted), Some(Broken::Reset));
    assert!(matches!(world.read(far, accepted), Taken::Packet(_)), "what has arrived can still be read");
    assert_eq!(world.read(near, dialled), Taken::Broken(Broken::Reset), "the other side is told");
    world.send(near, there, Bytes::from_static(&[3; 700]));
    assert_eq!(world.read(far, back), Taken::Packet(Bytes::from_static(&[3; 700])));
}
