//! Ratchet messages: headers under their mask, and a receiver fed with any sequence of messages.

use meow_core::crypto::SeededRandom;
use meow_core::ratchet::{Numbers, Ratchet, RatchetKeys};

use crate::{Seed, Target, items, seed, sequence, world};

/// The targets of this module.
pub const TARGETS: &[Target] = &[
    Target { name: "ratchet_message", run: messages, seeds: message_seeds },
    Target { name: "thin_message", run: thin, seeds: thin_seeds },
];

/// Associated data towards the side that receives first, and back.
const TO_SECOND: [u8; 32] = [0xa1; 32];
const TO_FIRST: [u8; 32] = [0xb2; 32];

fn pair() -> (Ratchet, Ratchet, SeededRandom) {
    let keys = RatchetKeys {
        root: world::secret(60),
        header_first: world::secret(61),
        header_second: world::secret(62),
    };
    let (own, mut random) = (world::dh(63), world::random(64));
    let first = Ratchet::first(keys.clone(), &own.public(), &mut random).expect("a key");
    (first, Ratchet::second(keys, own), random)
}

/// What one side sends, and what the other does with it.
struct Script {
    first: Ratchet,
    second: Ratchet,
    random: SeededRandom,
}

impl Script {
    fn new() -> Self {
        let (first, second, random) = pair();
        Self { first, second, random }
    }

    fn first_sends(&mut self) -> Vec<u8> {
        self.first.encrypt(&mut self.random, true, &TO_SECOND, b"to the second").expect("encrypts")
    }

    /// A thin message that says its numbers only where they are not known.
    fn first_sends_thin(&mut self, seq: u64) -> Vec<u8> {
        let numbers = Numbers { seq, epoch: 0 };
        let numbered = !self.first.implies(true, numbers);
        self.first
            .encrypt_thin(&mut self.random, true, &TO_SECOND, numbers, numbered, &seq.to_be_bytes())
            .expect("encrypts")
    }

    fn second_reads_thin(&mut self, message: &[u8]) {
        let mut opened = self.second.decrypt_thin(&TO_SECOND, message).expect("decrypts");
        let seq = u64::from_be_bytes(opened.plaintext.as_slice().try_into().expect("a sequence"));
        opened.step.numbered(Numbers { seq, epoch: 0 });
        self.second.apply(opened.step).expect("fresh");
    }

    /// The second side answers, and the first reads it: the next message of the first opens a new chain.
    fn turn(&mut self) {
        let back = self.second.encrypt(&mut self.random, true, &TO_FIRST, b"back").expect("encrypts");
        let (_, step) = self.first.decrypt(&TO_FIRST, &back).expect("decrypts");
        self.first.apply(step).expect("fresh");
    }

    fn second_reads(&mut self, message: &[u8]) {
        let (_, step) = self.second.decrypt(&TO_SECOND, message).expect("decrypts");
        self.second.apply(step).expect("fresh");
    }
}

/// Messages to one receiver, accepted when at least one opens; an empty one stands for "the receiver sends".
pub fn messages(data: &[u8]) -> bool {
    let mut script = Script::new();
    let mut accepted = false;
    for message in items(data) {
        if message.is_empty() {
            let _ = script.second.encrypt(&mut script.random, true, &TO_FIRST, b"back");
        } else if let Ok((_, step)) = script.second.decrypt(&TO_SECOND, message) {
            script.second.apply(step).expect("a step of the present state");
            assert!(script.second.decrypt(&TO_SECOND, message).is_err(), "a message opens once");
            accepted = true;
        }
    }
    accepted
}

