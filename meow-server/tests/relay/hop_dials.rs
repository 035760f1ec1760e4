//! Whom a hop dials, who sees what it sends (ATTACKS 44), and what it says of where they are.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use meow_core::Result;
use meow_core::crypto::SystemRandom;
use meow_core::lane::ServerReference;
use meow_core::onion::{Delay, HopId, OnionClass, Step, seal};
use meow_core::request::{Answer, CatalogGet, ClearAnswer, DESCRIBE, RequestKind};
use meow_core::transport::{Addresses, Endpoint, Link, LinkProfile, Listener, Transport};
use meow_server::{Hop, HopLimits};
use meow_testkit::transport::here;
use meow_testkit::transport::names::Rebinding;
use meow_transport::Transports;
use meow_transport_http::{ClientConfig, Http, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::hop::{Plan, client, counts, dialling, hop, until};
use crate::support::Client;
use crate::support::onion::{clear, step};

/// Sends a packet through both.
async fn send(near: &Client, far: &Client) {
    let route = [step(near, Delay::NONE), step(far, Delay::NONE)];
    let packet = seal(OnionClass::Small, &route, &DESCRIBE, &mut SystemRandom).unwrap();
    near.exchange(packet).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a44_a_stranger_at_the_url_of_the_next_server_is_shown_no_packet() {
    let (first, second) = (Plan::new(), Plan::new());
    let all = [first.reference(), second.reference()];
    let url = second.url.clone();
    let mut limits = HopLimits::default();
    limits.life = Duration::from_millis(2500);
    let entry = first.start(Some(hop(&all, limits))).await;
    let entry_client = client(&entry).await;
    let named = second.start(Some(hop(&all, HopLimits::default()))).await;
    let last = client(&named).await;
    named.shutdown().await;
    let stranger = Plan::new();
    let seen = watched(&url, &stranger.url).await;
    let stranger = stranger.start(Some(hop(&all, HopLimits::default()))).await;
    send(&entry_client, &last).await;
    until(&entry, |c| c.failed == 1).await;
    assert_eq!((counts(&stranger).taken, counts(&entry).forwarded), (0, 0));
    // Whoever has no key takes no packet, but must not see one either: all that comes are questions who is there.
    let most = seen.load(Ordering::SeqCst);
    assert!((1..OnionClass::Small.len()).contains(&most), "{most} bytes on one connection");
}

/// A server has two URLs, and proved who it is at the first one. What answers at the second one is somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn a44_a_proof_at_one_url_is_none_for_a_stranger_at_another() {
    let (second, stranger, other) = (Plan::new(), Plan::new(), Plan::new().url);
    let elsewhere = ServerReference { url: other.clone(), ..second.reference() };
    let mut limits = HopLimits::default();
    limits.life = Duration::from_millis(2500);
    let entry = Plan::new().start(Some(hop(&[second.reference(), elsewhere], limits))).await;
    let second = second.start(Some(hop(&[], HopLimits::default()))).await;
    let (near, far) = (client(&entry).await, client(&second).await);
    send(&near, &far).await;
    until(&entry, |c| c.forwarded == 1).await;
    let seen = watched(&other, &stranger.url).await;
    let stranger = stranger.start(Some(hop(&[], HopLimits::default()))).await;
    second.shutdown().await;
    send(&near, &far).await;
    until(&entry, |c| c.failed == 1).await;
    assert_eq!((counts(&stranger).taken, counts(&entry).forwarded), (0, 1));
    let most = seen.load(Ordering::SeqCst);
    assert!((1..OnionClass::Small.len()).contains(&most), "{most} bytes on one connection");
}

/// Passes on what comes to a URL, and counts the most bytes that came on one connection.
async fn watched(at: &Endpoint, to: &Endpoint) -> Arc<AtomicUsize> {
    let listener = tokio::net::TcpListener::bind(at.authority()).await.unwrap();
    let (to, most) = (to.authority(), Arc::<AtomicUsize>::default());
    let seen = Arc::clone(&most);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (to, seen) = (to.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let far = tokio::net::TcpStream::connect(to).await?;
                let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
                    (near.into_split(), far.into_split());
                let back = tokio::spawn(async move { tokio::io::copy(&mut far_in, &mut near_out).await });
                let (mut all, mut buffer) = (0, [0; 4096]);
                loop {
                    let count = near_in.read(&mut buffer).await?;
                    if count == 0 {
                        break;
                    }
                    all += count;
                    seen.fetch_max(all, Ordering::SeqCst);
                    far_out.write_all(&buffer[..count]).await?;
                }
                back.abort();
                std::io::Result::Ok(())
            });
        }
    });
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn a44_a_hop_dials_no_address_that_is_not_public() {
    // Whoever dials here is found out.
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let port = trap.local_addr().unwrap().port();
    let urls = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://0177.0.0.1:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        format!("https://localhost:{port}/"),
    ];
    let mut limits = HopLimits::default();
    limits.life = Duration::from_millis(300);
    let targets: Vec<_> = urls.iter().zip(1u8..).map(|(url, n)| (url.parse().unwrap(), [n; 32])).collect();
    let references = targets.iter().map(|(url, fingerprint): &(Endpoint, [u8; 32])| ServerReference {
        url: url.clone(),
        fingerprint: *fingerprint,
        invite: None,
    });
    let hop = references.fold(Hop::new(dialling(Addresses::public())).limits(limits), Hop::to);
    let relay = Plan::new().start(Some(hop)).await;
    let client = client(&relay).await;
    for (_, fingerprint) in &targets {
        let next = Step { id: HopId::of(fingerprint), ..step(&client, Delay::NONE) };
        let route = [step(&client, Delay::NONE), next];
        let packet = seal(OnionClass::Small, &route, b"", &mut SystemRandom).unwrap();
        assert_eq!(clear(&client.exchange(packet).await.unwrap()), Some(ClearAnswer::Taken));
    }
    // A server that nobody named is not dialled either.
    let next = Step { id: HopId([99; 16]), ..step(&client, Delay::NONE) };
    let packet =
        seal(OnionClass::Small, &[step(&client, Delay::NONE), next], b"", &mut SystemRandom).unwrap();
    client.exchange(packet).await.unwrap();
    until(&relay, |c| c.failed == 9 && c.unknown == 1).await;
    assert!(trap.accept().is_err(), "somebody dialled");
}

