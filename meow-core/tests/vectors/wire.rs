//! Encoding, outermost bytes, size classes.

use meow_core::lane::ServerRef;
use meow_core::wire::{
    Blob, Fixed, List, SIZE_CLASSES, Suite, Text, Wire, WireError, pad, padded_len, unpad,
};
use serde::Serialize;
use serde_json::json;

use crate::harness::{Section, hex};

fn encoded(value: &impl Serialize) -> String {
    hex(postcard::to_stdvec(value).unwrap())
}

#[test]
fn wire() {
    let mut section = Section::new("wire", "Encodings, outermost bytes and padding of the chapter Wire.");
    for n in [0u64, 1, 127, 128, 300, 16_384, u64::from(u32::MAX), u64::MAX] {
        section.case(&format!("u64 {n}"), json!({ "value": n.to_string(), "encoded": encoded(&n) }));
    }
    section.case("u8 200", json!({ "value": 200, "encoded": encoded(&200u8) }));
    section.case("u16 200", json!({ "value": 200, "encoded": encoded(&200u16) }));
    section.case("bool true", json!({ "value": true, "encoded": encoded(&true) }));
    section.case("[4]", json!({ "value": hex([1, 2, 3, 4]), "encoded": encoded(&Fixed([1, 2, 3, 4])) }));
    let bytes = Blob::<8>::new(vec![1, 2, 3]).unwrap();
    section.case("bytes<=8", json!({ "value": hex(&*bytes), "encoded": encoded(&bytes) }));
    let text = Text::<8>::new("grüße").unwrap();
    section.case("text<=8", json!({ "value": &*text, "encoded": encoded(&text) }));
    let list = List::<u32, 4>::new(vec![1, 300, 5]).unwrap();
    section.case("list<=4 u32", json!({ "value": list.to_vec(), "encoded": encoded(&list) }));
    section.case("option none", json!({ "value": null, "encoded": encoded(&None::<u32>) }));
    section.case("option some", json!({ "value": 300, "encoded": encoded(&Some(300u32)) }));

    for (name, suite) in [
        ("clear", Suite::Clear),
        ("hpke", Suite::Hpke),
        ("ratchet", Suite::Ratchet),
        ("opening", Suite::Opening),
        ("card", Suite::Card),
    ] {
        section.case(&format!("suite {name}"), json!({ "byte": hex([suite.byte()]) }));
    }

    for len in [0, 255, 256, 257, 512, 2048, 8192, 32_768, 32_769] {
        section.case(&format!("class of {len} bytes"), json!({ "length": len, "class": padded_len(len) }));
    }
    let mut padded = b"meow".to_vec();
    pad(&mut padded, SIZE_CLASSES[0]).unwrap();
    section.case("padding", json!({ "content": hex(b"meow"), "padded": hex(&padded) }));
    for (name, bad) in [("no marker", vec![0; 8]), ("other marker", vec![1, 0x81, 0, 0]), ("nothing", vec![])]
    {
        assert_eq!(unpad(&bad), Err(WireError::Invalid));
        section.case(&format!("padding refused: {name}"), json!({ "padded": hex(bad) }));
    }
    refused(&mut section);
    section.check();
}

/// What strict decoding refuses, shown at a ServerRef.
fn refused(section: &mut Section) {
    let url = "http://a.example/".parse().unwrap();
    let good = ServerRef::new([7; 32], &[url]).unwrap().to_wire().unwrap();
    section.case("ServerRef", json!({ "encoded": hex(&good) }));
    let cases: [(&str, Vec<u8>, WireError); 7] = [
        ("a byte follows", [&good[..], &[0]].concat(), WireError::Trailing),
        ("cut short", good[..good.len() - 1].to_vec(), WireError::Invalid),
        ("long form of the count", [&good[..32], &[0x81, 0], &good[33..]].concat(), WireError::NotCanonical),
        ("five URLs", [&good[..32], &[5], &good[33..]].concat(), WireError::Invalid),
        (
            "count of 2^32-1",
            [&good[..32], &[0xff, 0xff, 0xff, 0xff, 0x0f], &good[33..]].concat(),
            WireError::Invalid,
        ),
        ("not UTF-8", [&good[..34], &[0xff], &good[35..]].concat(), WireError::Invalid),
        ("longer than any ServerRef", vec![0; ServerRef::MAX + 1], WireError::TooLong),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(ServerRef::from_wire(&bytes), Err(error), "{name}");
        section.case(&format!("ServerRef refused: {name}"), json!({ "encoded": hex(bytes) }));
    }
}
