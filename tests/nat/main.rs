//! Two clients behind translators of addresses, in network namespaces: which of them meet, and what happens otherwise.
//!
//! Each role is this very program, run again inside its namespace; what they say to each other for the test goes through
//! files in a folder.
#![cfg(all(target_os = "linux", feature = "client", feature = "server", feature = "udp"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod lan;
mod net;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use meow::client::Presence;
use meow::core::crypto::Secret;
use meow::core::delivery::Way;
use meow::core::policy::{Policy, Route};
use meow::core::wire::List;
use meow::server::{Admission, Relay};
use meow::{CardFile, Client, Content, Delivery, EnabledTransports, Endpoint, MessageId, Transports, Unlock};

/// For whatever may take long on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "{what} did not happen");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A file that appears whole.
fn put(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path.with_extension("part"), content).unwrap();
    fs::rename(path.with_extension("part"), path).unwrap();
}

async fn take(path: &Path) -> Vec<u8> {
    let end = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < end, "{} did not come", path.display());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fs::read(path).unwrap()
}

/// The program of a role, inside its namespace.
#[test]
fn role() {
    let Ok(role) = std::env::var("MEOW_NAT_ROLE") else { return };
    let folder = PathBuf::from(std::env::var("MEOW_NAT_FOLDER").unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match role.as_str() {
        "relay" => runtime.block_on(relay(&folder)),
        "alice" => {
            runtime.block_on(person(&folder, "alice", "bob", async |client| talk(&folder, client).await))
        }
        "alice on a lan" => {
            runtime
                .block_on(person(&folder, "alice", "bob", async |client| lan::talk(&folder, client).await));
        }
        "bob" => runtime.block_on(person(&folder, "bob", "alice", async |_| ())),
        other => panic!("no role {other}"),
    }
}

async fn relay(folder: &Path) {
    let mut udp = meow::udp::ServerConfig::default();
    let data = folder.join("relay");
    fs::create_dir_all(&data).unwrap();
    let identity =
        meow::server::ServerIdentity::open_or_create(&data, &mut meow::core::crypto::SystemRandom).unwrap();
    udp.identity = Some(identity.skp().clone());
    let transports = Transports::new().with(meow::udp::Udp::new(meow::udp::ClientConfig::default(), udp));
    drop(identity);
    let listen: Endpoint = "udp://11.0.0.1:41325".parse().unwrap();
    let builder = Relay::builder().transports(transports).listen(listen).data(&data).unwrap();
    let relay = builder.admission(Admission::Open).start().await.unwrap();
    put(&folder.join("reference"), relay.reference().to_string());
    take(&folder.join("stop")).await;
    relay.shutdown().await;
}

struct Key;
impl meow::client::KeyProvider for Key {
    fn key(&self) -> meow::Result<Secret> {
        Ok(Secret::new([7; 32]))
    }
}

fn unlock() -> Unlock {
    Unlock::Provider(std::sync::Arc::new(Key))
}

fn allowing(routes: impl IntoIterator<Item = Route>) -> Policy {
    Policy { routes: List::take(routes), presence: true, ..Policy::default() }
}

/// Somebody who talks once both are there.
async fn person(folder: &Path, name: &str, other: &str, talk: impl AsyncFnOnce(&Client)) {
    let unlock = unlock();
    let reference = String::from_utf8(take(&folder.join("reference")).await).unwrap();
    let builder = Client::builder()
        .home(folder.join(name))
        .transports(Transports::enabled_for_contacts().unwrap())
        .direct_at("udp://0.0.0.0:0".parse().unwrap());
    let (client, _words) = builder.create(&unlock).await.unwrap();
    client.add_server(&reference.parse().unwrap()).await.unwrap();
    let card = folder.join("card");
    if name == "alice" {
        put(&card, client.new_card(other, PATIENCE * 10, &unlock).await.unwrap().file);
    } else {
        let card = CardFile::parse(&take(&card).await).unwrap();
        client.take_card(&card, other, "", &unlock).await.unwrap();
    }
    let running = {
        let client = client.clone();
        tokio::spawn(async move { client.run().await.unwrap() })
    };
    client.weaken_policy(other, allowing([Route::Direct, Route::Server]), &unlock).await.unwrap();
    let end = Instant::now() + PATIENCE;
    while client.presence(other).await.unwrap() != Presence::Online {
        assert!(Instant::now() < end, "{other} is not online");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    put(&folder.join(format!("{name} is ready")), "");
    take(&folder.join(format!("{other} is ready"))).await;
    talk(&client).await;
    take(&folder.join("stop")).await;
    running.abort();
}

/// The way that a message went, once the contact has read it. Its receipt may be noted before the way is.
async fn decrypted(client: &Client, id: MessageId) -> Option<Way> {
    let end = Instant::now() + PATIENCE;
    loop {
        let message = client.message(id).await.unwrap();
        if message.delivery >= Delivery::Decrypted && message.way.is_some() {
            return message.way;
        }
        assert!(Instant::now() < end, "a message was not delivered, but {:?}", message.waiting);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends messages until one went directly, or it is clear that none will.
async fn talk(folder: &Path, client: &Client) {
    let began = Instant::now();
    let mut by_server = 0;
    let mut direct = None;
    while began.elapsed() < Duration::from_secs(45) && direct.is_none() {
        let id = client.send("bob", Content::text(0, "hello").unwrap()).await.unwrap();
        match decrypted(client, id).await {
            Some(Way::Direct) => direct = Some(began.elapsed()),
            Some(Way::Server) => by_server += 1,
            way => panic!("delivered by {way:?}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let time = direct.map_or("never".to_owned(), |time| time.as_millis().to_string());
    put(&folder.join("result"), format!("{time} {by_server}"));
}

/// How long it took until a message went directly, and how many went by the server before; `None` where this machine makes
/// no namespaces.
fn met(masquerade: [&str; 2]) -> Option<(Option<Duration>, u32)> {
    let net = net::made(|net| net.behind_routers(masquerade))?;
    let folder = tempfile::tempdir().unwrap();
    let mut roles: Vec<_> = ["relay", "alice", "bob"].map(|role| net.start(role, role, folder.path())).into();
    let result = folder.path().join("result");
    let text = wait_for("a result", || {
        for role in &mut roles {
            assert!(role.try_wait().unwrap().is_none(), "a role ended before its time");
        }
        fs::read_to_string(&result).ok()
    });
    put(&folder.path().join("stop"), "");
    for role in &mut roles {
        role.wait().unwrap();
    }
    let (time, by_server) = text.split_once(' ').unwrap();
    eprintln!("{masquerade:?}: direct after {time} ms, {by_server} messages by the server");
    Some((time.parse().ok().map(Duration::from_millis), by_server.parse().unwrap()))
}

#[test]
fn two_usual_routers_let_both_meet() {
    let Some((direct, _)) = met(["masquerade", "masquerade"]) else { return };
    assert!(direct.is_some());
}

#[test]
fn one_router_with_random_ports_lets_both_meet() {
    // One try in a hundred finds no pair of ports; the contacts would try again after a pause.
    let Some((direct, _)) = met(["masquerade", "masquerade random"]) else { return };
    assert!(direct.is_some());
}

#[test]
fn two_routers_with_random_ports_leave_the_next_route() {
    let Some((direct, by_server)) = met(["masquerade random", "masquerade random"]) else { return };
    assert!(direct.is_none() && by_server > 0, "every message was delivered all the same");
}
