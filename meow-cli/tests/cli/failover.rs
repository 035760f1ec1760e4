//! A server with several URLs: when one dies in mid-transfer, the others carry on and nothing is lost.

use std::time::Duration;

use meow::{CardFile, Client, Content, EnabledTransports, EventKind, Transports, Unlock};
use meow_testkit::transport::port::own_port;

use crate::proxy::Proxy;
use crate::support::{PASSWORD, Relay, World};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A relay on http behind a proxy, and on udp.
async fn relay(world: &World) -> (Relay, Proxy, String) {
    // The relay is told its ports since the proxy must know them.
    let [tcp, udp] = [(); 2].map(|()| own_port().unwrap());
    let proxy = Proxy::tcp(tcp).await;
    let at_proxy = format!("http://{}/", proxy.address);
    let udp = format!("udp://127.0.0.1:{udp}/");
    let http = format!("http://127.0.0.1:{tcp}");
    let quic = udp.trim_end_matches('/');
    let listen = ["--listen", &http, "--listen", quic];
    let public = ["--public-url", &at_proxy, "--public-url", &udp];
    let relay = world.relay_with("relay", &[listen, public].concat());
    assert_eq!(relay.url(), at_proxy);
    (relay, proxy, udp)
}

/// Somebody whose client runs in this process, by these transports.
pub(crate) async fn person(world: &World, name: &str, transports: &Transports, reference: &str) -> Client {
    let builder = Client::builder().home(world.path(name)).transports(transports.clone());
    let (client, _) = builder.create(&Unlock::password(PASSWORD)).await.unwrap();
    client.add_server(&reference.parse().unwrap()).await.unwrap();
    let running = client.clone();
    tokio::spawn(async move { running.run().await });
    client
}

/// The texts that arrive, until there are so many.
pub(crate) async fn texts(client: &Client, count: usize) -> Vec<String> {
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

pub(crate) async fn say(client: &Client, to: &str, numbers: std::ops::Range<u32>) {
    for n in numbers {
        client.send(to, Content::text(0, format!("{n}")).unwrap()).await.unwrap();
    }
}

pub(crate) fn numbers(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| n.to_string()).collect()
}

/// Everything works by the proxy; then it dies in the middle of a request or of an answer.
async fn outlives(direction: usize, bytes: i64) {
    let world = World::new();
    let (relay, proxy, udp) = relay(&world).await;
    let alice = person(&world, "alice", &Transports::enabled(), &relay.reference).await;
    let bob = person(&world, "bob", &Transports::enabled(), &relay.reference).await;
    let password = Unlock::password(PASSWORD);
    let card = alice.new_card("bob", Duration::from_secs(3600), &password).await.unwrap();
    bob.take_card(&CardFile::parse(&card.file).unwrap(), "alice", "", &password).await.unwrap();
    say(&alice, "bob", 0..3).await;
    assert_eq!(texts(&bob, 3).await, numbers(0..3));
    let server = alice.servers().await.unwrap().remove(0);
    assert_eq!(server.in_use.unwrap().to_string(), relay.url(), "http is the first choice");
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
    let dead = format!("http://{}/", proxy.address);
    run(Box::new(move || {
        crate::support::befriend(&alice, &bob);
        alice.run(["send", "bob", "no proxy"]).done();
        assert_eq!(bob.json(["receive", "--wait", "20"]).done().texts(), ["no proxy"]);
        let list = bob.json(["server", "list"]).done();
        assert_eq!(list.record()["in_use"], udp.as_str());
        let text = bob.run(["server", "list"]).done().out;
        assert!(text.contains(&format!("  {udp}  in use")), "{text}");
        // Of the two URLs one works, which is enough for the server; the other is told of.
        let run = bob.json(["doctor"]).code(1);
        let found = |check: &str, about: &str| {
            let fits = |c: &&serde_json::Value| {
                c["check"] == check && c["about"].as_str().is_some_and(|a| a.starts_with(about))
            };
            run.records.iter().find(fits).unwrap_or_else(|| panic!("{check} {about}: {run:?}"))
        };
        assert_eq!(found("url", &udp)["ok"], true);
        let dead = found("url", &dead);
        assert_eq!((&dead["ok"], &dead["error"]), (&false.into(), &"unreachable".into()));
        assert!(dead["message"].as_str().unwrap().contains("mail takes the URLs that work"), "{dead}");
        assert_eq!(found("server", "")["ok"], true);
    }))
    .await
    .unwrap();
    assert!(proxy.is_dead());
}
