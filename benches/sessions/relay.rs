//! The relay, in a process of its own.

use meow::Transports;
use meow::core::crypto::SystemRandom;
use meow::core::lane::ServerReference;
use meow::core::transport::Endpoint;
use meow::http::Http;
use meow::server::{RelayLimits, ServerIdentity};
use meow::udp::{ClientConfig, ServerConfig, Udp};

use crate::process::{Process, folder, own};

pub(crate) const ROLE: &str = "MEOW_BENCH_ROLE";

/// A relay of this library with its defaults, but for the items of one mailbox.
pub(crate) async fn relay() {
    let mut limits = RelayLimits::default();
    limits.mailbox.mailbox_items = 1_000_000;
    limits.mailbox.mailbox_bytes = 1 << 32;
    let dir = std::env::current_dir().unwrap();
    let mut quic = ServerConfig::default();
    quic.identity = Some(ServerIdentity::open_or_create(&dir, &mut SystemRandom).unwrap().skp().clone());
    let relay = meow::server::Relay::builder()
        .transports(Transports::new().with(Http::default()).with(Udp::new(ClientConfig::default(), quic)))
        .limits(limits)
        .listen("http://127.0.0.1:0".parse().unwrap())
        .listen("udp://127.0.0.1:0".parse().unwrap())
        .data(dir)
        .unwrap()
        .start()
        .await
        .unwrap();
    println!("ready {}", relay.reference());
    std::future::pending().await
}

pub(crate) struct Relay {
    pub(crate) process: Process,
    pub(crate) reference: ServerReference,
}

impl Relay {
    pub(crate) fn start() -> Self {
        let process = Process::start(own().env(ROLE, "relay"), folder());
        Self { reference: process.said.parse().unwrap(), process }
    }

    /// Name and URL of each way; the second is in the descriptor, which the load reads.
    pub(crate) fn urls(&self) -> [(&'static str, Option<Endpoint>); 2] {
        [("http", Some(self.reference.url.clone())), ("udp", None)]
    }
}
