//! Attack 42: transmitters that keep no rule.

use proptest::prelude::*;

use super::super::header;
use super::*;

/// Attack 42: a transmitter that begins links and packets without end.
#[test]
fn a42_hostile_transmitter_costs_bounded_memory_and_locks_nobody_out() {
    let mut config = config(252);
    (config.max_memory, config.max_links) = (64 * 1024, 16);
    let mut world = World::new(2, &config, 1, Harm::default());
    world.stations[1].listen(true);
    let mut dice = Dice(9);
    let mut hostile = |world: &mut World, seq: u16| {
        let tag = header::tag_from(dice.draw().to_le_bytes()[..6].try_into().unwrap());
        let data = Data {
            tag,
            acceptor: false,
            open: true,
            poll: false,
            end: false,
            fin: false,
            seq,
            data: packet(243, 1),
        };
        for n in 0..20u16 {
            let piece = Data { seq: seq.wrapping_add(n), ..data.clone() };
            let now = world.now;
            world.stations[1].receive(now, &Segment::Data(piece).encode());
            assert!(world.stations[1].memory() <= 64 * 1024);
            assert!(world.stations[1].open_links() <= 16);
        }
    };
    for n in 0..2000u16 {
        hostile(&mut world, n % 70);
        world.now += Duration::from_millis(400);
        let now = world.now;
        world.stations[1].expire(now);
    }
    assert_eq!(world.stations[1].accept(), None);
    // Honest links get in between, and what was begun in vain is given up in the end.
    world.now += config.patience / 4;
    let near = world.stations[0].open(world.now);
    world.send(0, near, packet(3000, 7));
    let far = world.accepted(1);
    assert_eq!(world.read(1, far), Taken::Packet(packet(3000, 7)));
    world.finish(0, near);
    world.finish(1, far);
    assert_eq!(world.read(1, far), Taken::End);
    world.drop_link(0, near);
    world.drop_link(1, far);
    world.run_out();
    assert_eq!((world.stations[1].open_links(), world.stations[1].memory()), (0, 0));
}

/// Attack 42: a number from before the first piece stands for nothing, and for no piece 0.
#[test]
fn a42_a_number_before_the_first_is_nobodys() {
    let mut world = World::new(2, &config(252), 1, Harm::default());
    world.stations[1].listen(true);
    let tag = header::tag_from([7; 6]);
    let piece = |seq| {
        let (acceptor, poll, data) = (false, false, Bytes::from_static(b"one"));
        Segment::Data(Data { tag, acceptor, open: true, poll, end: true, fin: false, seq, data }).encode()
    };
    for seq in [u16::MAX, 0x8000] {
        world.stations[1].receive(world.now, &piece(seq));
        assert_eq!(world.stations[1].accept(), None, "{seq}");
    }
    world.stations[1].receive(world.now, &piece(0));
    assert!(world.stations[1].accept().is_some());
    // Nor has anything been sent that such an acknowledgement could be for.
    let near = world.stations[0].open(world.now);
    world.stations[0].send(near, packet(3000, 7), world.now, &mut SeededRandom::new(1)).unwrap();
    let Some(Ok(Segment::Data(first))) = world.stations[0].transmit(world.now).map(|f| Segment::decode(&f))
    else {
        panic!("no piece")
    };
    let ack = Ack { tag: first.tag, acceptor: true, poll: false, base: u16::MAX, window: 8, bitmap: 0 };
    world.stations[0].receive(world.now, &Segment::Ack(ack).encode());
    assert_eq!(world.stations[0].broken(near), Some(Broken::Violation));
}

