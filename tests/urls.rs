//! Every URL that the protocol's first paper shows is dispatched, and carries a conversation with the real component behind
//! it: a server with a certificate and an account, a broker as Debian configures it, QUIC, a terminal by its path. The ports
//! are the paper's.

#![cfg(all(
    unix,
    feature = "http",
    feature = "udp",
    feature = "mqtt",
    feature = "serial",
    feature = "client",
    feature = "server"
))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

#[path = "../examples/common/mod.rs"]
mod common;

use std::net::Ipv4Addr;

use meow::core::crypto::SystemRandom;
use meow::http::{Account, ClientConfig, Http, Identity, Roots, ServerConfig};
use meow::mqtt::Mqtt;
use meow::server::{Admission, Relay, ServerIdentity};
use meow::udp::Udp;
use meow::{EnabledTransports, Endpoint, ServerReference, Transports};
use meow_testkit::mqtt::Mosquitto;
use meow_testkit::transport::line::Line;

/// An address of this machine with all ports free: the system gives the whole network 127.0.0.0/8 to it, and each process
/// of this test takes another part of it. Elsewhere there is one address, at which the ports have to be free.
fn address(row: u8) -> Ipv4Addr {
    if !cfg!(target_os = "linux") {
        return Ipv4Addr::LOCALHOST;
    }
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high.max(1), low, row)
}

#[test]
fn each_url_is_dispatched() {
    let transports = Transports::enabled();
    for (url, scheme, port) in [
        ("http://myserver.com", "http", Some(80)),
        ("https://user:pass@myauthenticatedserver.net:8443", "https", Some(8443)),
        ("mqtt://mymqttserver:6203", "mqtt", Some(6203)),
        ("udp://myudpserver.org:41325", "udp", Some(41325)),
        ("serial://dev/ttyS0", "serial", None),
    ] {
        let endpoint: Endpoint = url.parse().unwrap();
        assert_eq!((endpoint.scheme(), endpoint.port()), (scheme, port));
        assert!(transports.get(&endpoint).unwrap().schemes().contains(&scheme));
        transports.estimate(&endpoint).unwrap();
    }
}

/// Two people talk through a relay at this URL; `dial` gives the URL for the one and for the other.
async fn conversation(
    listen: &str,
    relay: impl FnOnce(&ServerIdentity) -> Transports,
    people: Transports,
    dial: impl Fn(&str, usize) -> String,
) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("relay");
    std::fs::create_dir(&data).unwrap();
    let identity = ServerIdentity::open_or_create(&data, &mut SystemRandom).unwrap();
    let mut builder = Relay::builder().transports(relay(&identity)).listen(listen.parse().unwrap());
    if listen.starts_with("mqtt:") || listen.starts_with("serial:") {
        // Who comes through a broker or over a line has no address, so nobody is local.
        builder = builder.admission(Admission::Open);
    }
    let relay = builder.data(&data).unwrap().start().await.unwrap();
    let mut pair = Vec::new();
    for (n, name) in ["alice", "bob"].into_iter().enumerate() {
        let url = dial(&relay.reference().url.to_string(), n).parse().unwrap();
        let reference = ServerReference { url, ..relay.reference().clone() };
        pair.push(common::person(&dir.path().join(name), &people, &reference).await.unwrap());
    }
    let [alice, bob] = &pair[..] else { panic!("two people") };
    common::chat(alice, bob).await.unwrap();
    relay.shutdown().await;
}

fn same(url: &str, _person: usize) -> String {
    url.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http() {
    let transports = Transports::enabled();
    // Port 80 belongs to the system's own services.
    conversation("http://127.0.0.1:0", |_| transports.clone(), transports.clone(), same).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_with_user_and_password_at_a_port() {
    let address = address(1);
    let made = rcgen::generate_simple_self_signed([address.to_string()]).unwrap();
    let chain = made.cert.pem().into_bytes();
    let mut server = ServerConfig::default();
    let key = made.signing_key.serialize_pem().into_bytes().into();
    server.identity = Some(Identity { chain: chain.clone(), key });
    server.accounts = vec![Account { user: "user".into(), password: "pass".to_owned().into() }];
    let mut client = ClientConfig::default();
    client.roots = Roots::Only(chain);
    let people = Transports::new().with(Http::new(client, ServerConfig::default()).unwrap());
    let relay = Transports::new().with(Http::new(ClientConfig::default(), server).unwrap());
    let with_account = |url: &str, _| url.replacen("://", "://user:pass@", 1);
    conversation(&format!("https://{address}:8443"), |_| relay, people, with_account).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udp() {
    let relay = |identity: &ServerIdentity| {
        let mut server = meow::udp::ServerConfig::default();
        server.identity = Some(identity.skp().clone());
        Transports::new().with(Udp::new(meow::udp::ClientConfig::default(), server))
    };
    conversation(&format!("udp://{}:41325", address(2)), relay, Transports::enabled(), same).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_through_mosquitto_at_a_port() {
    let address = address(3);
    let Some(_broker) = Mosquitto::packaged((address, 6203).into()).unwrap() else { return };
    let relay = |identity: &ServerIdentity| {
        let mut server = meow::mqtt::ServerConfig::default();
        server.identity = Some(identity.skp().clone());
        Transports::new().with(Mqtt::new(meow::mqtt::ClientConfig::default(), server))
    };
    conversation(&format!("mqtt://{address}:6203"), relay, Transports::enabled(), same).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serial_by_path() {
    let line = Line::new(3).unwrap();
    // In the paper's spelling: the first folder stands where a host would.
    let terminal = |station| {
        let path = std::fs::canonicalize(line.path(station)).unwrap();
        format!("serial:/{}", path.display())
    };
    let relay = |_: &ServerIdentity| Transports::new().with(meow::serial::Serial::new());
    let url = terminal(0);
    assert!(url.starts_with("serial://dev/"), "{url}");
    conversation(&url, relay, Transports::enabled(), |_, person| terminal(person + 1)).await;
}
