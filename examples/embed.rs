//! A small app around the library: keys come from the app's own keystore instead of a password; what arrives is dealt with
//! once, also over a crash, by a cursor that stays in the store; and the network sleeps when the app does.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meow::client::KeyProvider;
use meow::core::crypto::Secret;
use meow::server::{Relay, RelayHandle};
use meow::{CardFile, Client, Content, EnabledTransports, EventKind, Transports, Unlock};

/// Stands for the keystore of an operating system, or a vault.
struct Keystore([u8; 32]);

impl KeyProvider for Keystore {
    fn key(&self) -> meow::Result<Secret> {
        Ok(Secret::new(self.0))
    }
}

/// The app's state: here, a list.
struct App {
    client: Client,
    inbox: Vec<String>,
}

impl App {
    async fn start(client: Client) -> Self {
        let running = client.clone();
        tokio::spawn(async move { running.run().await });
        Self { client, inbox: Vec::new() }
    }

    /// Deals with events in order until there are so many messages. An event comes again, also after a crash, until
    /// it is confirmed; so keep what it tells first, and confirm it then.
    async fn read(&mut self, messages: usize) -> meow::Result<()> {
        while self.inbox.len() < messages {
            let event = self.client.next_event().await?;
            if let EventKind::Message { content, .. } = &event.kind {
                let text = content.as_text().unwrap_or("(no text)").to_owned();
                println!("event   {} says {text:?}", event.contact);
                self.inbox.push(text);
            }
            self.client.confirm_events(event.number).await?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let relay = relay(dir.path()).await?;
    let (key, other) = (Keystore([7; 32]), Keystore([9; 32]));
    let (key, other) = (Unlock::Provider(Arc::new(key)), Unlock::Provider(Arc::new(other)));
    let home = |name: &str| Client::builder().home(dir.path().join(name)).transports(Transports::enabled());

    let (client, _words) = home("app").create(&key).await?;
    client.add_server(relay.reference()).await?;
    let mut app = App::start(client).await;
    let (friend, _words) = home("friend").create(&other).await?;
    friend.add_server(relay.reference()).await?;
    let mut friend = App::start(friend).await;

    let card = app.client.new_card("Friend", Duration::from_secs(3600), &key).await?;
    friend.client.take_card(&CardFile::parse(&card.file)?, "App", "", &other).await?;
    friend.client.send("App", Content::text(0, "Are you there?")?).await?;
    app.read(1).await?;

    // The phone's screen goes dark: no polls, no deposits. What is written meanwhile waits at the relay.
    app.client.suspend();
    friend.client.send("App", Content::text(0, "Good night")?).await?;
    println!("asleep  {} event(s) waiting", app.client.events(10).await?.iter().filter(is_message).count());
    app.client.resume();
    app.read(2).await?;

    // Next morning the app starts anew, with the key from the keystore. What was confirmed does not come again.
    let reopened = home("app").open(&key).await?;
    println!("again   {} event(s) waiting", reopened.events(10).await?.iter().filter(is_message).count());
    println!("wrong   {}", home("app").open(&other).await.err().ok_or("any key opens it")?.kind().name());
    app.client.send("Friend", Content::text(0, "Good morning")?).await?;
    friend.read(1).await?;
    relay.shutdown().await;
    Ok(dir.close()?)
}

fn is_message(event: &&meow::Event) -> bool {
    matches!(event.kind, EventKind::Message { .. })
}

/// A relay for the example; an app would use one that runs elsewhere.
async fn relay(dir: &Path) -> meow::Result<RelayHandle> {
    Relay::builder()
        .transports(Transports::enabled())
        .listen("http://127.0.0.1:0".parse()?)
        .data(dir.join("relay"))?
        .start()
        .await
}
