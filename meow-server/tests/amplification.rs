//! Attack 19: what one packet makes a relay do. In a program of its own, since the operations of a whole process are
//! counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

#[path = "relay/setup.rs"]
#[allow(dead_code, reason = "each test program uses its own share of this")]
mod setup;

use meow_core::crypto::{SystemRandom, public_key_operations};
use meow_core::direct::REACH;
use meow_core::onion::{Delay, OnionClass, seal, seal_with_reply};
use meow_core::request::{
    CatalogGet, ClientShare, DESCRIBE, Deposit, Knock, PresenceGet, RequestKind, SessionBy, SessionOpen,
    Showing,
};
use meow_core::session::ShareSecret;
use meow_core::transport::Frame;
use meow_core::wire::Fixed;
use meow_server::Hop;

use crate::setup::{MEMORY, Setup, transports};
use crate::support::client::fresh;
use crate::support::onion::step;
use crate::support::{Client, Owner};

/// A sealed request: opened, and one signature checked.
const REQUEST: u64 = 2;
/// One that opens a session: a key is looked at, and an agreement and an encapsulation are made.
const SESSION: u64 = 5;
/// Each of five hops is an agreement.
const HOPS: u64 = 5;

/// What the relay does for one packet.
async fn cost(client: &Client, packet: Vec<u8>) -> u64 {
    let before = public_key_operations();
    // Whatever it is answered, if it is.
    let _ = client.exchange(packet).await;
    public_key_operations() - before
}

fn session(owner: &mut Owner, by_owner: bool, share: ClientShare) -> RequestKind {
    let by = if by_owner {
        owner.counter += 1;
        SessionBy::Owner { counter: owner.counter, sig: Fixed([0; 64]) }
    } else {
        SessionBy::Depositor { token: Fixed(owner.token) }
    };
    let body = SessionOpen { mailbox: owner.lkp.public(), by, share };
    RequestKind::SessionOpen(body.signed(&owner.server, &owner.lkp).unwrap())
}

/// One request of each kind that a stranger or an owner can make.
fn every_request(owner: &mut Owner) -> Vec<RequestKind> {
    let (mailbox, token) = (owner.lkp.public(), Fixed(owner.token));
    let note = || Box::new(Fixed([7; REACH]));
    let showing = Showing::Record { token_hash: Fixed(Deposit::token_hash(&owner.token)), record: note() };
    let mut kinds = vec![
        owner.register(""),
        owner.deposit(fresh(), &[1; 32_000]),
        owner.pull(0, 0),
        owner.acknowledge(1),
        owner.blob_put([1; 16], 0, &[2; 2000]),
        owner.blob_get([1; 16]),
        owner.present(showing, 0),
        RequestKind::PresenceGet(PresenceGet { mailbox, token }),
        RequestKind::Knock(Knock { mailbox, token, at: Fixed([0; 16]), note: note() }),
        RequestKind::Catalog(CatalogGet { from: 0 }),
    ];
    for by_owner in [true, false] {
        for secret in [ShareSecret::fat(&mut SystemRandom), ShareSecret::thin(&mut SystemRandom)] {
            kinds.push(session(owner, by_owner, secret.unwrap().share()));
        }
    }
    kinds.push(owner.close(false));
    kinds.push(owner.close(true));
    kinds
}

#[tokio::test]
async fn a19_no_packet_makes_a_relay_do_more_than_a_few_public_key_operations() {
    let setup = Setup::with(MEMORY, |builder| builder.hop(Hop::new(transports()))).await;
    let client = &setup.client;
    let before = public_key_operations();
    let mut owner = Owner::registered(client).await;
    assert!(public_key_operations() >= before + REQUEST, "operations are counted");

    // What is no request costs nothing, or an attempt to open it.
    for suite in 0..=255 {
        for size in [60, 124, 236, 256, 512, 2048, 8192, 32_768, 33_792] {
            let mut packet = vec![0xa5; size];
            packet[0] = suite;
            // The number of the key that it is sealed to, where one is named.
            let number = client.key.number.to_be_bytes();
            packet[1..5].copy_from_slice(&number);
            assert!(cost(client, packet).await <= 1, "suite {suite}, {size} bytes");
        }
    }
    assert_eq!(cost(client, DESCRIBE.to_vec()).await, 0, "the descriptor was signed before");

    let dear = |kind: &RequestKind| matches!(kind, RequestKind::SessionOpen(_));
    let mut worst = 0;
    // As they should be, and by somebody who signs for another server.
    for wrong in [false, true] {
        let mut asker = owner.clone();
        if wrong {
            asker.server = [9; 32];
        }
        for kind in every_request(&mut asker) {
            let most = if dear(&kind) { SESSION } else { REQUEST };
            let name = format!("{kind:?}").chars().take_while(|c| c.is_alphanumeric()).collect::<String>();
            let (packet, _) = client.seal(kind, 2);
            let done = cost(client, packet.clone()).await;
            assert!(done <= most, "{name}: {done}");
            worst = worst.max(done);
            assert!(cost(client, packet).await <= most, "{name}, once more");
        }
        owner = Owner::registered(client).await;
    }
    assert_eq!(worst, SESSION, "the bound is no higher than it has to be");

    // Through the same relay five times, with the dearest request at the end, and without an answer's way back.
    for reply in [false, true] {
        let (request, _) =
            client.seal(session(&mut owner, true, ShareSecret::thin(&mut SystemRandom).unwrap().share()), 1);
        let there: Vec<_> = (0..5).map(|_| step(client, Delay::NONE)).collect();
        let packet = if reply {
            seal_with_reply(OnionClass::Small, &there, &there, &request, &mut SystemRandom).unwrap().0
        } else {
            seal(OnionClass::Small, &there, &request, &mut SystemRandom).unwrap()
        };
        let before = public_key_operations();
        let answer = client.exchange(packet).await;
        if reply {
            assert_eq!(answer.map(|answer: Frame| answer.len()).unwrap(), OnionClass::Small.len());
        } else {
            // "Taken" is said before it is done.
            while setup.relay.hop_counts().unwrap().delivered == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
        let back = if reply { HOPS } else { 0 };
        let done = public_key_operations() - before;
        assert!(done <= HOPS + SESSION + back, "{done}");
    }
}
