//! Two clients behind translators of addresses, in network namespaces: which of them meet, and what happens otherwise.
//!
//! Each role is this very program, run again inside its namespace; what they say to each other for the test goes through
//! files in a folder.
#![cfg(all(target_os = "linux", feature = "client", feature = "server", feature = "udp"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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
        "alice" => runtime.block_on(person(&folder, "alice", "bob")),
        "bob" => runtime.block_on(person(&folder, "bob", "alice")),
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

async fn person(folder: &Path, name: &str, other: &str) {
    let unlock = Unlock::Provider(std::sync::Arc::new(Key));
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
    let policy =
        Policy { routes: List::take([Route::Direct, Route::Server]), presence: true, ..Policy::default() };
    client.weaken_policy(other, policy, &unlock).await.unwrap();
    let end = Instant::now() + PATIENCE;
    while client.presence(other).await.unwrap() != Presence::Online {
        assert!(Instant::now() < end, "{other} is not online");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    put(&folder.join(format!("{name} is ready")), "");
    if name == "alice" {
        take(&folder.join("bob is ready")).await;
        talk(folder, &client).await;
    }
    take(&folder.join("stop")).await;
    running.abort();
}

async fn decrypted(client: &Client, id: MessageId) -> Option<Way> {
    let end = Instant::now() + PATIENCE;
    loop {
        let message = client.message(id).await.unwrap();
        if message.delivery >= Delivery::Decrypted {
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

fn run(program: &str, args: &str) -> Result<(), String> {
    let done = Command::new(program).args(args.split_whitespace()).output().map_err(|e| e.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

/// A relay in the middle, and two networks behind routers that translate addresses.
struct Net {
    name: String,
}

impl Net {
    /// # Errors
    /// What keeps this machine from having such a network.
    fn new(masquerade: [&str; 2]) -> Result<Self, String> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let net = Self { name: format!("meow{}n{number}", std::process::id()) };
        let ip = |args: &str| run("ip", args);
        for role in ["wan", "relay", "router0", "router1", "alice", "bob"] {
            ip(&format!("netns add {}", net.space(role)))?;
            ip(&format!("-n {} link set lo up", net.space(role)))?;
        }
        let wan = net.space("wan");
        ip(&format!("-n {wan} link add switch type bridge"))?;
        ip(&format!("-n {wan} link set switch up"))?;
        for (n, role) in [(1, "relay"), (2, "router0"), (3, "router1")] {
            let there = net.space(role);
            ip(&format!("-n {wan} link add port{n} type veth peer name wan netns {there}"))?;
            ip(&format!("-n {wan} link set port{n} master switch up"))?;
            ip(&format!("-n {there} addr add 11.0.0.{n}/24 dev wan"))?;
            ip(&format!("-n {there} link set wan up"))?;
        }
        for (n, (role, how)) in [("alice", masquerade[0]), ("bob", masquerade[1])].into_iter().enumerate() {
            let (router, inside) = (net.space(&format!("router{n}")), net.space(role));
            ip(&format!("-n {router} link add lan type veth peer name eth netns {inside}"))?;
            ip(&format!("-n {router} addr add 10.{n}.0.1/24 dev lan"))?;
            ip(&format!("-n {router} link set lan up"))?;
            ip(&format!("-n {inside} addr add 10.{n}.0.2/24 dev eth"))?;
            ip(&format!("-n {inside} link set eth up"))?;
            ip(&format!("-n {inside} route add default via 10.{n}.0.1"))?;
            ip(&format!("netns exec {router} sysctl -q -w net.ipv4.ip_forward=1"))?;
            // As at home: out with the router's address, in with nothing that was not asked for.
            let rules = format!(
                "table ip meow {{
                    chain out {{ type nat hook postrouting priority 100; oifname \"wan\" {how}; }}
                    chain in {{ type filter hook input priority 0; iifname \"wan\" ct state new drop; }}
                    chain through {{ type filter hook forward priority 0; iifname \"wan\" ct state new drop; }}
                }}"
            );
            let mut nft = Command::new("ip")
                .args(["netns", "exec", &router, "nft", "-f", "-"])
                .stdin(Stdio::piped())
                .spawn()
                .map_err(|e| e.to_string())?;
            std::io::Write::write_all(&mut nft.stdin.take().unwrap(), rules.as_bytes())
                .map_err(|e| e.to_string())?;
            if !nft.wait().map_err(|e| e.to_string())?.success() {
                return Err("nft refuses the rules".into());
            }
        }
        Ok(net)
    }

    fn space(&self, role: &str) -> String {
        format!("{}-{role}", self.name)
    }

    fn start(&self, role: &str, folder: &Path) -> Child {
        Command::new("ip")
            .args(["netns", "exec", &self.space(role)])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "role", "--nocapture"])
            .env("MEOW_NAT_ROLE", role)
            .env("MEOW_NAT_FOLDER", folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for role in ["alice", "bob", "router0", "router1", "relay", "wan"] {
            // It may not have come so far.
            let _ = run("ip", &format!("netns del {}", self.space(role)));
        }
    }
}

/// How long it took until a message went directly, and how many went by the server before; `None` where this machine makes
/// no namespaces.
fn met(masquerade: [&str; 2]) -> Option<(Option<Duration>, u32)> {
    let net = match Net::new(masquerade) {
        Ok(net) => net,
        Err(e) if std::env::var("MEOW_REQUIRE_SERVICES").is_ok_and(|v| v == "1") => {
            panic!("no namespaces: {e}")
        }
        Err(e) => {
            eprintln!("SKIPPED: this machine makes no network namespaces with nftables: {e}");
            return None;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let mut roles: Vec<_> = ["relay", "alice", "bob"].map(|role| net.start(role, folder.path())).into();
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
