use super::*;
use crate::crypto::{CryptoError, Secret, SeededRandom, SigningKey, VerifyKey};
use crate::wire::{Blob, Fixed, List, Text, Wire};

fn key(seed: u8) -> VerifyKey {
    SigningKey::from_seed(&[seed; 32]).public()
}

struct Pair {
    secret: Secret,
    ann: VerifyKey,
    bob: VerifyKey,
}

impl Pair {
    fn new() -> Self {
        Self { secret: Secret::new([7; 32]), ann: key(1), bob: key(2) }
    }

    /// Ann dials Bob by Bob's secret.
    fn binding(&self) -> DirectBinding<'_> {
        DirectBinding { secret: &self.secret, dialler: &self.ann, listener: &self.bob }
    }
}

fn linked(thin: bool) -> (DirectLink, DirectLink) {
    let (pair, mut random) = (Pair::new(), SeededRandom::new(1));
    let dialling = Dialling::begin(&pair.binding(), thin, &mut random).unwrap();
    let hello = Hello::from_packet(dialling.hello()).unwrap();
    let (welcome, bob) = answer_hello(&hello, &pair.binding(), &mut random).unwrap();
    assert_eq!(welcome.len(), if thin { THIN_HELLO } else { FAT_HELLO });
    (dialling.finish(&welcome, &pair.binding()).unwrap(), bob)
}

#[test]
fn frames_pass_both_ways_on_thin_and_fat_links() {
    for thin in [false, true] {
        let (mut ann, mut bob) = linked(thin);
        for item in [45, 96, 221, 1888, crate::request::MAX_ITEM] {
            let frame = DirectFrame::Item(Blob::new(vec![3; item]).unwrap());
            let (packet, number) = ann.seal(&frame).unwrap();
            assert_eq!(bob.open(&packet).unwrap(), (frame, number));
            let (packet, _) = bob.seal(&DirectFrame::Taken(number)).unwrap();
            assert_eq!(ann.open(&packet).unwrap().0, DirectFrame::Taken(number));
            let sizes: &[usize] = if thin { &[60, 124, 236] } else { &[256] };
            assert!(sizes.contains(&packet.len()));
        }
    }
    let (mut ann, _) = linked(true);
    let (packet, _) = ann.seal(&DirectFrame::Item(Blob::new(vec![3; 45]).unwrap())).unwrap();
    assert_eq!(packet.len(), 60, "a short text is one short frame of a radio");
}

#[test]
fn a01_a_packet_is_opened_once_and_never_by_its_sender() {
    let (mut ann, mut bob) = linked(false);
    let (first, _) = ann.seal(&DirectFrame::Ready).unwrap();
    let (second, _) = ann.seal(&DirectFrame::Still).unwrap();
    assert_eq!(ann.open(&first), Err(CryptoError::Rejected), "reflected");
    assert_eq!(bob.open(&second), Err(CryptoError::Rejected), "out of order");
    bob.open(&first).unwrap();
    assert_eq!(bob.open(&first), Err(CryptoError::Rejected), "replayed");
    bob.open(&second).unwrap();
}

#[test]
fn a07_each_side_must_mean_the_same_relation() {
    let (pair, mut random) = (Pair::new(), SeededRandom::new(2));
    let dialling = Dialling::begin(&pair.binding(), false, &mut random).unwrap();
    let hello = Hello::from_packet(dialling.hello()).unwrap();
    let (other, carol) = (Secret::new([8; 32]), key(3));
    let strangers = [
        DirectBinding { secret: &other, ..pair.binding() },
        DirectBinding { dialler: &carol, ..pair.binding() },
        DirectBinding { listener: &carol, ..pair.binding() },
        DirectBinding { dialler: &pair.bob, listener: &pair.ann, ..pair.binding() },
    ];
    for binding in strangers {
        assert!(!hello.is_of(&binding));
        assert_eq!(answer_hello(&hello, &binding, &mut random).err(), Some(CryptoError::Rejected));
    }
    // A hello sent back is no welcome, and a welcome to another hello is none to this one.
    assert!(
        Dialling::begin(&pair.binding(), false, &mut random)
            .unwrap()
            .finish(dialling.hello(), &pair.binding())
            .is_err()
    );
    let (welcome, _) = answer_hello(&hello, &pair.binding(), &mut random).unwrap();
    let again = Dialling::begin(&pair.binding(), false, &mut random).unwrap();
    assert!(again.finish(&welcome, &pair.binding()).is_err());
}

