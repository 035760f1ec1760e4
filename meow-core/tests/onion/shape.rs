//! Attack 24: neither hop count nor position shows. Here the part that is exact: lengths, flags, error, and that no bit
//! of what a hop sees is biased.

use meow_core::crypto::SeededRandom;
use meow_core::onion::{MAX_HOPS, OnionClass, seal};

use crate::chain::{ask, servers, steps, walk};

/// What the last hop can see of its header once it is opened with its own keys: by the same processing, the header of
/// a next hop that does not exist.
fn leftovers(hops: usize, n: usize) -> Vec<Vec<u8>> {
    let mut random = SeededRandom::new(hops as u64);
    let chain = servers(hops, &mut random);
    let made = (0..n).map(|_| {
        let packet = seal(OnionClass::Small, &steps(&chain), b"request", &mut random).unwrap();
        let seen = walk(&chain, packet).0;
        chain[hops - 1].open(seen.last().unwrap()).unwrap().remainder().to_vec()
    });
    made.collect()
}

#[test]
fn a24_packets_have_one_length_at_every_hop_of_every_route() {
    let mut random = SeededRandom::new(30);
    for class in OnionClass::ALL {
        for hops in 1..=MAX_HOPS {
            let chain = servers(hops, &mut random);
            let (packet, _) = ask(class, &chain, b"", &mut random);
            let (seen, delivery) = walk(&chain, packet);
            assert_eq!(seen.len(), hops, "the way is as long as was asked");
            assert!(seen.iter().all(|packet| packet.len() == class.len()));
            assert_eq!(delivery.reply.unwrap().answer(class, b"").unwrap().len(), class.len());
        }
    }
}

/// Each bit that the last hop is left with is even, however many hops there were: of 200 packets no bit is set in more
/// than 150 (7 standard deviations) and none in fewer than 50. Zero padding would fail at once.
#[test]
fn a24_what_the_last_hop_is_left_with_is_noise_for_every_number_of_hops() {
    for hops in 1..=MAX_HOPS {
        let all = leftovers(hops, 200);
        let len = all[0].len();
        // The last slot is the last hop's own key stream over the zeros that it appends, the same sight at any length.
        for bit in 0..len * 8 {
            let ones = all.iter().filter(|l| l[bit / 8] >> (bit % 8) & 1 == 1).count();
            assert!((50..=150).contains(&ones), "{hops} hops, bit {bit}: {ones} of 200");
        }
        // Nothing repeats between packets, either.
        for slot in 0..len / 68 {
            let first = &all[0][slot * 68..][..68];
            assert!(all[1..].iter().all(|l| l[slot * 68..][..68] != *first));
        }
    }
}
