#![allow(dead_code, reason = "each test file uses some of it")]

use std::time::Duration;

use meow_core::crypto::{SigningKey, SystemRandom};
use meow_core::transport::{Endpoint, Link, Listener, Transport};
use meow_transport_udp::{ClientConfig, ServerConfig, Udp};

/// After this long, what a test waits for does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn udp(change: impl Fn(&mut ServerConfig)) -> Udp {
    let mut server = ServerConfig::default();
    server.identity = Some(SigningKey::generate(&mut SystemRandom).unwrap());
    change(&mut server);
    let mut client = ClientConfig::default();
    client.connect_timeout = Duration::from_secs(5);
    Udp::new(client, server)
}

/// A listener whose links give back every frame.
pub(crate) async fn echo(udp: &Udp) -> Endpoint {
    let mut listener = udp.listen(&"udp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let local = listener.local().clone();
    tokio::spawn(async move {
        while let Some(link) = accepted(&mut listener).await {
            tokio::spawn(give_back(link));
        }
    });
    local
}

async fn accepted(listener: &mut Listener) -> Option<Link> {
    listener.accept().await.unwrap()
}

async fn give_back(mut link: Link) {
    // A link that broke is dropped, which breaks it off for the other side too.
    while let Ok(frame) = link.rx.recv().await {
        let sent = match frame {
            Some(frame) => link.tx.send(frame).await,
            // The other side may be gone.
            None => return drop(link.tx.finish().await),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Sends one frame and gets it back.
pub(crate) async fn ask(udp: &Udp, to: &Endpoint, frame: &'static [u8]) -> meow_core::Result<Vec<u8>> {
    let mut link = udp.connect(to).await?;
    link.tx.send(frame.into()).await?;
    link.tx.finish().await?;
    Ok(link.rx.recv().await?.unwrap_or_default().to_vec())
}
