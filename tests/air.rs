//! The bytes that a text takes on the air: a relay and a client share a serial line, and a third station counts what passes.

#![cfg(all(feature = "http", feature = "serial", feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod line_world;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meow::Content;
use meow::core::crypto::SystemRandom;
use meow::core::policy::{Authenticity, Form, Policy};
use meow::server::{RelayLimits, ServerIdentity};
use meow_testkit::transport::line::Line;
use tokio::io::AsyncReadExt;

use line_world::{World, password};

/// 20 bytes.
const TEXT: &str = "we are at the harbor";
/// A radio modem that is quick, so that the test is.
const RADIO: &str = "?mode=transparent&rate=1000000&preamble=0&lbt=0&baud=1000000";

/// The frames that were heard, with their framing.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Vec<u8>>>>);

impl Ear {
    fn listen(line: &Line, station: usize) -> Self {
        let (ear, path) = (Self::default(), line.path(station));
        let frames = Arc::clone(&ear.0);
        tokio::spawn(async move {
            let mut device = tokio::fs::File::open(path).await.unwrap();
            let (mut buffer, mut frame) = ([0; 4096], Vec::new());
            while let Ok(n @ 1..) = device.read(&mut buffer).await {
                for byte in &buffer[..n] {
                    frame.push(*byte);
                    if *byte == 0 {
                        frames.lock().unwrap().push(std::mem::take(&mut frame));
                    }
                }
            }
        });
        ear
    }

    /// The lengths of the frames since the last call.
    fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.0.lock().unwrap()).iter().map(Vec::len).collect()
    }

    /// What the frames since the last call carry, each once: what was not answered in time is sent again.
    fn contents(&self) -> Vec<Vec<u8>> {
        let frames = std::mem::take(&mut *self.0.lock().unwrap());
        let whole = |frame: &Vec<u8>| meow::serial::framing::decode(frame.strip_suffix(&[0])?);
        let different: BTreeSet<Vec<u8>> = frames.iter().filter_map(whole).map(Vec::from).collect();
        different.into_iter().collect()
    }
}

/// A relay that keeps so many sessions.
async fn world(sessions: usize) -> World {
    let mut limits = RelayLimits::default();
    limits.sessions = sessions;
    let world = World::new(3, RADIO, limits).await;
    world.rounds(3).await;
    world
}

impl World {
    async fn rounds(&self, n: usize) {
        for _ in 0..n {
            for client in [&self.bob, &self.alice] {
                let report = client.sync(Duration::ZERO).await.unwrap();
                assert!(report.problems.is_empty() && report.waiting.is_none(), "{report:?}");
            }
        }
    }

    /// Sends the text, and gives the lengths of the first two frames on the line: the deposit and its answer.
    async fn say(&self, ear: &Ear) -> [usize; 2] {
        let frames = self.frames(ear).await;
        [frames[0], frames[1]]
    }

    /// Sends the text, and gives the lengths of all frames of this round.
    async fn frames(&self, ear: &Ear) -> Vec<usize> {
        self.alice.send("bob", Content::text(0, TEXT).unwrap()).await.unwrap();
        ear.take();
        let report = self.alice.sync(Duration::ZERO).await.unwrap();
        assert!(report.problems.is_empty() && report.waiting.is_none(), "{report:?}");
        ear.take()
    }

