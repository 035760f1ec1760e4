//! The ratchet and the handshake beside vodozemac's Olm, in one process and one run: ratios, not absolutes.
//!
//! `cargo bench --bench crypto [-- SECONDS]`. Both sides of a row take turns in rounds; a row shows the medians of the
//! rounds and the median of the rounds' ratios.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

#[path = "common/median.rs"]
mod median;

use std::hint::black_box;
use std::time::{Duration, Instant};

use meow_core::card::{Card, CardFile, CardSecrets};
use meow_core::contact::{Contact, Received};
use meow_core::crypto::{DhSecret, Secret, SigningKey, SystemRandom};
use meow_core::identity::Master;
use meow_core::lane::{ServerRef, VerifiedLaneList};
use meow_core::message::Content;
use meow_core::opening::{Initiate, Respond, Terms};
use meow_core::ratchet::{Ratchet, RatchetKeys};
use meow_core::wire::Text;
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};

use median::median;

const PLAIN: [u8; 1024] = [7; 1024];
const ROUNDS: usize = 15;
const TO_B: [u8; 32] = [1; 32];
const TO_A: [u8; 32] = [2; 32];

fn main() {
    let seconds = std::env::args().filter_map(|text| text.parse::<f64>().ok()).next().unwrap_or(0.2);
    let bench = Bench { round: Duration::from_secs_f64(seconds) };
    println!("{:<46} {:>10} {:>10} {:>7}  mark", "", "vodozemac", "meow", "ratio");

    let (mut olm, mut meow) = (Olm::warm(), Meow::warm());
    bench.row("same direction, 1 KiB, encrypt and decrypt", "0.5", || olm.one_way(), || meow.one_way());
    let (mut olm, mut meow) = (Olm::warm(), Meow::warm());
    bench.row("ping-pong, 1 KiB, a turn each", "1.0", || olm.ping_pong(), || meow.ping_pong());

    let mut olm = OlmSetup::new();
    let meow = MeowSetup::new();
    bench.row("session set-up, both sides", "1.5", || olm.set_up(), || meow.set_up());

    let (mut deniable, mut signed) = (People::new(true), People::new(false));
    let mut olm = Olm::warm();
    bench.row("whole message, deniable, 1,000 B text", "-", || olm.one_way(), || deniable.one_way());
    bench.row("whole message, signed, 1,000 B text", "-", || olm.one_way(), || signed.one_way());

    let (mut olm, mut meow) = (Olm::warm(), Meow::warm());
    println!("\nbytes added to 1 KiB: vodozemac {}, meow {}", olm.overhead(), meow.overhead());
}

struct Bench {
    round: Duration,
}

impl Bench {
    fn row(&self, name: &str, mark: &str, mut theirs: impl FnMut(), mut ours: impl FnMut()) {
        let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (x, y) = (self.time(&mut theirs), self.time(&mut ours));
            a.push(x);
            b.push(y);
            ratios.push(y / x);
        }
        let (x, y, ratio) = (median(a), median(b), median(ratios));
        println!("{name:<46} {x:>7.2} us {y:>7.2} us {ratio:>7.2}  {mark}");
    }

    /// Microseconds a call.
    fn time(&self, work: &mut impl FnMut()) -> f64 {
        let (began, mut calls) = (Instant::now(), 0u32);
        while began.elapsed() < self.round / ROUNDS as u32 {
            work();
            calls += 1;
        }
        began.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    }
}

/// Two Olm sessions after a turn each.
struct Olm {
    a: Session,
    b: Session,
}

impl Olm {
    fn warm() -> Self {
        let (a, b) = OlmSetup::new().sessions();
        let mut olm = Self { a, b };
        olm.ping_pong();
        olm.ping_pong();
        olm
    }

    fn one_way(&mut self) {
        let message = self.a.encrypt(PLAIN).unwrap();
        black_box(self.b.decrypt(&message).unwrap());
    }

    fn ping_pong(&mut self) {
        let message = self.b.encrypt(PLAIN).unwrap();
        black_box(self.a.decrypt(&message).unwrap());
        self.one_way();
    }

    fn overhead(&mut self) -> usize {
        match self.a.encrypt(PLAIN).unwrap() {
            OlmMessage::Normal(message) => message.to_bytes().len() - PLAIN.len(),
            OlmMessage::PreKey(_) => unreachable!("both have turned"),
        }
    }
}

struct OlmSetup {
    alice: Account,
    bob: Account,
}

impl OlmSetup {
    fn new() -> Self {
        Self { alice: Account::new(), bob: Account::new() }
    }

    /// A fallback key, so that making one-time keys is not timed.
    fn sessions(&mut self) -> (Session, Session) {
        let key = match self.bob.fallback_key().values().next() {
            Some(key) => *key,
            None => {
                self.bob.generate_fallback_key();
                *self.bob.fallback_key().values().next().unwrap()
            }
        };
        let config = SessionConfig::version_1();
        let mut a = self.alice.create_outbound_session(config, self.bob.curve25519_key(), key).unwrap();
        let OlmMessage::PreKey(first) = a.encrypt(b"hello").unwrap() else {
            unreachable!("nothing was answered")
        };
        let b = self.bob.create_inbound_session(config, self.alice.curve25519_key(), &first).unwrap();
        (a, b.session)
    }

    fn set_up(&mut self) {
        black_box(self.sessions());
    }
}

/// Two ratchets after a turn each; deniable, as Olm is.
struct Meow {
    a: Ratchet,
    b: Ratchet,
}