/// Attack 42: a transmitter that sends whole packets, is answered, and acknowledges nothing.
#[test]
fn a42_who_never_acknowledges_an_answer_locks_nobody_out() {
    let mut config = config(252);
    config.max_links = 16;
    let mut world = World::new(2, &config, 1, Harm::default());
    world.stations[1].listen(true);
    for n in 0..16u8 {
        let (tag, now) = ([0x20 + n; 6], world.now);
        let data = Data {
            tag,
            acceptor: false,
            open: true,
            poll: false,
            end: true,
            fin: true,
            seq: 0,
            data: packet(20, n),
        };
        world.stations[1].receive(now, &Segment::Data(data).encode());
        let far = world.accepted(1);
        world.send(1, far, packet(3, 1));
        world.finish(1, far);
        world.drop_link(1, far);
    }
    let silent = world.now;
    while world.now < silent + config.patience / 3 {
        world.step();
    }
    assert_eq!(world.stations[1].open_links(), 16);
    let near = world.stations[0].open(world.now);
    world.send(0, near, packet(3000, 7));
    let far = world.accepted(1);
    assert!(world.now < silent + config.patience / 2, "it had to wait for the patience");
    assert_eq!(world.read(1, far), Taken::Packet(packet(3000, 7)));
}

/// Attack 42: a transmitter that sends one tiny piece after the other. A station waits for other stations' bursts, and no
/// longer than one of them can be.
#[test]
fn a42_tiny_pieces_of_strangers_keep_nobody_quiet() {
    let mut config = config(252);
    config.half_duplex = true;
    let mut world = World::new(1, &config, 1, Harm::default());
    let near = world.stations[0].open(world.now);
    world.send(0, near, packet(600, 1));
    world.now += Duration::from_millis(2);
    let (start, mut dice, mut sent) = (world.now, Dice(3), Vec::new());
    // Whatever the pause between two pieces, a multiple of what each keeps quiet for.
    while world.now < start + config.longest_burst() * 4 {
        let tag = header::tag_from(dice.draw().to_le_bytes()[..6].try_into().unwrap());
        let data = packet(1, 1);
        let (acceptor, open, poll) = (false, false, false);
        let piece = Data { tag, acceptor, open, poll, end: false, fin: false, seq: 0, data };
        let now = world.now;
        world.stations[0].receive(now, &Segment::Data(piece).encode());
        world.stations[0].expire(now);
        if world.stations[0].transmit(now).is_some() {
            sent.push(now - start);
            world.stations[0].sent(now);
        }
        world.now += Duration::from_millis(3);
    }
    assert!(sent.first().is_some_and(|first| *first > config.longest_burst()), "did not wait: {sent:?}");
    assert!(sent.len() > 2 && sent[0] < config.longest_burst() * 2, "kept quiet: {sent:?}");
}

/// Attack 42: one packet without end is refused where the largest one ends.
#[test]
fn a42_packet_over_the_largest_breaks_its_link() {
    let config = config(252);
    let mut world = World::new(1, &config, 1, Harm::default());
    world.stations[0].listen(true);
    for seq in 0..200u16 {
        let data = Data {
            tag: [0x20; 6],
            acceptor: false,
            open: true,
            poll: false,
            end: false,
            fin: false,
            seq,
            data: packet(243, 1),
        };
        let now = world.now;
        world.stations[0].receive(now, &Segment::Data(data).encode());
        assert!(world.stations[0].memory() <= config.max_packet);
    }
    // Told once, then unknown.
    assert_eq!(world.stations[0].accept(), None);
}

proptest! {
    /// Attack 42: any frames at all, in any order: no panic, bounded memory.
    #[test]
    fn a42_noise_is_dropped(frames in prop::collection::vec((0u8..4, any::<u8>(), prop::collection::vec(any::<u8>(), 0..260)), 0..200)) {
        let mut world = World::new(1, &config(252), 1, Harm::default());
        world.stations[0].listen(true);
        let near = world.stations[0].open(world.now);
        world.send(0, near, packet(2000, 1));
        for (tag, kind, rest) in frames {
            world.now += Duration::from_millis(u64::from(kind));
            let tag = match (tag, world.stations[0].links.get(&near).and_then(|link| link.tag)) {
                (0, Some(tag)) => tag,
                _ => [0x10 + tag; 6],
            };
            let frame: Bytes = [&tag[..], &[kind], &rest].concat().into();
            let now = world.now;
            world.stations[0].receive(now, &frame);
            world.stations[0].expire(now);
            if world.stations[0].transmit(now).is_some() {
                world.stations[0].sent(now);
            }
            while world.stations[0].event().is_some() {}
            prop_assert!(world.stations[0].memory() < 100_000);
        }
    }
}