    async fn wish(&self, authenticity: Authenticity) {
        for (client, other) in [(&self.alice, "bob"), (&self.bob, "alice")] {
            let policy = Policy { form: Form::Thin, authenticity, ..Policy::default() };
            client.weaken_policy(other, policy, &password()).await.unwrap();
        }
        self.rounds(3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_of_20_bytes_is_one_frame_of_64_or_128_or_240() {
    let world = world(16).await;
    let ear = Ear::listen(&world.line, 2);
    let mut said = 0;
    for (authenticity, known, new) in [(Authenticity::Signed, 128, 240), (Authenticity::Deniable, 64, 128)] {
        world.wish(authenticity).await;
        // Bob speaks, so that Alice turns her key; his receipt shows that he knows the new one.
        world.bob.send("alice", Content::text(0, "and where are you?").unwrap()).await.unwrap();
        world.rounds(2).await;
        assert_eq!(world.say(&ear).await, [new, 64], "with a new Ekp, and its answer");
        world.rounds(2).await;
        for _ in 0..2 {
            assert_eq!(world.say(&ear).await, [known, 64], "in a session, and its answer");
        }
        world.rounds(1).await;
        said += 3;
    }
    let log = world.bob.log("alice", None, 100).await.unwrap();
    assert_eq!(log.iter().filter(|m| !m.outgoing && m.content.as_text() == Some(TEXT)).count(), said);
    world.relay.shutdown().await;
}

/// What the relay was never asked before, or has no session for: one packet, to its key, with a signed item.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_packet_to_a_relay_is_one_frame_of_240() {
    let world = world(0).await;
    let ear = Ear::listen(&world.line, 2);
    world.wish(Authenticity::Signed).await;
    // So that Alice's key is known, and no new one is due: each side has heard the other since.
    world.bob.send("alice", Content::text(0, "and where are you?").unwrap()).await.unwrap();
    world.rounds(2).await;
    world.say(&ear).await;
    world.rounds(3).await;
    let frames = world.frames(&ear).await;
    // A session may be asked for before, in vain: 240 and 128.
    let deposits = frames.windows(2).filter(|pair| pair == &[240, 64]).count();
    assert_eq!(deposits, 1, "{frames:?}");
    world.rounds(2).await;
    let log = world.bob.log("alice", None, 100).await.unwrap();
    assert_eq!(log.iter().filter(|m| !m.outgoing && m.content.as_text() == Some(TEXT)).count(), 2);
    world.relay.shutdown().await;
}

/// The frame without what says that it is sealed to one of these keys.
fn secret<'a>(keys: &[[u8; 4]], frame: &'a [u8]) -> &'a [u8] {
    let sealed = frame.strip_prefix(&[1]);
    sealed.and_then(|rest| keys.iter().find_map(|key| rest.strip_prefix(key))).unwrap_or(frame)
}

/// Who hears everything finds nothing that two frames have in common, but for the pieces of one packet and what acknowledges
/// them: no tag comes twice, and no other six bytes. That a request is sealed to a key of the relay, and to which one, stands in
/// its first five bytes (spec, chapter "Requests") for everybody to read, and is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn a42_no_two_packets_on_the_air_can_be_linked_by_their_bytes() {
    let world = world(16).await;
    let ear = Ear::listen(&world.line, 2);
    // Whole packets, in pieces; then thin ones of a session, signed and not.
    world.alice.send("bob", Content::text(0, "one in pieces ".repeat(40)).unwrap()).await.unwrap();
    world.rounds(2).await;
    for authenticity in [Authenticity::Signed, Authenticity::Deniable] {
        world.wish(authenticity).await;
        for _ in 0..3 {
            world.alice.send("bob", Content::text(0, TEXT).unwrap()).await.unwrap();
            world.bob.send("alice", Content::text(0, TEXT).unwrap()).await.unwrap();
            world.rounds(2).await;
        }
    }
    let contents = ear.contents();
    let identity =
        ServerIdentity::open_or_create(&world.dir.path().join("relay"), &mut SystemRandom).unwrap();
    let keys: Vec<[u8; 4]> = identity.sealing_keys().map(|key| key.number.to_be_bytes()).collect();
    let thin = |frame: &&Vec<u8>| matches!(frame.len(), 60 | 124 | 236);
    let (single, pieces): (Vec<_>, Vec<_>) = contents.iter().partition(thin);
    assert!(single.len() > 40 && pieces.len() > 4, "{} and {}", single.len(), pieces.len());
    let tags: BTreeSet<&[u8]> = single.iter().map(|frame| &secret(&keys, frame)[..6]).collect();
    assert_eq!(tags.len(), single.len(), "a tag is used again");
    // Pieces of one packet bear its tag; a thin frame is alone.
    let group = |n: usize, frame: &Vec<u8>| match thin(&frame) {
        true => n.to_be_bytes().to_vec(),
        false => frame[..6].to_vec(),
    };
    let mut seen: HashMap<&[u8], Vec<u8>> = HashMap::new();
    for (n, frame) in contents.iter().enumerate() {
        let group = group(n, frame);
        for window in secret(&keys, frame).windows(6) {
            let first = seen.entry(window).or_insert_with(|| group.clone());
            assert_eq!(*first, group, "two packets have {window:02x?} in common");
        }
    }
    let packets: BTreeSet<Vec<u8>> = contents.iter().enumerate().map(|(n, frame)| group(n, frame)).collect();
    assert!(packets.len() > single.len() + 1, "the pieces are of more than one packet");
    world.relay.shutdown().await;
}
