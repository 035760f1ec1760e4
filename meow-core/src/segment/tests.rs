//! Machines on a medium that loses, repeats and reorders, on virtual time.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::rto::Dice;
use super::*;
use crate::crypto::SeededRandom;
use crate::transport::{LinkProfile, Pattern};

/// What a medium does to frames, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
struct Harm {
    lose: u64,
    repeat: u64,
    reorder: u64,
}

struct World {
    stations: Vec<Machine>,
    /// Until when a station sends.
    busy: Vec<Option<Duration>>,
    under_way: Vec<(Duration, usize, Bytes)>,
    now: Duration,
    harm: Harm,
    dice: Dice,
    random: SeededRandom,
    heard: Vec<Bytes>,
    echo: bool,
}

fn config(max_frame: usize) -> Config {
    let mut profile = LinkProfile::new(Pattern::Bus, max_frame);
    (profile.reliable, profile.bit_rate, profile.rtt) = (false, 100_000, Duration::from_millis(5));
    Config::from_profile(&profile).unwrap()
}

impl World {
    fn new(stations: usize, config: &Config, seed: u64, harm: Harm) -> Self {
        let machine =
            |n| Machine::new(config.clone(), &mut SeededRandom::new(seed * 100 + n as u64)).unwrap();
        Self {
            stations: (0..stations).map(machine).collect(),
            busy: vec![None; stations],
            under_way: Vec::new(),
            now: Duration::ZERO,
            harm,
            dice: Dice(seed),
            random: SeededRandom::new(seed + 7),
            heard: Vec::new(),
            echo: false,
        }
    }

    fn chance(&mut self, thousandths: u64) -> bool {
        self.dice.draw() % 1000 < thousandths
    }

    /// One event. False when nothing will ever happen by itself.
    fn step(&mut self) -> bool {
        for n in 0..self.stations.len() {
            self.stations[n].expire(self.now);
            if self.busy[n].is_none()
                && let Some(frame) = self.stations[n].transmit(self.now)
            {
                let end = self.now + self.stations[n].config.airtime(frame.len());
                self.busy[n] = Some(end);
                self.heard.push(frame.clone());
                let echo = self.echo;
                for to in (0..self.stations.len()).filter(|to| *to != n || echo) {
                    let copies = if self.chance(self.harm.repeat) { 2 } else { 1 };
                    for _ in 0..copies {
                        if !self.chance(self.harm.lose) {
                            let late = if self.chance(self.harm.reorder) { self.dice.draw() % 60 } else { 0 };
                            self.under_way.push((end + Duration::from_millis(1 + late), to, frame.clone()));
                        }
                    }
                }
            }
        }
        for station in &mut self.stations {
            station.expire(self.now);
        }
        let times = (self.under_way.iter().map(|(at, ..)| *at))
            .chain(self.busy.iter().flatten().copied())
            .chain(self.stations.iter().filter_map(|s| s.timeout(self.now)));
        let Some(next) = times.min() else { return false };
        self.now = next.max(self.now);
        for n in 0..self.stations.len() {
            if self.busy[n].is_some_and(|end| end <= self.now) {
                self.busy[n] = None;
                self.stations[n].sent(self.now);
            }
        }
        let (arrived, rest) =
            std::mem::take(&mut self.under_way).into_iter().partition(|(at, ..)| *at <= self.now);
        self.under_way = rest;
        let arrived: Vec<_> = arrived;
        for (_, to, frame) in arrived {
            self.stations[to].receive(self.now, &frame);
        }
        true
    }

    fn send(&mut self, station: usize, link: LinkId, packet: Bytes) {
        self.stations[station].send(link, packet, self.now, &mut self.random).unwrap();
    }

    fn finish(&mut self, station: usize, link: LinkId) {
        self.stations[station].finish(link, &mut self.random).unwrap();
    }

    /// Steps until a station has something to read on a link.
    fn read(&mut self, station: usize, link: LinkId) -> Taken {
        loop {
            match self.stations[station].take(link) {
                Taken::Nothing => assert!(self.step(), "nothing will ever come"),
                taken => return taken,
            }
        }
    }

    fn accepted(&mut self, station: usize) -> LinkId {
        loop {
            if let Some(link) = self.stations[station].accept() {
                return link;
            }
            assert!(self.step(), "nobody will ever come");
        }
    }

    fn run_out(&mut self) {
        while self.step() {}
    }

    fn drop_link(&mut self, station: usize, link: LinkId) {
        self.stations[station].drop_tx(link);
        self.stations[station].drop_rx(link);
    }
}

fn packet(length: usize, salt: u8) -> Bytes {
    (0..length).map(|n| (n as u8).wrapping_mul(31).wrapping_add(salt)).collect()
}

