//! Every URL that the protocol's first paper shows is dispatched, and carries a conversation with the real component behind
//! it, at a port that is free here.

#![cfg(all(feature = "http", feature = "udp", feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../examples/common/mod.rs"]
mod common;

use meow::core::crypto::SystemRandom;
use meow::http::{Account, ClientConfig, Http, Identity, Roots, ServerConfig};
use meow::server::{Relay, ServerIdentity};
use meow::udp::Udp;
use meow::{EnabledTransports, Endpoint, ServerReference, Transports};

#[test]
fn each_url_is_dispatched() {
    let transports = Transports::enabled();
    for (url, scheme, port) in [
        ("http://myserver.com", "http", Some(80)),
        ("https://user:pass@myauthenticatedserver.net:8443", "https", Some(8443)),
        ("udp://myudpserver.org:41325", "udp", Some(41325)),
    ] {
        let endpoint: Endpoint = url.parse().unwrap();
        assert_eq!((endpoint.scheme(), endpoint.port()), (scheme, port));
        assert!(transports.get(&endpoint).unwrap().schemes().contains(&scheme));
        transports.estimate(&endpoint).unwrap();
    }
}

/// Two people talk through a relay at this URL, which they dial by another spelling of it.
async fn conversation(
    listen: &str,
    relay: impl FnOnce(&ServerIdentity) -> Transports,
    people: Transports,
    dial: impl Fn(&str) -> String,
) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("relay");
    std::fs::create_dir(&data).unwrap();
    let identity = ServerIdentity::open_or_create(&data, &mut SystemRandom).unwrap();
    let builder = Relay::builder().transports(relay(&identity)).listen(listen.parse().unwrap());
    let relay = builder.data(&data).unwrap().start().await.unwrap();
    let url = dial(&relay.reference().url.to_string()).parse().unwrap();
    let reference = ServerReference { url, ..relay.reference().clone() };
    let alice = common::person(&dir.path().join("alice"), &people, &reference).await.unwrap();
    let bob = common::person(&dir.path().join("bob"), &people, &reference).await.unwrap();
    common::chat(&alice, &bob).await.unwrap();
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http() {
    let transports = Transports::enabled();
    conversation("http://127.0.0.1:0", |_| transports.clone(), transports.clone(), str::to_owned).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_with_user_and_password_at_a_port() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let chain = made.cert.pem().into_bytes();
    let mut server = ServerConfig::default();
    let key = made.signing_key.serialize_pem().into_bytes().into();
    server.identity = Some(Identity { chain: chain.clone(), key });
    server.accounts = vec![Account { user: "user".into(), password: "pass".to_owned().into() }];
    let mut client = ClientConfig::default();
    client.roots = Roots::Only(chain);
    let people = Transports::new().with(Http::new(client, ServerConfig::default()).unwrap());
    let relay = Transports::new().with(Http::new(ClientConfig::default(), server).unwrap());
    let with_account = |url: &str| url.replacen("://", "://user:pass@", 1);
    conversation("https://127.0.0.1:0", |_| relay, people, with_account).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udp() {
    let relay = |identity: &ServerIdentity| {
        let mut server = meow::udp::ServerConfig::default();
        server.identity = Some(identity.skp().clone());
        Transports::new().with(Udp::new(meow::udp::ClientConfig::default(), server))
    };
    conversation("udp://127.0.0.1:0", relay, Transports::enabled(), str::to_owned).await;
}