#[test]
fn a_copied_hello_brings_no_keys() {
    let (pair, mut random) = (Pair::new(), SeededRandom::new(3));
    let dialling = Dialling::begin(&pair.binding(), false, &mut random).unwrap();
    let hello = Hello::from_packet(dialling.hello()).unwrap();
    let (_, mut first) = answer_hello(&hello, &pair.binding(), &mut random).unwrap();
    let (_, mut second) = answer_hello(&hello, &pair.binding(), &mut random).unwrap();
    let (packet, _) = first.seal(&DirectFrame::Still).unwrap();
    let (other, _) = second.seal(&DirectFrame::Still).unwrap();
    assert_ne!(packet, other, "each answer has keys of its own");
}

#[test]
fn a12_shares_of_low_order_and_any_flipped_bit_are_refused() {
    let (pair, mut random) = (Pair::new(), SeededRandom::new(4));
    let dialling = Dialling::begin(&pair.binding(), true, &mut random).unwrap();
    let hello = dialling.hello().to_vec();
    let mut low = hello.clone();
    low[1..33].fill(0);
    low[1] = 1;
    assert!(Hello::from_packet(&low).is_err() || !Hello::from_packet(&low).unwrap().is_of(&pair.binding()));
    for at in 0..hello.len() * 8 {
        let mut changed = hello.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert!(Hello::from_packet(&changed).is_ok_and(|h| h.is_of(&pair.binding())).eq(&false), "bit {at}");
    }
}

#[test]
fn a38_a_reach_opens_for_its_contact_server_mailbox_and_use_only() {
    let (secret, other, mailbox, server) = (Secret::new([7; 32]), Secret::new([8; 32]), key(4), [9; 32]);
    let reach = Reach { at_ms: 5, urls: List::take([Text::new("udp://192.0.2.1:41325/").unwrap()]) };
    let to = ReachFor { secret: &secret, server: &server, mailbox: &mailbox, used: ReachUse::Presence };
    let sealed = reach.seal(&to, &mut SeededRandom::new(5)).unwrap();
    assert_eq!(Reach::open(&sealed, &to).unwrap(), reach);
    let elsewhere = key(5);
    for wrong in [
        ReachFor { secret: &other, ..to },
        ReachFor { server: &[1; 32], ..to },
        ReachFor { mailbox: &elsewhere, ..to },
        ReachFor { used: ReachUse::Knock, ..to },
    ] {
        assert_eq!(Reach::open(&sealed, &wrong), Err(CryptoError::Rejected));
        let same = reach.seal(&wrong, &mut SeededRandom::new(5)).unwrap();
        assert_ne!(same.0[..32], sealed.0[..32], "two servers cannot match commitments");
    }
    for at in [0, 31, 32, 43, 44, REACH - 1] {
        let mut changed = sealed;
        changed.0[at] ^= 1;
        assert_eq!(Reach::open(&changed, &to), Err(CryptoError::Rejected));
    }
    let most =
        Reach { at_ms: u64::MAX, urls: List::take(vec![Text::new("u".repeat(MAX_REACH_URL)).unwrap(); 8]) };
    assert!(most.to_wire().is_ok() && most.seal(&to, &mut SeededRandom::new(6)).is_ok());
    assert_eq!(Fixed([0; REACH]).0.len(), REACH);
}
