//! Two people talk through an MQTT broker: a broker in this process, a relay that is its client, a card, and a message each
//! way. Everything lives in a temporary folder that is removed at the end.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::time::Duration;

use meow::core::crypto::SystemRandom;
use meow::mqtt::{ClientConfig, Mqtt, ServerConfig};
use meow::server::{Admission, Relay, ServerIdentity};
use meow::{CardFile, Client, Content, EnabledTransports, EventKind, Transports, Unlock};
use meow_testkit::mqtt::{Behaviour, Broker};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::start(Behaviour::default()).await?;
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("relay");
    std::fs::create_dir(&data)?;
    // The relay's key signs what it announces on the broker.
    let mut server = ServerConfig::default();
    server.identity = Some(ServerIdentity::open_or_create(&data, &mut SystemRandom)?.skp().clone());
    let relay = Relay::builder()
        .transports(Transports::new().with(Mqtt::new(ClientConfig::default(), server)))
        .listen(broker.url("cats").parse()?)
        // Who comes through a broker has no address, so nobody is local.
        .admission(Admission::Open)
        .data(&data)?
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
    bob.take_card(&CardFile::parse(&card.file)?, "Alice", "", &password).await?;
    for (from, to, name) in [(&alice, &bob, "Bob"), (&bob, &alice, "Alice")] {
        from.send(name, Content::text(0, format!("Hello {name}!"))?).await?;
        let text = tokio::time::timeout(Duration::from_secs(60), message(to)).await??;
        println!("message {text}");
    }
    relay.shutdown().await;
    let topics: std::collections::BTreeSet<_> = broker.seen().into_iter().map(|seen| seen.topic).collect();
    println!("broker  {} messages on {} topics", broker.seen().len(), topics.len());
    Ok(dir.close()?)
}

/// The next message, whatever else happens before.
async fn message(client: &Client) -> meow::Result<String> {
    loop {
        let event = client.next_event().await?;
        client.confirm_events(event.number).await?;
        if let EventKind::Message { content, .. } = event.kind {
            return Ok(format!("{}: {}", event.contact, content.as_text().unwrap_or("(no text)")));
        }
    }
}
