//! Two people talk over QUIC: a relay on a UDP port of this machine, whose handshake proves the relay's key, a card, and a
//! message each way. Everything lives in a temporary folder that is removed at the end.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

mod common;

use meow::core::crypto::SystemRandom;
use meow::server::{Relay, ServerIdentity};
use meow::udp::{ClientConfig, ServerConfig, Udp};
use meow::{EnabledTransports, Transports};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("relay");
    std::fs::create_dir(&data)?;
    // The one thing that QUIC needs beyond what other links do: the key that the relay proves.
    let mut server = ServerConfig::default();
    server.identity = Some(ServerIdentity::open_or_create(&data, &mut SystemRandom)?.skp().clone());
    let relay = Relay::builder()
        .transports(Transports::new().with(Udp::new(ClientConfig::default(), server)))
        .listen("udp://127.0.0.1:0".parse()?)
        .data(&data)?
        .start()
        .await?;
    println!("relay   {}", relay.reference());

    let transports = Transports::enabled();
    let alice = common::person(&dir.path().join("alice"), &transports, relay.reference()).await?;
    let bob = common::person(&dir.path().join("bob"), &transports, relay.reference()).await?;
    common::chat(&alice, &bob).await?;
    relay.shutdown().await;
    Ok(dir.close()?)
}
