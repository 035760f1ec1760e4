//! Attack 24 with a large sample, by `scripts/soak hops`: a classifier that learns, for each number of hops, how often
//! each half byte stands at each place of what the last hop is left with.

use meow_core::crypto::SeededRandom;
use meow_core::onion::{MAX_HOPS, OnionClass, seal};

use crate::chain::{servers, steps, walk};

const LEARNT: usize = 2000;
const TRIED: usize = 1000;

type Sights = Vec<Vec<u8>>;

fn sights(hops: usize) -> Sights {
    let mut random = SeededRandom::new(0x5000 + hops as u64);
    let made = (0..LEARNT + TRIED).map(|_| {
        let chain = servers(hops, &mut random);
        let packet = seal(OnionClass::Small, &steps(&chain), b"request", &mut random).unwrap();
        let seen = walk(&chain, packet).0;
        chain[hops - 1].open(seen.last().unwrap()).unwrap().remainder().to_vec()
    });
    made.collect()
}

/// Logarithms of how often each half byte stands at each place.
fn learn(sights: &[Vec<u8>]) -> Vec<[f64; 16]> {
    let mut counts = vec![[1.0f64; 16]; sights[0].len() * 2];
    for sight in sights {
        for (at, byte) in sight.iter().enumerate() {
            counts[at * 2][usize::from(byte >> 4)] += 1.0;
            counts[at * 2 + 1][usize::from(byte & 15)] += 1.0;
        }
    }
    let all = sights.len() as f64 + 16.0;
    counts.into_iter().map(|place| place.map(|n| (n / all).ln())).collect()
}

fn likelihood(model: &[[f64; 16]], sight: &[u8]) -> f64 {
    let halves = sight.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    model.iter().zip(halves).map(|(place, half)| place[usize::from(half)]).sum()
}

/// The share of the tried sights whose number of hops is guessed.
fn guessed(all: &[Sights]) -> f64 {
    let models: Vec<_> = all.iter().map(|sights| learn(&sights[..LEARNT])).collect();
    let mut right = 0;
    for (hops, sights) in all.iter().enumerate() {
        for sight in &sights[LEARNT..] {
            let likely = models.iter().map(|model| likelihood(model, sight)).enumerate();
            let (best, _) = likely.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            right += usize::from(best == hops);
        }
    }
    right as f64 / (all.len() * TRIED) as f64
}

#[test]
#[ignore = "a large sample: scripts/soak hops"]
fn a24_a_classifier_at_the_exit_does_no_better_than_chance() {
    let mut all: Vec<_> = (1..=MAX_HOPS).map(sights).collect();
    let share = guessed(&all);
    println!("number of hops guessed from the header at the exit: {share:.4} of {} (chance 0.2)", 5 * TRIED);
    // Chance is 0.2 with a standard deviation of 0.0057.
    assert!((0.17..0.23).contains(&share), "{share}");
    // The classifier can see: zeros where hops are missing, as in unmended Sphinx, give the number away.
    for (hops, sights) in all.iter_mut().enumerate() {
        sights.iter_mut().for_each(|sight| sight[..(MAX_HOPS - 1 - hops) * 68].fill(0));
    }
    let share = guessed(&all);
    println!("the same with zeros behind the last slot: {share:.4}");
    assert!(share > 0.99);
}