/// The name of a server to send on to, whose owner has it lead into the relay's own network after it was checked.
#[tokio::test(flavor = "multi_thread")]
async fn a44_a_name_that_changes_its_answer_leads_a_hop_nowhere_else() {
    let (good, bad): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), here::another().unwrap());
    let named = Plan::new();
    let port = named.url.port().unwrap();
    let trap = TcpListener::bind((bad, port)).unwrap();
    trap.set_nonblocking(true).unwrap();
    let mut reference = named.reference();
    reference.url = format!("http://relay.example:{port}/").parse().unwrap();
    let named = named.start(Some(Hop::new(dialling(Addresses::public())))).await;
    let name = Rebinding::new([vec![good]]);
    let mut config = ClientConfig::default();
    config.addresses = Addresses::public().and("127.0.0.1".parse().unwrap());
    config.names = name.names();
    // Each packet by a connection of its own.
    config.idle_per_host = 0;
    let transports = Transports::new().with(Http::new(config, ServerConfig::default()).unwrap());
    let mut limits = HopLimits::default();
    limits.life = Duration::from_millis(2500);
    let entry = Plan::new().start(Some(Hop::new(transports).limits(limits).to(reference))).await;
    let (near, far) = (client(&entry).await, client(&named).await);
    send(&near, &far).await;
    until(&entry, |c| c.forwarded == 1).await;
    assert_eq!(counts(&named).taken, 1);
    let before = name.asked();
    name.lead_to(vec![bad]);
    send(&near, &far).await;
    until(&entry, |c| c.failed == 1).await;
    assert!(name.asked() > before);
    assert_eq!((counts(&named).taken, counts(&entry).forwarded), (1, 1));
    assert!(trap.accept().is_err(), "somebody dialled");
}

/// `http`, by which this machine's further networks look like public ones.
struct Abroad(Http);

impl Transport for Abroad {
    fn schemes(&self) -> &'static [&'static str] {
        &["http"]
    }
    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        Transport::estimate(&self.0, endpoint)
    }
    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let mut link = Transport::connect(&self.0, endpoint).await?;
        if let Some(IpAddr::V4(at)) = link.peer.address
            && let [127, b @ 1..=255, c, d] = at.octets()
        {
            link.peer.address = Some([66, b, c, d].into());
        }
        Ok(link)
    }
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        Transport::listen(&self.0, endpoint).await
    }
}

/// What counts is where the link led that the server answered on, and not what a name says to who asks again.
#[tokio::test(flavor = "multi_thread")]
async fn a30_a_catalog_says_in_which_networks_the_hop_has_found_servers() {
    let at = |host: &str| {
        let port = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port();
        let mut plan = Plan::new();
        plan.url = format!("http://{host}:{port}/").parse().unwrap();
        (plan, port)
    };
    let ((named, port), (written, _), (here, _)) = (at("127.6.0.1"), at("127.7.0.1"), at("127.0.0.1"));
    let mut all = [&named, &written, &here].map(Plan::reference);
    all[0].url = format!("http://relay.example:{port}/").parse().unwrap();
    let mut config = ClientConfig::default();
    let name = Rebinding::new([vec![IpAddr::from([127, 6, 0, 1])], vec![[127, 8, 0, 1].into()]]);
    config.names = name.names();
    let abroad = Abroad(Http::new(config, ServerConfig::default()).unwrap());
    let hop = all.iter().cloned().fold(Hop::new(Transports::new().with(abroad)), Hop::to);
    let mut relays = Vec::new();
    for plan in [named, written, here] {
        relays.push(plan.start(None).await);
    }
    let shows = Plan::new().start(Some(hop)).await;
    let client = client(&shows).await;
    let end = Instant::now() + Duration::from_secs(60);
    let servers = loop {
        let answer = client.ask(RequestKind::Catalog(CatalogGet { from: 0 }), 3).await;
        let Answer::Catalog(page) = answer else { panic!("{answer:?}") };
        if page.servers.len() == all.len() {
            break page.servers;
        }
        assert!(Instant::now() < end, "{page:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let found = servers.iter().map(|listed| listed.found.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(found.collect::<Vec<_>>(), [vec!["66.6.0.0/16"], vec!["66.7.0.0/16"], vec![]]);
}
