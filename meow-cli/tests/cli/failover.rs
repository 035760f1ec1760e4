//! A server with several URLs: when one dies in mid-transfer, the others carry on and nothing is lost.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use meow::{CardFile, Client, Content, EnabledTransports, EventKind, Transports, Unlock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::support::{PASSWORD, Relay, World};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A loopback TCP proxy that dies once so many bytes have passed: connections are cut where they are, and new ones
/// are refused.
struct Proxy {
    url: String,
    /// Bytes that may still pass from clients, and to them.
    left: Arc<[AtomicI64; 2]>,
    dead: watch::Sender<bool>,
}

impl Proxy {
    async fn before(port: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let left: Arc<[AtomicI64; 2]> = Arc::new([i64::MAX, i64::MAX].map(AtomicI64::new));
        let (dead, mut died) = watch::channel(false);
        let (budget, death) = (Arc::clone(&left), dead.clone());
        tokio::spawn(async move {
            let accepting = async {
                while let Ok((near, _)) = listener.accept().await {
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::spawn(pass(near_in, far_out, 0, Arc::clone(&budget), death.clone()));
                    tokio::spawn(pass(far_in, near_out, 1, Arc::clone(&budget), death.clone()));
                }
            };
            tokio::select! {
                () = accepting => {}
                _ = died.wait_for(|dead| *dead) => {}
            }
        });
        Self { url, left, dead }
    }

    /// Dies after so many more bytes in this direction: 0 from clients, 1 to them.
    fn dies_after(&self, direction: usize, bytes: i64) {
        self.left[direction].store(bytes, Ordering::SeqCst);
    }

    fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    direction: usize,
    left: Arc<[AtomicI64; 2]>,
    dead: watch::Sender<bool>,
) {
    let mut died = dead.subscribe();
    let copying = async {
        let mut buffer = [0; 256];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            let left = left[direction].fetch_sub(n as i64, Ordering::SeqCst);
            let through = n.min(left.max(0) as usize);
            if to.write_all(&buffer[..through]).await.is_err() {
                return;
            }
            if through < n {
                dead.send_replace(true);
            }
        }
    };
    tokio::select! {
        () = copying => {}
        _ = died.wait_for(|dead| *dead) => {}
    }
}

/// A relay on http behind a proxy, and on udp.
async fn relay(world: &World) -> (Relay, Proxy, String) {
    // Free a moment ago; the relay is told its ports since the proxy must know them.
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let proxy = Proxy::before(tcp).await;
    let udp = format!("udp://127.0.0.1:{udp}/");
    let http = format!("http://127.0.0.1:{tcp}");
    let (quic, proxied) = (udp.trim_end_matches('/'), proxy.url.clone());
    let listen = ["--listen", &http, "--listen", quic];
    let public = ["--public-url", &proxied, "--public-url", &udp];
    let relay = world.relay_with("relay", &[listen, public].concat());
    assert_eq!(relay.url(), proxy.url);
    (relay, proxy, udp)
}

async fn person(world: &World, name: &str, relay: &Relay) -> Client {
    let builder = Client::builder().home(world.path(name)).transports(Transports::enabled());
    let (client, _) = builder.create(&Unlock::password(PASSWORD)).await.unwrap();
    client.add_server(&relay.reference.parse().unwrap()).await.unwrap();
    let running = client.clone();
    tokio::spawn(async move { running.run().await });
    client
}

/// The texts that arrive, until there are so many.
async fn texts(client: &Client, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    let arriving = async {
        while texts.len() < count {
            let event = client.next_event().await.unwrap();
            client.confirm_events(event.number).await.unwrap();
            if let EventKind::Message { content, .. } = event.kind {
                texts.push(content.as_text().unwrap().to_owned());
            }
        }
    };
    tokio::time::timeout(PATIENCE, arriving).await.expect("all messages in time");
    texts
}

async fn say(client: &Client, to: &str, numbers: std::ops::Range<u32>) {
    for n in numbers {
        client.send(to, Content::text(0, format!("{n}")).unwrap()).await.unwrap();
    }
}

fn numbers(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| n.to_string()).collect()
}

/// Everything works by the proxy; then it dies in the middle of a request or of an answer.
async fn outlives(direction: usize, bytes: i64) {
    let world = World::new();
    let (relay, proxy, udp) = relay(&world).await;
    let alice = person(&world, "alice", &relay).await;
    let bob = person(&world, "bob", &relay).await;
    let password = Unlock::password(PASSWORD);
    let card = alice.new_card("bob", Duration::from_secs(3600), &password).await.unwrap();
    bob.take_card(&CardFile::parse(&card.file).unwrap(), "alice", "", &password).await.unwrap();
    say(&alice, "bob", 0..3).await;
    assert_eq!(texts(&bob, 3).await, numbers(0..3));
    let server = alice.servers().await.unwrap().remove(0);
    assert_eq!(server.in_use.unwrap().to_string(), proxy.url, "http is the first choice");
    assert_eq!(server.listed.iter().map(ToString::to_string).collect::<Vec<_>>(), [udp.as_str()]);

    proxy.dies_after(direction, bytes);
    let (_, _, to_bob, to_alice) = tokio::join!(
        say(&alice, "bob", 3..20),
        say(&bob, "alice", 0..17),
        texts(&bob, 17),
        texts(&alice, 17)
    );
    assert_eq!((to_bob, to_alice), (numbers(3..20), numbers(0..17)), "each once, in order");
    assert!(proxy.is_dead());
    let server = alice.servers().await.unwrap().remove(0);
    assert_eq!(server.in_use.unwrap().to_string(), udp);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_dies_within_a_request_loses_nothing() {
    outlives(0, 5_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_dies_within_an_answer_loses_nothing() {
    outlives(1, 3_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_start_finds_the_server_without_the_url_of_its_reference() {
    let world = World::new();
    let (relay, proxy, udp) = relay(&world).await;
    let run = |work: Box<dyn FnOnce() + Send>| tokio::task::spawn_blocking(work);
    let (alice, bob) = (world.nobody("alice"), world.nobody("bob"));
    let reference = relay.reference.clone();
    let people = (alice.clone(), bob.clone());
    run(Box::new(move || {
        let added = people.0.json(["init", "--server", &reference]).done();
        let urls: Vec<_> = added.records[1]["urls"].as_array().unwrap().iter().collect();
        assert_eq!(urls.len(), 2, "{added:?}");
        people.1.run(["init", "--server", &reference]).done();
    }))
    .await
    .unwrap();
    proxy.dies_after(0, 0);
    run(Box::new(move || {
        crate::support::befriend(&alice, &bob);
        alice.run(["send", "bob", "no proxy"]).done();
        assert_eq!(bob.json(["receive", "--wait", "20"]).done().texts(), ["no proxy"]);
        let list = bob.json(["server", "list"]).done();
        assert_eq!(list.record()["in_use"], udp.as_str());
        let text = bob.run(["server", "list"]).done().out;
        assert!(text.contains(&format!("  {udp}  in use")), "{text}");
    }))
    .await
    .unwrap();
    assert!(proxy.is_dead());
}
