//! What the examples share: people who keep running, and a chat between two of them.

#![allow(dead_code, clippy::print_stdout, reason = "each example uses some of it")]

use std::path::Path;
use std::time::Duration;

use meow::{CardFile, Client, Content, EventKind, Result, ServerReference, Transports, Unlock};

/// What opens everybody's keys here.
pub(crate) fn password() -> Unlock {
    Unlock::password("correct horse battery staple")
}

/// A new identity in a folder, which reaches its server by these transports and runs in the background.
pub(crate) async fn person(home: &Path, transports: &Transports, server: &ServerReference) -> Result<Client> {
    let builder = Client::builder().home(home).transports(transports.clone());
    let (client, _words) = builder.create(&password()).await?;
    client.add_server(server).await?;
    let running = client.clone();
    tokio::spawn(async move { running.run().await });
    Ok(client)
}

/// Bob takes Alice's card, and each says a word to the other.
pub(crate) async fn chat(
    alice: &Client,
    bob: &Client,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let card = alice.new_card("Bob", Duration::from_secs(3600), &password()).await?;
    bob.take_card(&CardFile::parse(&card.file)?, "Alice", "", &password()).await?;
    for (from, to, name) in [(alice, bob, "Bob"), (bob, alice, "Alice")] {
        from.send(name, Content::text(0, format!("Hello {name}!"))?).await?;
        let text = tokio::time::timeout(Duration::from_secs(120), message(to)).await??;
        println!("message {text}");
    }
    Ok(())
}

/// The next message, whatever else happens before.
pub(crate) async fn message(client: &Client) -> Result<String> {
    loop {
        let event = client.next_event().await?;
        client.confirm_events(event.number).await?;
        if let EventKind::Message { content, .. } = event.kind {
            return Ok(format!("{}: {}", event.contact, content.as_text().unwrap_or("(no text)")));
        }
    }
}
