//! The main job in one command: a relay on loopback HTTP, two people, a card, a safety code, a message each way,
//! and the delivery ladder as it climbs. Everything lives in a temporary folder that is removed at the end.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::time::Duration;

use meow::server::Relay;
use meow::{CardFile, Client, Content, Delivery, EnabledTransports, EventKind, Transports, Unlock};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let relay = Relay::builder()
        .transports(Transports::enabled())
        .listen("http://127.0.0.1:0".parse()?)
        .data(dir.path().join("relay"))?
        .start()
        .await?;
    println!("relay   {}", relay.reference());

    let (mut people, password) = (Vec::new(), Unlock::password("correct horse battery staple"));
    for name in ["alice", "bob"] {
        let builder = Client::builder().home(dir.path().join(name)).transports(Transports::enabled());
        let (client, _words) = builder.create(&password).await?;
        client.add_server(relay.reference()).await?;
        tokio::spawn({
            let client = client.clone();
            async move { client.run().await }
        });
        people.push(client);
    }
    let [alice, bob] = <[Client; 2]>::try_from(people).map_err(|_| "two people")?;

    let card = alice.new_card("Bob", Duration::from_secs(3600), &password).await?;
    println!("card    {}...", &card.uri[..40]);
    bob.take_card(&CardFile::parse(&card.file)?, "Alice", "It's me", &password).await?;
    wait_for(&alice, |e| matches!(e, EventKind::Established)).await?;
    let code = alice.contact("Bob").await?.safety_code.ok_or("no code")?;
    assert_eq!(bob.contact("Alice").await?.safety_code.as_ref(), Some(&code));
    println!("code    {code}   (the same on both sides)");
    alice.confirm_safety_code("Bob").await?;

    for (from, to, name) in [(&alice, &bob, "Bob"), (&bob, &alice, "Alice")] {
        from.send(name, Content::text(now_ms(), format!("Hello {name}!"))?).await?;
        wait_for(to, |e| matches!(e, EventKind::Message { .. })).await?;
        wait_for(from, |e| matches!(e, EventKind::Delivery { delivery: Delivery::Decrypted, .. })).await?;
    }
    relay.shutdown().await;
    Ok(dir.close()?)
}

/// Shows events until the awaited one.
async fn wait_for(client: &Client, wanted: impl Fn(&EventKind) -> bool) -> meow::Result<()> {
    loop {
        let event = client.next_event().await?;
        client.confirm_events(event.number).await?;
        match &event.kind {
            EventKind::Message { content, .. } => {
                println!("message {}: {}", event.contact, content.as_text().unwrap_or("(no text)"));
            }
            EventKind::Delivery { id, delivery } => println!("ladder  {id} to {}: {delivery}", event.contact),
            EventKind::Greeting(text) => println!("card    {} says: {text}", event.contact),
            other => println!("event   {}: {other:?}", event.contact),
        }
        if wanted(&event.kind) {
            return Ok(());
        }
    }
}

/// Unix time in milliseconds.
fn now_ms() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
