//! Thin messages: a conversation, and the plaintexts that stand inside.

use meow_core::crypto::{DhPublic, DhSecret, KeyLabel, Secret, chain_step, derive, header_mask, open_siv};
use meow_core::message::{Body, Seen};
use meow_core::ratchet::{Numbers, Ratchet, RatchetKeys, THIN_OVERHEAD, THIN_OVERHEAD_EKP};
use serde_json::json;

use crate::harness::{Recorder, Section, hex};
use crate::messages::{contents, keys};

const ROOT: [u8; 32] = [0x01; 32];
const HEADER_FIRST: [u8; 32] = [0x02; 32];
const HEADER_SECOND: [u8; 32] = [0x03; 32];
const AD_FIRST: [u8; 32] = [0xa1; 32];
const AD_SECOND: [u8; 32] = [0xa2; 32];
const EPOCH: u32 = 2;

struct Talk {
    first: Ratchet,
    second: Ratchet,
    random: Recorder,
    section: Section,
}

impl Talk {
    /// One message, received at once. Thin ones leave out their numbers where they can.
    fn say(&mut self, name: &str, from_first: bool, thin: bool, turn: bool, seq: u64) -> Vec<u8> {
        let (sender, receiver, ad) = if from_first {
            (&mut self.first, &mut self.second, AD_FIRST)
        } else {
            (&mut self.second, &mut self.first, AD_SECOND)
        };
        let numbers = Numbers { seq, epoch: EPOCH };
        let implied = thin && sender.implies(turn, numbers);
        let text = b"plaintext";
        let message = if thin {
            sender.encrypt_thin(&mut self.random, turn, &ad, numbers, !implied, text).unwrap()
        } else {
            sender.encrypt_numbered(&mut self.random, turn, &ad, numbers, text).unwrap()
        };
        self.section.case(
            name,
            json!({
                "sender": if from_first { "first" } else { "second" }, "thin": thin, "turn": turn, "seq": seq,
                "epoch": EPOCH, "numbers are implied": implied, "associated data": hex(ad),
                "plaintext": hex(text), "ekp secret": self.random.take(), "message": hex(&message),
            }),
        );
        let (plain, told, mut step) = if thin {
            let opened = receiver.decrypt_thin(&ad, &message).unwrap();
            (opened.plaintext, opened.implied, opened.step)
        } else {
            let (plain, step) = receiver.decrypt(&ad, &message).unwrap();
            (plain, None, step)
        };
        assert_eq!((plain.as_slice(), told), (text.as_slice(), implied.then_some(numbers)));
        step.numbered(numbers);
        receiver.apply(step).unwrap();
        message
    }
}

#[test]
fn thin() {
    let section = Section::new(
        "thin",
        "A conversation in thin and whole messages, in order of sending; keys as in ratchet.json. Then thin plaintexts of \
         every kind of content, signed by and for the parties of messages.json: `implied` for a message whose numbers \
         do not travel, `numbered` for one whose numbers do, padded for the smallest item without and with Ekp.",
    );
    let mut random = Recorder::new(21);
    let ekp = DhSecret::from_bytes(&[0x04; 32]);
    let keys = RatchetKeys {
        root: Secret::new(ROOT),
        header_first: Secret::new(HEADER_FIRST),
        header_second: Secret::new(HEADER_SECOND),
    };
    let first = Ratchet::first(keys.clone(), &ekp.public(), &mut random).unwrap();
    let drawn = random.take();
    let second = Ratchet::second(keys, ekp.clone());
    let mut talk = Talk { first, second, random, section };
    talk.section.case("start", json!({ "ekp secret of first": drawn }));
    let opening = talk.say("first speaks", true, true, true, 7);
    by_hand(&opening, &ekp);
    talk.say("same chain, whole", true, false, true, 8);
    talk.say("second answers and turns", false, true, true, 300);
    talk.say("first turns", true, true, true, 9);
    talk.say("second does not turn", false, true, false, 301);
    let short = talk.say("first's header is short and its numbers are implied", true, true, true, 10);
    assert_eq!((opening.len() - 9, short.len() - 9), (THIN_OVERHEAD_EKP, THIN_OVERHEAD));
    talk.say("one that is sent again says its numbers", true, true, true, 8);
    talk.say("so does what follows it", true, true, true, 11);
    talk.say("second's are implied", false, true, false, 302);
    let mut section = talk.section;
    bodies(&mut section);
    refused(&mut section);
    section.check();
}

