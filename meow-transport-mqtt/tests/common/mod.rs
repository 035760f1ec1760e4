#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod gate;
mod mosquitto;
pub(crate) mod peer;

#[allow(unused_imports, reason = "not every test file needs it")]
pub(crate) use mosquitto::Mosquitto;

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meow_core::crypto::{SigningKey, SystemRandom};
use meow_core::transport::{Endpoint, Link, LinkProfile, Listener, Transport};
use meow_transport_mqtt::{ClientConfig, Mqtt, ServerConfig};
use tokio::time::{sleep, timeout};

/// After this long, what a test waits for does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A transport that dials and listens, with a key of its own.
pub(crate) fn mqtt(change: impl Fn(&mut ClientConfig, &mut ServerConfig)) -> Mqtt {
    let (mut client, mut server) = (ClientConfig::default(), ServerConfig::default());
    server.identity = Some(SigningKey::generate(&mut SystemRandom).unwrap());
    change(&mut client, &mut server);
    Mqtt::new(client, server)
}

/// Listens below a prefix of its own each time: two servers of one key and one prefix are one to those who dial.
pub(crate) struct Apart(pub(crate) Mqtt, pub(crate) AtomicUsize);

impl Apart {
    pub(crate) fn new(mqtt: Mqtt) -> Self {
        Self(mqtt, AtomicUsize::new(0))
    }
}

impl Transport for Apart {
    fn schemes(&self) -> &'static [&'static str] {
        Transport::schemes(&self.0)
    }
    fn estimate(&self, endpoint: &Endpoint) -> meow_core::Result<LinkProfile> {
        Transport::estimate(&self.0, endpoint)
    }
    async fn connect(&self, endpoint: &Endpoint) -> meow_core::Result<Link> {
        Transport::connect(&self.0, endpoint).await
    }
    async fn listen(&self, endpoint: &Endpoint) -> meow_core::Result<Listener> {
        let number = self.1.fetch_add(1, Ordering::SeqCst);
        let url = endpoint.expose();
        let (lead, options) = url.split_once('?').map_or((url.as_str(), ""), |(lead, _)| (lead, "?wrong=1"));
        let apart: Endpoint = format!("{lead}/{number}{options}").parse().unwrap();
        Transport::listen(&self.0, &apart).await
    }
}

/// A listener whose links give back every frame.
pub(crate) async fn echo(mqtt: &Mqtt, url: &str) -> Endpoint {
    let listener = mqtt.listen(&url.parse().unwrap()).await.unwrap();
    let local = listener.local().clone();
    tokio::spawn(serve(listener));
    local
}

pub(crate) async fn serve(mut listener: Listener) {
    while let Some(link) = listener.accept().await.unwrap() {
        tokio::spawn(give_back(link));
    }
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
pub(crate) async fn ask(mqtt: &Mqtt, to: &Endpoint, frame: &[u8]) -> meow_core::Result<Vec<u8>> {
    let mut link = mqtt.connect(to).await?;
    link.tx.send(frame.to_vec().into()).await?;
    link.tx.finish().await?;
    Ok(link.rx.recv().await?.unwrap_or_default().to_vec())
}

/// Asks until there is an answer.
pub(crate) async fn insist(mqtt: &Mqtt, to: &Endpoint, frame: &[u8]) {
    let asking = async {
        loop {
            match timeout(Duration::from_secs(20), ask(mqtt, to, frame)).await {
                Ok(Ok(back)) => return assert_eq!(back, frame),
                Ok(Err(e)) => assert_eq!(e.kind(), meow_core::ErrorKind::Unreachable, "{e:?}"),
                Err(_) => {}
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("an answer");
}

/// Waits for a condition.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} did not come about"));
}
