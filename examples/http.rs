//! Two people talk over plain HTTP: a relay on a port of this machine, a card, and a message each way. The same as the
//! quickstart with everything left out that is not needed to talk.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

mod common;

use meow::Transports;
use meow::http::Http;
use meow::server::Relay;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    // One value serves and dials both `http` and `https`; without a configuration it asks for no account.
    let transports = Transports::new().with(Http::default());
    let relay = Relay::builder()
        .transports(transports.clone())
        .listen("http://127.0.0.1:0".parse()?)
        .data(dir.path().join("relay"))?
        .start()
        .await?;
    println!("relay   {}", relay.reference());

    let alice = common::person(&dir.path().join("alice"), &transports, relay.reference()).await?;
    let bob = common::person(&dir.path().join("bob"), &transports, relay.reference()).await?;
    common::chat(&alice, &bob).await?;
    relay.shutdown().await;
    Ok(dir.close()?)
}
