//! Packets there and back, whatever the medium does to frames.

use proptest::prelude::*;

use super::*;

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