/// The first message, opened from the spec with nothing but primitives.
fn by_hand(message: &[u8], ekp: &DhSecret) {
    let sample: [u8; 16] = message[message.len() - 16..].try_into().unwrap();
    let mut header: [u8; 38] = message[..38].try_into().unwrap();
    header_mask(&Secret::new(HEADER_FIRST), &sample, &mut header);
    assert_eq!(header[..2], [0b1010_0000, 0], "Ekp and numbers follow, nothing entered, n is 0");
    assert_eq!(header[34..], [0; 4], "pn");
    let theirs = DhPublic::from_bytes(header[2..34].try_into().unwrap()).unwrap();
    let shared = ekp.agree(&theirs).unwrap();
    let own = ekp.public();
    let context: [&[u8]; 2] = [theirs.as_bytes(), own.as_bytes()];
    let okm: [u8; 96] = derive(KeyLabel::RatchetStep, &ROOT, shared.expose(), &context);
    let chain = Secret::new(okm[32..64].try_into().unwrap());
    let (key, _) = chain_step(&chain);
    let ad = [&AD_FIRST[..], &[0x06], &header, &0u32.to_be_bytes()].concat();
    assert_eq!(open_siv(&key, &[0; 12], &ad, &message[38..]).unwrap(), b"plaintext");
}

fn bodies(section: &mut Section) {
    let keys = keys();
    let parties = keys.parties();
    let lane = keys.from_lane.public();
    for (seq, (name, content)) in (1u64..).zip(contents(&keys)) {
        let digest = Seen::default().then(&content).unwrap().short();
        let mut fields = json!({ "seq": seq, "epoch": EPOCH, "seen": 70_000, "digest": hex(digest) });
        for (what, implied, overhead) in
            [("implied", true, THIN_OVERHEAD), ("numbered, with Ekp", false, THIN_OVERHEAD_EKP)]
        {
            for signed in [false, true] {
                let mut body =
                    Body { seq, epoch: EPOCH, seen: 70_000, digest, content: content.clone(), sig: None };
                let Some(size) = body.fit_thin(implied, signed, overhead).unwrap() else {
                    assert!(matches!(name, "Confirm" | "Lookup"), "{name} fits");
                    continue;
                };
                if signed {
                    body.sign(&parties, &keys.from_lane).unwrap();
                }
                let plain = body.to_thin(implied, size - overhead).unwrap();
                let told = implied.then_some(Numbers { seq, epoch: EPOCH });
                // The reader has sent 80,000 messages.
                let read = Body::from_thin(&plain, told, 80_000).unwrap();
                assert_eq!(read, body);
                read.check_signature(&parties, &lane, signed).unwrap();
                let form = format!("{what}, {}", if signed { "signed" } else { "deniable" });
                fields[form] = json!({ "item size": size, "plaintext": hex(plain) });
            }
        }
        section.case(&format!("plaintext of {name}"), fields);
    }
}

fn refused(section: &mut Section) {
    let implied = Some(Numbers { seq: 1, epoch: 0 });
    let head = [0, 0, 1, 2, 3, 4];
    let plain = |content: &[u8]| [&head, content].concat();
    assert!(Body::from_thin(&plain(&[b'a', 0x82, 0, 0]), implied, 0).is_ok());
    let cases: [(&str, Vec<u8>); 9] = [
        ("nothing but zeros", vec![0; 30]),
        ("no marker", plain(b"aaaa")),
        ("a marker of a kind that is not defined", plain(&[b'a', 0x86])),
        ("a marker with an unused bit", plain(&[b'a', 0x8a])),
        ("a text that is not UTF-8", plain(&[0xff, 0x82])),
        ("a text without a time in the whole form", plain(&[1, 3, 0, 1, b'a', 0x80])),
        ("a whole content with a byte after it", plain(&[0, 0, 0, 0x80])),
        ("data without a type", plain(&[0, 1, 0x84])),
        ("a signature that is too short", plain(&[7; 63].into_iter().chain([0x83]).collect::<Vec<u8>>())),
    ];
    for (name, bytes) in cases {
        assert!(Body::from_thin(&bytes, implied, 0).is_err(), "{name}");
        section.case(&format!("refused, implied: {name}"), json!({ "bytes": hex(bytes) }));
    }
    // seq, epoch, seen, digest
    for (name, bytes) in [
        ("a sequence with a longer encoding", [0x81, 0, 0, 0, 1, 2, 3, 4, b'a', 0x82].as_slice()),
        ("numbers cut off", [0x81, 0x82].as_slice()),
    ] {
        assert!(Body::from_thin(bytes, None, 0).is_err(), "{name}");
        section.case(&format!("refused, numbered: {name}"), json!({ "bytes": hex(bytes) }));
    }
}
