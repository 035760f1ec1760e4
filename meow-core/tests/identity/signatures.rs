//! a15: a statement of one kind is never taken for another.

use meow_core::card::Card;
use meow_core::crypto::{SeededRandom, SignLabel, SigningKey};
use meow_core::lane::{LaneError, SignedLaneList};
use meow_core::wire::Wire;

use crate::common::{Issuer, NOW, first_list};

#[test]
fn a15_every_statement_to_every_other_verifier() {
    let key = SigningKey::generate(&mut SeededRandom::new(1)).unwrap();
    let parts: [&[u8]; 3] = [&[1; 32], b"content", &7u64.to_be_bytes()];
    let (mut accepted, mut shown) = (0, 0);
    for made in SignLabel::ALL {
        let sig = key.sign(*made, &parts);
        assert!(key.public().verify(*made, &parts, &sig).is_ok());
        for read in SignLabel::ALL.iter().filter(|l| *l != made) {
            shown += 1;
            accepted += usize::from(key.public().verify(*read, &parts, &sig).is_ok());
        }
    }
    let n = SignLabel::ALL.len();
    assert_eq!((accepted, shown), (0, n * (n - 1)));
}

#[test]
fn a15_parts_cannot_be_moved() {
    let key = SigningKey::generate(&mut SeededRandom::new(1)).unwrap();
    let sig = key.sign(SignLabel::Message, &[b"ab", b"c"]);
    let others: [&[&[u8]]; 7] =
        [&[b"a", b"bc"], &[b"abc"], &[b"ab", b"c", b""], &[b"", b"ab", b"c"], &[b"c", b"ab"], &[b"ab"], &[]];
    for parts in others {
        assert!(key.public().verify(SignLabel::Message, parts, &sig).is_err());
    }
    // The framing written out by hand is a part like any other.
    let framed = b"\0\0\0\x11meow sign message\0\0\0\x02ab\0\0\0\x01c";
    assert!(key.public().verify(SignLabel::Message, &[framed], &sig).is_err());
    assert!(
        key.public().verify(SignLabel::Message, &[&framed[..]], &key.sign(SignLabel::Card, &[b"x"])).is_err()
    );
}

#[test]
fn a15_lists_and_cards_do_not_pass_for_each_other() {
    let issuer = Issuer::new(1);
    let ckp = &issuer.secrets.ckp;
    let list = issuer.card().lanes().list().to_wire().unwrap();
    let signed = issuer.card().lanes().signed().to_wire().unwrap();
    let (secret, expires) = (issuer.card().secret(), NOW.to_be_bytes());
    let card = issuer.card().to_wire().unwrap();
    for label in SignLabel::ALL {
        let under = |bytes: &[u8], sig: &[u8; 64]| [&bytes[..bytes.len() - 64], sig].concat();
        let sig = ckp.sign(*label, &[&list]);
        let read = SignedLaneList::from_wire(&under(&signed, &sig.0)).unwrap().verify();
        match label {
            SignLabel::LaneList => assert!(read.is_ok()),
            _ => assert_eq!(read.unwrap_err(), LaneError::Signature),
        }
        let sig = ckp.sign(*label, &[&signed, secret.expose(), &expires]);
        let read = Card::from_wire(&under(&card, &sig.0));
        assert_eq!(read.is_ok(), *label == SignLabel::Card, "{label:?}");
    }
    // A list signed by a lane's key, or by another person, is nobody's.
    let (other, _) = first_list(1, 2);
    let (lkp, _) = issuer.secrets.lookup.keys(&[1; 32]);
    for key in [&issuer.secrets.lane, &lkp, &other] {
        let sig = key.sign(SignLabel::LaneList, &[&list]);
        let bytes = [&signed[..signed.len() - 64], &sig.0].concat();
        assert_eq!(SignedLaneList::from_wire(&bytes).unwrap().verify().unwrap_err(), LaneError::Signature);
    }
}