impl Meow {
    fn warm() -> Self {
        let key = || Secret::generate(&mut SystemRandom).unwrap();
        let keys = RatchetKeys { root: key(), header_first: key(), header_second: key() };
        let own = DhSecret::generate(&mut SystemRandom).unwrap();
        let a = Ratchet::first(keys.clone(), &own.public(), &mut SystemRandom).unwrap();
        let mut meow = Self { a, b: Ratchet::second(keys, own) };
        meow.one_way();
        meow.ping_pong();
        meow.ping_pong();
        meow
    }

    fn one_way(&mut self) {
        let message = self.a.encrypt(&mut SystemRandom, true, &TO_B, &PLAIN).unwrap();
        let (plain, step) = self.b.decrypt(&TO_B, &message).unwrap();
        self.b.apply(step).unwrap();
        black_box(plain);
    }

    fn ping_pong(&mut self) {
        let message = self.b.encrypt(&mut SystemRandom, true, &TO_A, &PLAIN).unwrap();
        let (plain, step) = self.a.decrypt(&TO_A, &message).unwrap();
        self.a.apply(step).unwrap();
        black_box(plain);
        self.one_way();
    }

    /// Of a message whose chain the other side is known to have entered.
    fn overhead(&mut self) -> String {
        let long = self.a.encrypt(&mut SystemRandom, true, &TO_B, &PLAIN).unwrap();
        let short = {
            let (_, step) = self.b.decrypt(&TO_B, &long).unwrap();
            self.b.apply(step).unwrap();
            let back = self.b.encrypt(&mut SystemRandom, true, &TO_A, &PLAIN).unwrap();
            let (_, step) = self.a.decrypt(&TO_A, &back).unwrap();
            self.a.apply(step).unwrap();
            self.a.encrypt(&mut SystemRandom, false, &TO_B, &PLAIN).unwrap()
        };
        format!(
            "{} ({} until the other side has answered)",
            short.len() - PLAIN.len(),
            long.len() - PLAIN.len()
        )
    }
}

/// One who hands out a card, and one who takes it.
struct MeowSetup {
    file: CardFile,
    issuer: CardSecrets,
    taker: CardSecrets,
    lanes: VerifiedLaneList,
}

impl MeowSetup {
    fn new() -> Self {
        let secrets = || {
            let root = Master::generate(&mut SystemRandom).unwrap().root(0);
            CardSecrets::generate(&root, &mut SystemRandom).unwrap()
        };
        let servers = || vec![ServerRef::new([7; 32], &["http://relay.example".parse().unwrap()]).unwrap()];
        let recovery = SigningKey::generate(&mut SystemRandom).unwrap().public();
        let (issuer, taker) = (secrets(), secrets());
        let file = issuer.card(&recovery, servers(), u64::MAX / 2, &mut SystemRandom).unwrap();
        let lanes = taker.first_list(&recovery, servers()).unwrap();
        Self { file, issuer, taker, lanes }
    }

    fn card(&self) -> &Card {
        self.file.card()
    }

    /// With ML-KEM-768, both lists and the transcript signed and verified, and a greeting.
    fn set_up(&self) {
        let to = (&self.card().lane().prekey, self.file.kem().unwrap());
        let (terms, greeting) = (Terms::answer(self.card()).unwrap(), Text::new("hello").unwrap());
        let begun = Initiate::answer(terms, to, &self.taker.prekey, &self.taker.ckp, &self.lanes, greeting);
        let begun = begun.seal(&mut SystemRandom).unwrap();
        let (terms, ckp) = (Terms::answer(self.card()).unwrap(), self.issuer.ckp.public());
        let own = (&self.issuer.prekey, &self.issuer.kem);
        black_box(Respond::answer(terms, own, &ckp).open(&begun.item, &mut SystemRandom).unwrap());
    }
}

/// Two contact machines: what a client calls, with numbering, digests, padding and signatures.
struct People {
    a: Contact,
    b: Contact,
    text: Content,
}

impl People {
    fn new(deniable: bool) -> Self {
        let MeowSetup { file, issuer, taker, lanes } = MeowSetup::new();
        let mut b = Contact::issue(issuer, file.card().clone());
        let (kem, greeting) = (file.kem().unwrap(), Text::default());
        let (mut a, opening) =
            Contact::take(taker, lanes, file.card(), kem, greeting, &mut SystemRandom).unwrap();
        let mut item = Some(opening.item);
        while let Some(bytes) = item {
            let back = receive(&mut b, &bytes).pop();
            item = back.and_then(|bytes| receive(&mut a, &bytes).pop());
        }
        if deniable {
            let wish = a.set_deniable(true, &mut SystemRandom).unwrap().unwrap();
            receive(&mut b, &wish.item);
            let wish = b.set_deniable(true, &mut SystemRandom).unwrap().unwrap();
            receive(&mut a, &wish.item);
            assert!(a.deniable() && b.deniable());
        }
        Self { a, b, text: Content::text(0, "a".repeat(1000)).unwrap() }
    }

    fn one_way(&mut self) {
        let out = self.a.send(&self.text, &mut SystemRandom).unwrap();
        receive(&mut self.b, &out.item);
    }
}

fn receive(contact: &mut Contact, item: &[u8]) -> Vec<Vec<u8>> {
    match contact.receive(item, 0, &mut SystemRandom).unwrap() {
        Received::Opened(output) => output.items.into_iter().map(|out| out.item).collect(),
        other => unreachable!("{other:?}"),
    }
}
