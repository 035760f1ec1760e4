use super::Direction::{Down, Up};
use super::*;
use crate::crypto::{Secret, SeededRandom};
use crate::request::THIN_ITEM_SIZES;
use crate::wire::{SIZE_CLASSES, THIN_SIZES};

fn keys(seed: u64) -> SessionKeys {
    SessionKeys::new(&Secret::generate(&mut SeededRandom::new(seed)).unwrap())
}

#[test]
fn contents_cross_in_every_size_of_both_rows() {
    let keys = keys(1);
    for size in SIZE_CLASSES.into_iter().chain(THIN_SIZES) {
        let overhead = if size < 256 { THIN_SESSION_OVERHEAD } else { SESSION_OVERHEAD };
        for len in [0, 1, size - overhead - 1] {
            let content = vec![0x80; len];
            let packet = keys.seal(Up, 7, content.clone(), size).unwrap();
            assert_eq!((packet.len(), session_tag(&packet)), (size, Some(keys.tag(Up, 7))));
            assert_eq!(keys.open(Up, 7, &packet).unwrap(), content);
        }
        assert!(keys.seal(Up, 7, vec![0; size - overhead], size).is_err(), "no room for the padding");
    }
    assert!(keys.seal(Up, 7, Vec::new(), 255).is_err());
}

#[test]
fn items_fill_thin_packets() {
    let keys = keys(1);
    for (item, packet) in THIN_ITEM_SIZES.into_iter().zip(THIN_SIZES) {
        let item = vec![9; item];
        for kind in [0, 1, 255] {
            let sealed = keys.seal_item(Up, 3, kind, &item).unwrap();
            assert_eq!((sealed.len(), session_tag(&sealed)), (packet, Some(keys.tag(Up, 3))));
            assert_eq!(keys.open_item(Up, 3, &sealed).unwrap(), (kind, &item[..]));
        }
        assert!(keys.seal_item(Up, 3, 0, &item[1..]).is_err());
    }
}

#[test]
fn every_flipped_bit_of_a_session_packet_is_refused() {
    let keys = keys(1);
    let flipped = |packet: &[u8], bit: usize| {
        let mut bad = packet.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        bad
    };
    for size in [256, 60, 124] {
        let packet = keys.seal(Up, 7, b"text".to_vec(), size).unwrap();
        assert!((0..size * 8).all(|bit| keys.open(Up, 7, &flipped(&packet, bit)).is_err()));
    }
    let packet = keys.seal_item(Up, 7, 0, &[9; 45]).unwrap();
    assert!((0..60 * 8).all(|bit| keys.open_item(Up, 7, &flipped(&packet, bit)).is_err()));
}

#[test]
fn a15_no_packet_passes_for_another() {
    let (keys, foreign) = (keys(1), keys(2));
    for size in [256, 60] {
        let packet = keys.seal(Up, 7, b"text".to_vec(), size).unwrap();
        assert!(keys.open(Down, 7, &packet).is_err(), "reflected");
        assert!(keys.open(Up, 8, &packet).is_err(), "another counter");
        assert!(foreign.open(Up, 7, &packet).is_err(), "another session");
        assert!(keys.open_item(Up, 7, &packet).is_err(), "sealed, shown as an item");
    }
    let item = keys.seal_item(Up, 7, 0, &[9; 45]).unwrap();
    assert!(keys.open_item(Down, 7, &item).is_err(), "reflected");
    assert!(keys.open_item(Up, 8, &item).is_err(), "another counter");
    assert!(foreign.open_item(Up, 7, &item).is_err(), "another session");
    assert!(keys.open(Up, 7, &item).is_err(), "an item, shown as sealed");
}

#[test]
fn a37_an_item_packet_is_the_same_again_and_a_sealed_one_shares_no_key_stream() {
    let keys = keys(1);
    let item = |byte| keys.seal_item(Up, 7, 0, &[byte; 45]).unwrap();
    assert_eq!(item(1), item(1));
    assert_ne!(item(1)[6..14], item(2)[6..14]);
    let sealed = |byte: u8| keys.seal(Up, 7, vec![byte; 200], 256).unwrap();
    let (first, second) = (sealed(1), sealed(2));
    let differ = first[7..207].iter().zip(&second[7..207]).map(|(a, b)| a ^ b);
    assert!(differ.filter(|d| *d == 3).count() < 16, "the difference of the contents does not show");
}

#[test]
fn tags_do_not_repeat() {
    let keys = keys(1);
    let tags: std::collections::HashSet<_> =
        (0..1000).flat_map(|n| [keys.tag(Up, n), keys.tag(Down, n)]).collect();
    assert_eq!(tags.len(), 2000);
}

#[test]
fn a15_a_session_is_bound_to_server_role_mailbox_request_and_form() {
    let mut random = SeededRandom::new(5);
    let key = |random: &mut SeededRandom| crate::crypto::SigningKey::generate(random).unwrap().public();
    let (mailbox, other) = (key(&mut random), key(&mut random));
    let (export, foreign) = (Secret::new([1; 32]), Secret::new([2; 32]));
    let binding =
        SessionBinding { export: &export, server: &[3; 32], role: SessionRole::Owner, mailbox: &mailbox };
    let secrets = [ShareSecret::fat(&mut random).unwrap(), ShareSecret::thin(&mut random).unwrap()];
    let granted: Vec<_> =
        secrets.iter().map(|s| grant_session(&s.share(), &binding, &mut random).unwrap()).collect();
    for (secret, (share, keys)) in secrets.iter().zip(&granted) {
        assert_eq!(secret.finish(share, &binding).unwrap(), *keys);
        for wrong in [
            SessionBinding { export: &foreign, ..binding },
            SessionBinding { server: &[4; 32], ..binding },
            SessionBinding { role: SessionRole::Depositor, ..binding },
            SessionBinding { mailbox: &other, ..binding },
        ] {
            assert_ne!(secret.finish(share, &wrong).unwrap(), *keys, "{wrong:?}");
        }
    }
    assert!(secrets[0].finish(&granted[1].0, &binding).is_err(), "a thin share for a fat one");
    assert!(secrets[1].finish(&granted[0].0, &binding).is_err(), "a fat share for a thin one");
}