/// Seeds of [`messages`].
pub fn message_seeds() -> Vec<Seed> {
    let mut script = Script::new();
    let chain: Vec<_> = (0..4).map(|_| script.first_sends()).collect();
    script.second_reads(&chain[0]);
    script.turn();
    let next: Vec<_> = (0..3).map(|_| script.first_sends()).collect();
    script.second_reads(&next[2]);
    script.turn();
    let third = vec![script.first_sends()];
    // In the replay, the receiver has to have sent where it did here.
    let sends = vec![Vec::new()];
    let all = |parts: &[&[Vec<u8>]]| sequence(parts.concat().iter());

    let mut far = Script::new();
    let skipped: Vec<_> = (0..1003).map(|_| far.first_sends()).collect();
    let mut exhausted = Script::new();
    let opening = exhausted.first_sends();

    let flipped =
        |message: &[u8], at: usize| [&message[..at], &[message[at] ^ 1], &message[at + 1..]].concat();
    vec![
        seed("in-order", all(&[&chain[..1], &sends, &next, &sends, &third])),
        seed("chain", all(&[&chain])),
        seed("reversed", sequence(chain.iter().rev())),
        seed(
            "late-over-a-turn",
            all(&[&chain[..1], &sends, &next[2..], &chain[1..], &next[..2], &sends, &third]),
        ),
        seed("twice", all(&[&chain[1..2], &chain[1..2], &chain[..1], &chain[..1]])),
        seed("turn-missed", all(&[&chain[..1], &sends, &sends, &third])),
        seed("as-far-ahead-as-allowed", sequence([&skipped[1000]])),
        seed("bad-too-far-ahead", sequence([&skipped[1001]])),
        seed("too-far-ahead-in-a-chain", sequence([&skipped[0], &skipped[1002]])),
        seed("bad-flipped-header", sequence([&flipped(&opening, 3)])),
        seed("bad-flipped-body", sequence([&flipped(&opening, 50)])),
        seed("second-flipped", sequence([&chain[0], &flipped(&chain[1], 50)])),
        seed("bad-suite", sequence([&flipped(&opening, 0)])),
        seed("bad-short", sequence([&vec![2; 20], &vec![2; 17], &vec![2]])),
        seed("bad-empty", []),
    ]
}

/// Thin messages to one receiver, as [`messages`]. A plaintext of eight bytes is taken for the sequence.
pub fn thin(data: &[u8]) -> bool {
    let mut script = Script::new();
    let mut accepted = false;
    for message in items(data) {
        if message.is_empty() {
            let _ = script.second.encrypt(&mut script.random, true, &TO_FIRST, b"back");
        } else if let Ok(mut opened) = script.second.decrypt_thin(&TO_SECOND, message) {
            if let Ok(seq) = <[u8; 8]>::try_from(opened.plaintext.as_slice()) {
                let numbers = Numbers { seq: u64::from_be_bytes(seq), epoch: 0 };
                assert!(opened.implied.is_none_or(|implied| implied == numbers), "bound");
                opened.step.numbered(numbers);
            }
            script.second.apply(opened.step).expect("a step of the present state");
            assert!(script.second.decrypt_thin(&TO_SECOND, message).is_err(), "a message opens once");
            accepted = true;
        }
    }
    accepted
}

/// Seeds of [`thin`].
pub fn thin_seeds() -> Vec<Seed> {
    let mut script = Script::new();
    let chain: Vec<_> = (10..14).map(|seq| script.first_sends_thin(seq)).collect();
    script.second_reads_thin(&chain[0]);
    script.turn();
    let next = vec![script.first_sends_thin(14)];
    script.second_reads_thin(&next[0]);
    // The receiver shows that it entered the chain, without a turn: headers are short from here on.
    let known = script.second.encrypt(&mut script.random, false, &TO_FIRST, b"known").expect("encrypts");
    let (_, step) = script.first.decrypt(&TO_FIRST, &known).expect("decrypts");
    script.first.apply(step).expect("fresh");
    let short: Vec<_> = (15..19).map(|seq| script.first_sends_thin(seq)).collect();
    let again = vec![script.first_sends_thin(12), script.first_sends_thin(19)];
    let sends = vec![Vec::new()];
    let all = |parts: &[&[Vec<u8>]]| sequence(parts.concat().iter());

    let mut far = Script::new();
    let skipped: Vec<_> = (1..1003).map(|seq| far.first_sends_thin(seq)).collect();
    let flipped =
        |message: &[u8], at: usize| [&message[..at], &[message[at] ^ 1], &message[at + 1..]].concat();
    vec![
        seed("in-order", all(&[&chain[..1], &sends, &next, &short, &again])),
        seed("chain", all(&[&chain])),
        seed("reversed", sequence(chain.iter().rev())),
        seed("short-reversed", all(&[&chain[..1], &sends, &next, &short[3..], &short[2..3], &short[..2]])),
        seed("late-over-a-turn", all(&[&chain[..1], &sends, &next, &chain[1..], &short])),
        seed("twice", all(&[&chain[1..2], &chain[1..2], &chain[..1], &chain[..1]])),
        seed("short-before-its-chain", all(&[&chain[..1], &sends, &short, &next, &short])),
        seed("as-far-ahead-as-allowed", sequence([&skipped[1000]])),
        seed("bad-too-far-ahead", sequence([&skipped[1001]])),
        seed("bad-flipped-header", sequence([&flipped(&chain[0], 3)])),
        seed("bad-flipped-flags", sequence([&flipped(&chain[0], 0)])),
        seed("bad-flipped-body", sequence([&flipped(&chain[0], 40)])),
        seed("bad-short", sequence([&vec![2; 53], &vec![2; 17], &vec![2]])),
        seed("bad-empty", []),
    ]
}
