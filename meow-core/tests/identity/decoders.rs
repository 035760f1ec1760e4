//! a41: what a decoder must not swallow.

use meow_core::card::{Card, CardFile};
use meow_core::crypto::{PasswordCost, SeededRandom, SigningKey};
use meow_core::identity::{KeyFile, Master, RecoveryKeys, Unlock};
use meow_core::lane::{LaneEntry, LaneList, Lookup, ServerRef, SignedLaneList};
use meow_core::wire::{Wire, WireError};
use proptest::prelude::*;

use crate::common::{Issuer, first_list, root, secret, server};

/// Reads bytes; what is accepted must be the one encoding of its value.
fn read<T: Wire>(bytes: &[u8]) -> Result<T, WireError> {
    let value = T::from_wire(bytes)?;
    assert_eq!(value.to_wire().unwrap(), bytes);
    Ok(value)
}

/// Cuts, extends and bloats a valid encoding at every place.
fn bomb<T: Wire>(valid: &[u8]) {
    read::<T>(valid).map(drop).unwrap();
    assert_eq!(read::<T>(&vec![0; T::MAX + 1]).err(), Some(WireError::TooLong));
    assert_eq!(read::<T>(&vec![0xff; T::MAX + 1]).err(), Some(WireError::TooLong));
    for end in 0..valid.len() {
        assert_eq!(read::<T>(&valid[..end]).err(), Some(WireError::Invalid), "cut at {end}");
    }
    let more = read::<T>(&[valid, &[0]].concat()).err();
    assert!(matches!(more, Some(WireError::Trailing | WireError::TooLong)), "{more:?}");
    for (at, byte) in valid.iter().enumerate() {
        let with = |insert: &[u8]| [&valid[..at], insert, &valid[at + 1..]].concat();
        // The largest 32- and 64-bit counts, and the same number with a byte more.
        let _ = read::<T>(&with(&[0xff, 0xff, 0xff, 0xff, 0x0f]));
        let _ = read::<T>(&with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]));
        let _ = read::<T>(&with(&[byte | 0x80, 0x00]));
    }
}

/// The byte at this place is a count or length; no larger one may pass.
fn count<T: Wire>(valid: &[u8], at: usize, max: u64) {
    for huge in [max + 1, 1 << 20, u64::from(u32::MAX), u64::MAX] {
        let bytes = [&valid[..at], &postcard::to_stdvec(&huge).unwrap(), &valid[at + 1..]].concat();
        let error = T::from_wire(&bytes).err().unwrap();
        assert!(matches!(error, WireError::Invalid | WireError::TooLong), "{error:?}");
    }
    // The same count with a byte more.
    let long = [&valid[..at], &[valid[at] | 0x80, 0], &valid[at + 1..]].concat();
    let error = T::from_wire(&long).err().unwrap();
    assert!(matches!(error, WireError::NotCanonical | WireError::Invalid), "{error:?}");
}

#[test]
fn a41_length_bombs() {
    let (_, list) = first_list(2, 1);
    let signed = list.signed().to_wire().unwrap();
    bomb::<SignedLaneList>(&signed);
    let plain = list.list().to_wire().unwrap();
    bomb::<LaneList>(&plain);
    bomb::<LaneEntry>(&list.list().lanes[0].to_wire().unwrap());
    bomb::<Lookup>(&list.list().lanes[0].lookup.to_wire().unwrap());
    bomb::<ServerRef>(&server(1).to_wire().unwrap());
    let issuer = Issuer::new(1);
    bomb::<Card>(&issuer.card().to_wire().unwrap());
    bomb::<CardFile>(&CardFile::parse(issuer.file.to_uri().unwrap().as_bytes()).unwrap().to_wire().unwrap());
    let file =
        KeyFile::create(Unlock::Key(&secret(1)), PasswordCost::STANDARD, &root(1), &mut SeededRandom::new(1));
    bomb::<KeyFile>(&file.unwrap().to_wire().unwrap());
}

#[test]
fn a41_counts_beyond_their_limit() {
    let (_, list) = first_list(1, 1);
    let plain = list.list().to_wire().unwrap();
    let lanes = 32 + 1 + 32 + 32;
    count::<LaneList>(&plain, lanes, 16);
    count::<LaneList>(&plain, lanes + 1 + 4 * 32, 4);
    count::<LaneList>(&plain, plain.len() - 1, 64);
    let server = server(1).to_wire().unwrap();
    count::<ServerRef>(&server, 32, 4);
    count::<ServerRef>(&server, 33, 256);
    let keys = RecoveryKeys::of(&Master::generate(&mut SeededRandom::new(1)).unwrap(), 0).to_wire().unwrap();
    // 1,024 is two bytes: one more does not pass.
    assert_eq!(keys[..3], [0, 0x80, 0x08]);
    let more = [&[0, 0x81, 0x08], &keys[3..]].concat();
    assert_eq!(RecoveryKeys::from_wire(&more).err(), Some(WireError::Invalid));
}

#[test]
fn a41_bad_tags_and_text() {
    let issuer = Issuer::new(1);
    let short = CardFile::parse(issuer.file.to_uri().unwrap().as_bytes()).unwrap().to_wire().unwrap();
    for tag in 1..=255u8 {
        let bytes = [&short[..short.len() - 1], &[tag]].concat();
        assert!(CardFile::from_wire(&bytes).is_err());
    }
    let mut url = server(1).to_wire().unwrap();
    url[40] = 0xff;
    assert_eq!(ServerRef::from_wire(&url).err(), Some(WireError::Invalid), "not UTF-8");
}

proptest! {
    #[test]
    fn a41_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read::<LaneList>(&bytes);
        let _ = read::<SignedLaneList>(&bytes);
        let _ = read::<ServerRef>(&bytes);
        let _ = read::<Card>(&bytes);
        let _ = read::<CardFile>(&bytes);
        let _ = read::<KeyFile>(&bytes);
        let _ = read::<RecoveryKeys>(&bytes);
    }

    #[test]
    fn a41_valid_lists_with_changed_bytes(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8)) {
        let ckp = SigningKey::generate(&mut SeededRandom::new(1)).unwrap();
        let list = LaneList::first(ckp.public(), [7; 32], vec![]).unwrap();
        let mut bytes = list.to_wire().unwrap();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = read::<LaneList>(&bytes);
    }
}
