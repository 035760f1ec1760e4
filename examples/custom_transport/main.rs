//! Two people talk over a transport of one's own: `unix.rs` beside this file adds the scheme `unix:` through the public API,
//! without a fork and without registering anything globally. It passes the conformance suite (tests/custom_transport.rs).

#![allow(clippy::print_stdout, reason = "this is what it is for")]

#[path = "../common/mod.rs"]
mod common;
mod unix;

use meow::Transports;
use meow::server::{Admission, Relay};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let transports = Transports::new().with(unix::Unix);
    let relay = Relay::builder()
        .transports(transports.clone())
        .listen(format!("unix://{}", dir.path().join("relay.socket").display()).parse()?)
        .data(dir.path().join("relay"))?
        // Who can open the socket has no network address: the file's permissions decide.
        .admission(Admission::Open)
        .start()
        .await?;
    println!("relay   {}", relay.reference());

    let alice = common::person(&dir.path().join("alice"), &transports, relay.reference()).await?;
    let bob = common::person(&dir.path().join("bob"), &transports, relay.reference()).await?;
    common::chat(&alice, &bob).await?;
    relay.shutdown().await;
    Ok(dir.close()?)
}
