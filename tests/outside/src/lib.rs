//! What an application writes to embed a relay and clients.

use std::path::Path;

use meow::server::{Relay, RelayHandle};
use meow::{Client, EnabledTransports, Result, Transports, Unlock};

/// A relay on loopback, kept in a folder.
pub async fn relay(dir: &Path) -> Result<RelayHandle> {
    Relay::builder()
        .transports(Transports::enabled())
        .listen("http://127.0.0.1:0".parse()?)
        .data(dir)?
        .start()
        .await
}

/// A client that runs in the background and knows the relay.
pub async fn client(dir: &Path, relay: &RelayHandle, password: &Unlock) -> Result<Client> {
    let builder = Client::builder().home(dir).transports(Transports::enabled());
    let (client, _words) = builder.create(password).await?;
    client.add_server(relay.reference()).await?;
    let background = client.clone();
    tokio::spawn(async move { background.run().await });
    Ok(client)
}
