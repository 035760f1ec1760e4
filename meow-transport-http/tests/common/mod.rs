//! What the tests of this crate share.
#![allow(dead_code, clippy::unwrap_used, reason = "tests; each test file uses a part")]

use meow_core::transport::{DynTransport, Endpoint, Link, Listener};
use meow_transport_http::{ClientConfig, Http, Identity, Roots, ServerConfig};

/// A self-signed certificate for these names, as PEM, and its key.
pub(crate) fn certificate(names: &[&str]) -> (Vec<u8>, Identity) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let pem = made.cert.pem().into_bytes();
    let key = made.signing_key.serialize_pem().into_bytes().into();
    (pem.clone(), Identity { chain: pem, key })
}

/// Configurations of a client and a server that trust each other over TLS.
pub(crate) fn tls() -> (ClientConfig, ServerConfig) {
    let (pem, identity) = certificate(&["localhost", "127.0.0.1"]);
    let mut client = ClientConfig::default();
    client.roots = Roots::Only(pem);
    let mut server = ServerConfig::default();
    server.identity = Some(identity);
    (client, server)
}

pub(crate) async fn listen(http: &Http, url: &str) -> Listener {
    DynTransport::listen(http, &url.parse().unwrap()).await.unwrap()
}

pub(crate) async fn connect(http: &Http, endpoint: &Endpoint) -> Link {
    DynTransport::connect(http, endpoint).await.unwrap()
}

/// Answers every link with its own frames, until dropped.
pub(crate) struct Echo {
    pub(crate) local: Endpoint,
    task: tokio::task::JoinHandle<()>,
}

impl Echo {
    pub(crate) async fn start(http: &Http, url: &str) -> Self {
        let mut listener = listen(http, url).await;
        let local = listener.local().clone();
        let task = tokio::spawn(async move {
            while let Ok(Some(link)) = listener.accept().await {
                tokio::spawn(echo(link));
            }
        });
        Self { local, task }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.local.authority().parse().unwrap()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(mut link: Link) -> meow_core::Result<()> {
    while let Some(frame) = link.rx.recv().await? {
        link.tx.send(frame).await?;
    }
    link.tx.finish().await
}

/// One frame there and back.
pub(crate) async fn ask(http: &Http, endpoint: &Endpoint, text: &str) -> meow_core::Result<String> {
    let mut link = DynTransport::connect(http, endpoint).await?;
    link.tx.send(text.to_owned().into()).await?;
    link.tx.finish().await?;
    let mut back = Vec::new();
    while let Some(frame) = link.rx.recv().await? {
        back.extend_from_slice(&frame);
    }
    Ok(String::from_utf8(back).unwrap())
}