/// A question and its answer, to the end, and nothing left of either.
fn exchange(world: &mut World, ask: &[usize], answer: &[usize]) {
    world.stations[1].listen(true);
    let near = world.stations[0].open(world.now);
    for (n, length) in ask.iter().enumerate() {
        world.send(0, near, packet(*length, n as u8));
    }
    world.finish(0, near);
    let far = world.accepted(1);
    for (n, length) in ask.iter().enumerate() {
        assert_eq!(world.read(1, far), Taken::Packet(packet(*length, n as u8)));
    }
    assert_eq!(world.read(1, far), Taken::End);
    for (n, length) in answer.iter().enumerate() {
        world.send(1, far, packet(*length, 100 + n as u8));
    }
    world.finish(1, far);
    for (n, length) in answer.iter().enumerate() {
        assert_eq!(world.read(0, near), Taken::Packet(packet(*length, 100 + n as u8)));
    }
    assert_eq!(world.read(0, near), Taken::End);
    world.drop_link(0, near);
    world.drop_link(1, far);
    world.run_out();
    for station in &world.stations {
        assert_eq!((station.open_links(), station.memory(), station.tags.len()), (0, 0, 0));
    }
}

#[test]
fn a_question_without_loss_costs_its_pieces_and_two_acknowledgements() {
    let mut world = World::new(2, &config(252), 1, Harm::default());
    exchange(&mut world, &[1000], &[2048]);
    let lengths: Vec<_> = world.heard.iter().map(Bytes::len).collect();
    // 1000 in pieces of 243, the acknowledgement, 2048 in pieces of 243, the acknowledgement.
    let expected = [252, 252, 252, 252, 37, 10, 252, 252, 252, 252, 252, 252, 252, 252, 113, 10];
    assert_eq!(lengths, expected);
    let tags: std::collections::HashSet<_> = world.heard.iter().map(|f| f[..6].to_vec()).collect();
    assert_eq!(tags.len(), 1);
}

#[test]
fn every_link_has_a_new_tag() {
    let mut world = World::new(2, &config(252), 1, Harm::default());
    for _ in 0..20 {
        exchange(&mut world, &[300], &[300]);
    }
    let tags: std::collections::HashSet<_> = world.heard.iter().map(|f| f[..6].to_vec()).collect();
    assert_eq!(tags.len(), 20);
    assert!(world.heard.iter().all(|frame| frame[0] >= 0x10 && !THIN_SIZES.contains(&frame.len())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn packets_survive_loss_repetition_and_reordering(
        seed in 0u64..1_000_000, lose in 0u64..350, repeat in 0u64..300, reorder in 0u64..300,
        max_frame in prop::sample::select(vec![32usize, 60, 100, 124, 236, 252, 1000]),
        ask in prop::collection::vec(1usize..6000, 1..4), answer in prop::collection::vec(1usize..6000, 1..4),
        echo: bool,
    ) {
        let mut config = config(max_frame);
        // A medium that loses a third of all frames can be silent for long.
        config.patience = Duration::from_secs(3600);
        let mut world = World::new(2, &config, seed, Harm { lose, repeat, reorder });
        world.echo = echo;
        // Thin sizes go as they are and are not repeated here.
        let fat = |sizes: Vec<usize>| sizes.into_iter().map(|n| if THIN_SIZES.contains(&n) { n + 1 } else { n }).collect::<Vec<_>>();
        exchange(&mut world, &fat(ask), &fat(answer));
    }
}

#[test]
fn many_links_share_a_bus_under_loss() {
    let mut config = config(252);
    config.patience = Duration::from_secs(3600);
    let mut world = World::new(3, &config, 5, Harm { lose: 200, ..Harm::default() });
    world.stations[2].listen(true);
    let mut near = Vec::new();
    for n in 0..16 {
        let link = world.stations[n % 2].open(world.now);
        world.send(n % 2, link, packet(700 + n, n as u8));
        world.finish(n % 2, link);
        near.push(link);
    }
    for _ in 0..16 {
        let far = world.accepted(2);
        let Taken::Packet(question) = world.read(2, far) else { panic!("no packet") };
        world.send(2, far, question);
        world.finish(2, far);
    }
    for (n, link) in near.into_iter().enumerate() {
        assert_eq!(world.read(n % 2, link), Taken::Packet(packet(700 + n, n as u8)));
    }
}

#[test]
fn a_reliable_medium_has_no_acknowledgements() {
    let mut profile = LinkProfile::new(Pattern::Session, 100);
    profile.rtt = Duration::ZERO;
    let config = Config::from_profile(&profile).unwrap();
    let mut world = World::new(2, &config, 1, Harm::default());
    exchange(&mut world, &[60, 1000], &[124, 3]);
    assert!(world.heard.iter().all(|f| matches!(Segment::decode(f), Ok(Segment::Data(data)) if !data.poll)));
}

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
