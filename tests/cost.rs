//! What a route over a serial line is said to cost, against the bytes that are counted on the line; for other kinds of link
//! packets are captured (`meow-cli/tests/cli/namespaces/costs.rs`).

#![cfg(all(feature = "http", feature = "serial", feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod line_world;

use std::time::{Duration, Instant};

use meow::Content;
use meow::client::{RouteCost, RouteReport};
use meow::core::policy::{Form, Policy};
use meow::server::RelayLimits;

use line_world::{World, password};

/// Modems that are quick, so that the tests are.
const CABLE: &str = "?baud=1000000";
const WIDE: &str = "?baud=1000000&mtu=1024";
const KISS: &str = "?mode=kiss&rate=1000000&preamble=0&baud=1000000";
const TRANSPARENT: &str = "?mode=transparent&rate=1000000&preamble=0&lbt=0&baud=1000000";

impl World {
    /// What is lost on a loaded machine is sent again.
    async fn rounds(&self, n: usize) {
        for _ in 0..n {
            for client in [&self.bob, &self.alice] {
                client.sync(Duration::ZERO).await.unwrap();
            }
        }
    }

    /// Sends so many texts of 100 bytes at once, and gives what Alice and the relay have written meanwhile.
    async fn send(&self, texts: u64) -> [u64; 2] {
        for _ in 0..texts {
            self.alice.send("bob", Content::text(0, "x".repeat(100)).unwrap()).await.unwrap();
        }
        let written = || [1, 0].map(|station| self.line.carried_by(station));
        let before = written();
        let end = Instant::now() + Duration::from_secs(120);
        while self.alice.contact("bob").await.unwrap().queued > 0 {
            assert!(Instant::now() < end, "they do not go out");
            self.alice.sync(Duration::ZERO).await.unwrap();
        }
        let after = written();
        [0, 1].map(|side| after[side] - before[side])
    }

    async fn route(&self) -> RouteReport {
        self.alice.explain_route("bob").await.unwrap().remove(0)
    }

    /// What a text is said to cost, and what seventeen more than one have cost, for each.
    async fn costs(&self) -> (RouteCost, [u64; 2]) {
        self.rounds(3).await;
        // By the third one there is a session.
        self.send(3).await;
        self.rounds(2).await;
        let said = self.route().await.cost.unwrap();
        let (one, many) = (self.send(1).await, self.send(18).await);
        self.rounds(2).await;
        (said, [0, 1].map(|side| (many[side] - one[side]) / 17))
    }
}

/// Within a tenth.
fn close(what: &str, said: RouteCost, measured: [u64; 2]) {
    println!("{what}: said {} out, {} in; measured {measured:?}", said.up, said.down);
    for (said, measured) in [said.up, said.down].into_iter().zip(measured) {
        assert!(said.abs_diff(measured) * 10 <= measured, "{what}: {said}, measured {measured}");
    }
}

async fn a_text_costs_what_is_said(what: &str, options: &str) {
    let world = World::new(2, options, RelayLimits::default()).await;
    let (said, measured) = world.costs().await;
    close(what, said, measured);
    // Thin messages, each in one frame where it is known how.
    let thin = Policy { form: Form::Thin, ..Policy::default() };
    for (client, other) in [(&world.alice, "bob"), (&world.bob, "alice")] {
        client.weaken_policy(other, thin.clone(), &password()).await.unwrap();
    }
    world.rounds(2).await;
    world.bob.send("alice", Content::text(0, "here").unwrap()).await.unwrap();
    let (said, measured) = world.costs().await;
    close(&format!("{what}, thin"), said, measured);
    world.relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_costs_what_is_said_on_a_cable() {
    a_text_costs_what_is_said("cable", CABLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_costs_what_is_said_on_a_cable_with_long_frames() {
    a_text_costs_what_is_said("cable with long frames", WIDE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_costs_what_is_said_behind_a_tnc() {
    a_text_costs_what_is_said("kiss", KISS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_costs_what_is_said_behind_a_modem() {
    a_text_costs_what_is_said("transparent", TRANSPARENT).await;
}
