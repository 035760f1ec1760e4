//! Packets that go as they are.

use super::*;

#[test]
fn a_thin_packet_is_one_frame_there_and_one_back() {
    for size in THIN_SIZES {
        let mut world = World::new(3, &config(252), 1, Harm::default());
        world.stations[1].listen(true);
        world.echo = true;
        let near = world.stations[0].open(world.now);
        let bystander = world.stations[2].open(world.now);
        world.send(2, bystander, packet(60, 99));
        world.run_out();
        let other = world.accepted(1);
        assert_eq!(world.read(1, other), Taken::Packet(packet(60, 99)));
        world.send(0, near, packet(size, 1));
        let far = world.accepted(1);
        assert_eq!(world.read(1, far), Taken::Packet(packet(size, 1)));
        assert_eq!(world.read(1, far), Taken::End);
        world.send(1, far, packet(size, 2));
        world.finish(1, far);
        assert_eq!(world.read(0, near), Taken::Packet(packet(size, 2)));
        // Who waits hears what is for others too: its user finds that it does not open.
        assert_eq!(world.read(2, bystander), Taken::Packet(packet(size, 1)));
        assert_eq!(world.read(2, bystander), Taken::Packet(packet(size, 2)));
        world.run_out();
        assert_eq!(world.heard, [packet(60, 99), packet(size, 1), packet(size, 2)]);
        // The answer is lost, as far as the asker knows: asked again, it comes again, and nobody has to work for it.
        world.drop_link(1, far);
        world.send(0, near, packet(size, 1));
        assert_eq!(world.read(0, near), Taken::Packet(packet(size, 2)));
        assert_eq!(world.stations[1].accept(), None);
    }
}

#[test]
fn a_long_answer_to_a_thin_packet_comes_in_segments_under_its_tag() {
    let mut world = World::new(2, &config(252), 3, Harm::default());
    world.stations[1].listen(true);
    let near = world.stations[0].open(world.now);
    world.send(0, near, packet(236, 1));
    let far = world.accepted(1);
    world.send(1, far, packet(5000, 2));
    world.finish(1, far);
    assert_eq!(world.read(0, near), Taken::Packet(packet(5000, 2)));
    assert_eq!(world.read(0, near), Taken::End);
    assert!(world.heard[1..].iter().all(|frame| frame[..6] == answer_tag(&packet(236, 1))));
    world.drop_link(0, near);
    world.drop_link(1, far);
    world.run_out();
    assert_eq!((world.stations[0].open_links(), world.stations[1].open_links()), (0, 0));
}

/// Attack 42: priority classes hold.
#[test]
fn a42_acknowledgements_and_thin_packets_go_before_bulk() {
    let mut world = World::new(2, &config(252), 1, Harm::default());
    world.stations[1].listen(true);
    let bulk = world.stations[0].open(world.now);
    world.send(0, bulk, packet(30_000, 1));
    world.step();
    let thin = world.stations[0].open(world.now);
    world.send(0, thin, packet(60, 2));
    while !world.heard.iter().any(|frame| frame.len() == 60) {
        world.step();
    }
    assert!(world.heard.len() <= 3, "bulk went first");
}
