//! The codec and the size classes: one encoding per value, one content per padded packet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use meow_core::request::{ITEM_SIZES, THIN_ITEM_OVERHEAD, THIN_ITEM_SIZES};
use meow_core::wire::{
    Blob, Fixed, List, SIZE_CLASSES, Suite, THIN_FRAMING, THIN_SIZES, Text, VERSION, Wire, WireError,
    is_thin, is_thin_class, pad, padded_len, size_of_class, unpad,
};
use meow_core::{Error, ErrorKind};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// One field of every kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    number: u64,
    small: u8,
    flag: bool,
    fixed: Fixed<4>,
    blob: Blob<40>,
    text: Text<40>,
    list: List<u32, 5>,
    option: Option<u16>,
}

impl Wire for Sample {
    const MAX: usize = 10 + 1 + 1 + 4 + 41 + 41 + 1 + 5 * 5 + 4;
}

fn sample() -> impl Strategy<Value = Sample> {
    let lists = proptest::collection::vec(any::<u32>(), 0..=5);
    let blobs = proptest::collection::vec(any::<u8>(), 0..=40);
    (any::<(u64, u8, bool, [u8; 4])>(), blobs, "[a-zß-ž]{0,20}", lists, any::<Option<u16>>()).prop_map(
        |((number, small, flag, fixed), blob, text, list, option)| Sample {
            number,
            small,
            flag,
            fixed: Fixed(fixed),
            blob: Blob::new(blob).unwrap(),
            text: Text::new(text).unwrap(),
            list: List::new(list).unwrap(),
            option,
        },
    )
}

proptest! {
    #[test]
    fn any_value_round_trips(value in sample()) {
        let bytes = value.to_wire().unwrap();
        prop_assert_eq!(Sample::from_wire(&bytes).unwrap(), value);
    }

    #[test]
    fn a41_what_is_read_is_the_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..130)) {
        if let Ok(value) = Sample::from_wire(&bytes) {
            prop_assert_eq!(value.to_wire().unwrap(), bytes);
        }
    }

    #[test]
    fn a41_changed_bytes_are_refused_or_another_value(value in sample(), at: usize, byte: u8) {
        let good = value.to_wire().unwrap();
        let mut bytes = good.clone();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(read) = Sample::from_wire(&bytes) {
            prop_assert_eq!(read == value, bytes == good);
            prop_assert_eq!(read.to_wire().unwrap(), bytes);
        }
    }

    #[test]
    fn padding_comes_off_again(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let content = bytes.clone();
        let class = padded_len(bytes.len() + 1).unwrap();
        pad(&mut bytes, class).unwrap();
        prop_assert_eq!(bytes.len(), class);
        prop_assert_eq!(unpad(&bytes).unwrap(), &content[..]);
    }

    #[test]
    fn any_padding_has_one_reading(bytes in proptest::collection::vec(prop_oneof![Just(0), Just(0x80), any::<u8>()], 0..64)) {
        if let Ok(content) = unpad(&bytes) {
            let mut again = content.to_vec();
            pad(&mut again, bytes.len()).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}

#[test]
fn limits_hold_when_a_value_is_made() {
    assert!(Blob::<3>::new(vec![0; 3]).is_ok() && Blob::<3>::new(vec![0; 4]).is_err());
    assert!(Text::<3>::new("äb").is_ok() && Text::<3>::new("äöb").is_err(), "bytes, not characters");
    assert!(List::<u8, 3>::new(vec![0; 3]).is_ok() && List::<u8, 3>::new(vec![0; 4]).is_err());
    assert_eq!(*List::<u8, 3>::take(0..), [0, 1, 2]);
}

#[test]
fn a41_every_limit_is_checked_when_reading() {
    let read = |bytes: &[u8]| postcard::from_bytes::<List<u32, 3>>(bytes).is_ok();
    assert!(read(&[3, 1, 1, 1]) && !read(&[4, 1, 1, 1, 1]));
    assert!(!read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), "a count of 2^64-1");
    assert!(postcard::from_bytes::<Blob<3>>(&[4, 0, 0, 0, 0]).is_err());
    assert!(postcard::from_bytes::<Text<3>>(&[4, 97, 97, 97, 97]).is_err());
    assert!(postcard::from_bytes::<Text<3>>(&[1, 0xff]).is_err());
    // A list whose items take no bytes: the count alone must not make it grow.
    assert!(postcard::from_bytes::<List<(), 3>>(&[0xff, 0xff, 0xff, 0x7f]).is_err());
}

#[test]
fn the_outermost_byte_is_checked() {
    assert_eq!(VERSION, 0);
    assert_eq!(Suite::Card.strip(&[0x04, 1, 2]), Ok(&[1, 2][..]));
    for byte in 0..=255u8 {
        let expected = match byte {
            0x04 => Ok(&[][..]),
            0..=0x0f => Err(WireError::Invalid),
            _ => Err(WireError::NewerVersion),
        };
        assert_eq!(Suite::Card.strip(&[byte]), expected);
    }
    assert_eq!(Suite::Card.strip(&[]), Err(WireError::Invalid));
    assert_eq!(Error::from(WireError::NewerVersion).kind(), ErrorKind::NewerVersion);
    assert_eq!(Error::from(WireError::Trailing).kind(), ErrorKind::Malformed);
}

#[test]
fn classes_are_those_of_the_spec() {
    assert_eq!(SIZE_CLASSES, [256, 512, 2048, 8192, 32_768]);
    assert_eq!(THIN_SIZES.map(|len| len + THIN_FRAMING), [64, 128, 240], "on the air");
    let rows: Vec<_> = (0..8u8).map(|index| (size_of_class(index).unwrap(), is_thin_class(index))).collect();
    assert!(rows[..5].iter().map(|row| (row.0, row.1)).eq(SIZE_CLASSES.map(|len| (len, false))));
    assert!(rows[5..].iter().map(|row| (row.0, row.1)).eq(THIN_SIZES.map(|len| (len, true))));
    assert_eq!((size_of_class(8), is_thin_class(8)), (None, false));
    for (item, packet) in THIN_ITEM_SIZES.into_iter().zip(THIN_SIZES) {
        assert_eq!(item + THIN_ITEM_OVERHEAD, packet);
        assert!(is_thin(packet) && !SIZE_CLASSES.contains(&packet) && !ITEM_SIZES.contains(&item));
    }
    assert_eq!((padded_len(0), padded_len(256), padded_len(257)), (Some(256), Some(256), Some(512)));
    assert_eq!(padded_len(32_769), None);
    assert_eq!(pad(&mut vec![0; 256], 256), Err(WireError::TooLong), "no room for the marker");
}
