//! Two people talk over a serial line: a relay and two people share three pseudo-terminals that are wired together, each at a
//! device of its own. A card, and a message each way. Everything lives in a temporary folder that is removed at the end.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::time::Duration;

use meow::serial::Serial;
use meow::server::{Admission, Relay};
use meow::{CardFile, Client, Content, EnabledTransports, EventKind, Transports, Unlock};
use meow_testkit::transport::line::Line;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let line = Line::new(3)?;
    let dir = tempfile::tempdir()?;
    let relay = Relay::builder()
        .transports(Transports::new().with(Serial::new()))
        .listen(line.url(0, "?baud=115200").parse()?)
        // Who comes over a line has no address, so nobody is local.
        .admission(Admission::Open)
        .data(dir.path().join("relay"))?
        .start()
        .await?;
    println!("relay   {}", relay.reference());

    let (mut people, password) = (Vec::new(), Unlock::password("correct horse battery staple"));
    for (station, name) in [(1, "alice"), (2, "bob")] {
        let builder = Client::builder().home(dir.path().join(name)).transports(Transports::enabled());
        let (client, _words) = builder.create(&password).await?;
        // The same relay, at the end of one's own cable.
        let mut reference = relay.reference().clone();
        reference.url = line.url(station, "?baud=115200").parse()?;
        client.add_server(&reference).await?;
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
