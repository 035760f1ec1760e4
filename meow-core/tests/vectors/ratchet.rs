//! A short conversation, message by message.

use meow_core::crypto::{DhPublic, DhSecret, KeyLabel, Secret, chain_step, derive, header_mask, open_siv};
use meow_core::ratchet::{Ratchet, RatchetKeys};
use serde_json::json;

use crate::harness::{Recorder, Section, hex};

const ROOT: [u8; 32] = [0x01; 32];
const HEADER_FIRST: [u8; 32] = [0x02; 32];
const HEADER_SECOND: [u8; 32] = [0x03; 32];
const AD_FIRST: [u8; 32] = [0xa1; 32];
const AD_SECOND: [u8; 32] = [0xa2; 32];

struct Talk {
    first: Ratchet,
    second: Ratchet,
    random: Recorder,
    section: Section,
}

impl Talk {
    /// One message, received at once; draws are the private Ekp of a turn.
    fn say(&mut self, name: &str, from_first: bool, turn: bool, text: &[u8]) -> Vec<u8> {
        let message = self.lose(name, from_first, turn, text);
        self.take(from_first, &message, text);
        message
    }

    fn lose(&mut self, name: &str, from_first: bool, turn: bool, text: &[u8]) -> Vec<u8> {
        let (sender, ad) =
            if from_first { (&mut self.first, AD_FIRST) } else { (&mut self.second, AD_SECOND) };
        let message = sender.encrypt(&mut self.random, turn, &ad, text).unwrap();
        self.section.case(
            name,
            json!({
                "sender": if from_first { "first" } else { "second" }, "turn": turn, "associated data": hex(ad),
                "plaintext": hex(text), "ekp secret": self.random.take(), "message": hex(&message),
            }),
        );
        message
    }

    fn take(&mut self, from_first: bool, message: &[u8], text: &[u8]) {
        let (receiver, ad) =
            if from_first { (&mut self.second, AD_FIRST) } else { (&mut self.first, AD_SECOND) };
        let (plain, step) = receiver.decrypt(&ad, message).unwrap();
        receiver.apply(step).unwrap();
        assert_eq!(plain, text);
    }
}

#[test]
fn ratchet() {
    let section = Section::new(
        "ratchet",
        "A conversation in order of sending. `ekp secret` lists the private X25519 keys that were drawn for a \
         message; a message called `late` arrives after the two that follow it.",
    );
    let mut random = Recorder::new(20);
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
    talk.section.case(
        "start",
        json!({
            "root key": hex(ROOT), "header key r": hex(HEADER_FIRST), "header key i": hex(HEADER_SECOND),
            "ekp secret of second": hex([0x04; 32]), "ekp of second": hex(ekp.public().as_bytes()),
            "ekp secret of first": drawn,
        }),
    );
    let opening = talk.say("first speaks", true, true, b"one");
    by_hand(&opening, &ekp);
    talk.say("same chain", true, true, b"two");
    talk.say("second answers and turns", false, true, b"three");
    let late = talk.lose("late", true, false, b"a receipt that comes late");
    let turned = talk.say("first turns", true, true, b"four");
    talk.take(true, &late, b"a receipt that comes late");
    talk.say("second does not turn", false, false, b"receipt");
    let short = talk.say("first's header is short now", true, true, b"five");
    assert_eq!((turned.len() - 4, short.len() - 4), (58, 22));
    talk.section.check();
}

/// The first message, opened from the spec with nothing but primitives.
fn by_hand(message: &[u8], ekp: &DhSecret) {
    assert_eq!(message[0], 0x02);
    let sample: [u8; 16] = message[message.len() - 16..].try_into().unwrap();
    let mut header: [u8; 41] = message[1..42].try_into().unwrap();
    header_mask(&Secret::new(HEADER_FIRST), &sample, &mut header);
    assert_eq!(header[0], 0b01, "Ekp follows, nothing entered");
    assert_eq!(header[1..5], [0; 4], "n");
    assert_eq!(header[37..], [0; 4], "pn");
    let theirs = DhPublic::from_bytes(header[5..37].try_into().unwrap()).unwrap();
    let shared = ekp.agree(&theirs).unwrap();
    let own = ekp.public();
    let context: [&[u8]; 2] = [theirs.as_bytes(), own.as_bytes()];
    let okm: [u8; 96] = derive(KeyLabel::RatchetStep, &ROOT, shared.expose(), &context);
    let chain = Secret::new(okm[32..64].try_into().unwrap());
    let (key, _) = chain_step(&chain);
    let ad = [&AD_FIRST[..], &[0x02], &header].concat();
    assert_eq!(open_siv(&key, &[0; 12], &ad, &message[42..]).unwrap(), b"one");
}
