//! Relays as hops: chains on loopback, and what must not work against them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use meow_core::crypto::SystemRandom;
use meow_core::lane::ServerReference;
use meow_core::onion::{Delay, HopId, OnionClass, mark_relayed, seal, seal_with_reply};
use meow_core::request::{
    Answer, CatalogGet, ClearAnswer, ClearCode, DESCRIBE, MAX_ITEM, Present, RefusalCode, RequestKind,
    Showing,
};
use meow_core::transport::{Addresses, Endpoint};
use meow_core::wire::Fixed;
use meow_server::{Admission, Hop, HopCounts, HopLimits, Relay, RelayHandle, RelayLimits, ServerIdentity};
use meow_transport::Transports;
use meow_transport_http::{ClientConfig, Http, ServerConfig};

use crate::support::client::{items, post_from, refused};
use crate::support::onion::{Chain, clear, step};
use crate::support::{Client, MemStore, Owner, free_port};

/// A relay to be: its place and identity, before it runs.
pub(super) struct Plan {
    pub(super) url: Endpoint,
    identity: ServerIdentity,
}

impl Plan {
    pub(super) fn new() -> Self {
        Self {
            url: format!("http://127.0.0.1:{}/", free_port()).parse().unwrap(),
            identity: ServerIdentity::ephemeral(&mut SystemRandom).unwrap(),
        }
    }

    pub(super) fn reference(&self) -> ServerReference {
        ServerReference { url: self.url.clone(), fingerprint: *self.identity.fingerprint(), invite: None }
    }

    pub(super) async fn start(self, hop: Option<Hop>) -> RelayHandle {
        let mut builder = Relay::builder()
            .transports(Transports::new().with(Http::default()))
            .listen(self.url)
            .store(Arc::new(MemStore::default()))
            .identity(self.identity)
            .admission(Admission::Open);
        if let Some(hop) = hop {
            builder = builder.hop(hop);
        }
        builder.start().await.unwrap()
    }
}

pub(super) fn dialling(addresses: Addresses) -> Transports {
    let mut client = ClientConfig::default();
    client.addresses = addresses;
    Transports::new().with(Http::new(client, ServerConfig::default()).unwrap())
}

/// A hop that may dial this machine.
pub(super) fn hop(to: &[ServerReference], limits: HopLimits) -> Hop {
    let addresses = Addresses::public().and("127.0.0.0/8".parse().unwrap());
    to.iter().cloned().fold(Hop::new(dialling(addresses)).limits(limits), Hop::to)
}

pub(super) async fn client(relay: &RelayHandle) -> Client {
    let transports = Transports::new().with(Http::default());
    Client::new(&transports, &relay.local_endpoints()[0], &relay.reference().fingerprint).await
}

/// Relays that all know each other.
async fn mesh(n: usize, limits: HopLimits) -> (Vec<RelayHandle>, Vec<Client>) {
    let plans: Vec<_> = (0..n).map(|_| Plan::new()).collect();
    let all: Vec<_> = plans.iter().map(Plan::reference).collect();
    let (mut relays, mut clients) = (Vec::new(), Vec::new());
    for plan in plans {
        let relay = plan.start(Some(hop(&all, limits.clone()))).await;
        clients.push(client(&relay).await);
        relays.push(relay);
    }
    (relays, clients)
}

pub(super) fn counts(relay: &RelayHandle) -> HopCounts {
    relay.hop_counts().unwrap()
}

/// Waits until the counts are as they should be, however slow the machine.
pub(super) async fn until(relay: &RelayHandle, what: impl Fn(HopCounts) -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !what(counts(relay)) {
        assert!(Instant::now() < end, "{:?}", counts(relay));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_through_every_length_of_chain_and_back() {
    let (relays, clients) = mesh(4, HopLimits::default()).await;
    for hops in 1..=4 {
        let chain = Chain::new(&clients.iter().take(hops).collect::<Vec<_>>());
        let mut owner = Owner::new(&chain.last.server);
        assert_eq!(chain.ask(OnionClass::Small, owner.register(""), 0).await, Answer::Done);
        let item = vec![7; 352];
        assert_eq!(chain.ask(OnionClass::Small, owner.deposit([1; 16], &item), 0).await, Answer::Done);
        let large = vec![8; 8032];
        assert_eq!(chain.ask(OnionClass::Large, owner.deposit([2; 16], &large), 0).await, Answer::Done);
        let got = items(chain.ask(OnionClass::Small, owner.pull(0, 0), 1).await);
        assert_eq!((got.items.len(), &*got.items[0].item, got.more), (1, &item[..], true));
        let got = items(chain.ask(OnionClass::Large, owner.pull(1, 0), 3).await);
        assert_eq!((got.items.len(), &*got.items[0].item), (1, &large[..]));
        // The descriptor of the last server, without its seeing who asks.
        let answer = chain.exchange(OnionClass::Small, &DESCRIBE).await;
        let ClearAnswer::Descriptor(signed) = ClearAnswer::from_packet(&answer).unwrap() else { panic!() };
        signed.verified(&chain.last.server).unwrap();
    }
    // The last of the longest chain took six packets, all from the third; nobody dropped one.
    until(&relays[3], |c| (c.taken, c.delivered) == (6, 6)).await;
    for relay in &relays {
        let c = counts(relay);
        assert_eq!((c.unreadable, c.replayed, c.unknown, c.failed, c.unawaited), (0, 0, 0, 0, 0), "{c:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_a_server_does_not_hold_the_link_of_another_one() {
    let (relays, clients) = mesh(2, HopLimits::default()).await;
    // What asks its first server to hold the link for five minutes, sent as by a server.
    let there = [step(&clients[0], Delay::from_duration(Duration::from_secs(300)))];
    let (mut packet, _) =
        seal_with_reply(OnionClass::Small, &there, &there, &DESCRIBE, &mut SystemRandom).unwrap();
    mark_relayed(&mut packet);
    let answer = tokio::time::timeout(Duration::from_secs(60), clients[0].exchange(packet)).await;
    assert_eq!(clear(&answer.unwrap().unwrap()), Some(ClearAnswer::Taken));
    // A server marks what it sends on, and what is marked arrives.
    let chain = Chain::new(&clients.iter().collect::<Vec<_>>());
    chain.exchange(OnionClass::Small, &DESCRIBE).await;
    // What a server does it counts when it is done.
    until(&relays[1], |c| c.delivered == 1).await;
    until(&relays[0], |c| c.answered == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_item_goes_through_a_chain_and_back() {
    let (_relays, clients) = mesh(2, HopLimits::default()).await;
    let chain = Chain::new(&clients.iter().collect::<Vec<_>>());
    let mut owner = Owner::registered(&clients[1]).await;
    let item = vec![6; MAX_ITEM];
    assert_eq!(chain.ask(OnionClass::Large, owner.deposit([1; 16], &item), 0).await, Answer::Done);
    let got = items(chain.ask(OnionClass::Large, owner.pull(0, 0), 4).await);
    assert_eq!((got.items.len(), &*got.items[0].item), (1, &item[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_shows_whom_it_sends_on_to_in_their_own_words() {
    let (_relays, clients) = mesh(3, HopLimits::default()).await;
    let onward = clients[0].descriptor().await.hop.unwrap();
    let all: Vec<_> = clients.iter().map(|client| HopId::of(&client.server).0).collect();
    assert_eq!(onward.iter().map(|id| id.0).collect::<Vec<_>>(), all);
    let end = Instant::now() + Duration::from_secs(60);
    let page = loop {
        let Answer::Catalog(page) = clients[0].ask(RequestKind::Catalog(CatalogGet { from: 0 }), 3).await
        else {
            panic!()
        };
        if page.servers.len() == 3 {
            break page;
        }
        assert!(Instant::now() < end, "{page:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(page.next, 0);
    for (listed, client) in page.servers.into_vec().into_iter().zip(&clients) {
        assert_eq!(listed.found.len(), 0, "this machine is no place that means something to others");
        let shown = listed.signed.verified(&client.server).unwrap();
        assert_eq!((shown.online_key(), shown.hop.is_some()), (Some(&client.key), true));
    }
    // What is no hop has no catalog.
    let plain = Plan::new().start(None).await;
    let plain = client(&plain).await;
    assert!(plain.descriptor().await.hop.is_none());
    let refused = plain.ask(RequestKind::Catalog(CatalogGet { from: 0 }), 3).await;
    assert!(matches!(refused, Answer::Refused(r) if r.code == RefusalCode::Denied), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_held_at_the_last_server_until_mail_comes() {
    let (_relays, clients) = mesh(3, HopLimits::default()).await;
    let chain = Chain::new(&clients.iter().collect::<Vec<_>>());
    let mut owner = Owner::registered(&clients[2]).await;
    let pull = owner.pull(0, 30);
    let (got, ()) = tokio::join!(chain.ask(OnionClass::Small, pull, 1), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(clients[2].deposit(&owner, &[9; 96]).await, Answer::Done);
    });
    assert_eq!(items(got).items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_refused_on_an_onion_route() {
    let (_relays, clients) = mesh(2, HopLimits::default()).await;
    let chain = Chain::new(&clients.iter().collect::<Vec<_>>());
    let mut owner = Owner::registered(&clients[1]).await;
    let body = Present {
        mailbox: owner.lkp.public(),
        counter: 100,
        showing: Showing::Nothing,
        wait_secs: 0,
        sig: Fixed([0; 64]),
    };
    owner.counter = 100;
    let kind = RequestKind::Present(body.signed(&owner.server, &owner.lkp).unwrap());
    let answer = chain.ask(OnionClass::Large, kind.clone(), 2).await;
    assert_eq!(refused(&answer), RefusalCode::Denied);
    assert!(
        matches!(clients[1].ask(kind, 2).await, Answer::Presented(_)),
        "it had no effect, not even on the counter"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a04_a_replayed_packet_is_taken_and_goes_nowhere() {
    let (relays, clients) = mesh(3, HopLimits::default()).await;
    let chain = Chain::new(&clients.iter().collect::<Vec<_>>());
    let (packet, pending) = chain.wrap(OnionClass::Small, &DESCRIBE);
    let answer = clients[0].exchange(packet.clone()).await.unwrap();
    pending.open(answer.to_vec()).unwrap();
    for _ in 0..5 {
        let again = clients[0].exchange(packet.clone()).await.unwrap();
        assert_eq!(clear(&again), Some(ClearAnswer::Taken));
    }
    assert_eq!((counts(&relays[0]).replayed, counts(&relays[0]).forwarded), (5, 1));
    assert_eq!((counts(&relays[1]).taken, counts(&relays[2]).taken), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_a_loop_sends_four_packets_and_no_more() {
    let (relays, clients) = mesh(2, HopLimits::default()).await;
    let route: Vec<_> = (0..5).map(|i| step(&clients[i % 2], Delay::NONE)).collect();
    let packet = seal(OnionClass::Small, &route, b"not even a request", &mut SystemRandom).unwrap();
    assert_eq!(clear(&clients[0].exchange(packet).await.unwrap()), Some(ClearAnswer::Taken));
    until(&relays[0], |c| c.delivered == 1).await;
    // Counted when the next hop has answered, which is after it has taken the packet.
    until(&relays[0], |c| c.forwarded == 2).await;
    until(&relays[1], |c| c.forwarded == 2).await;
    assert_eq!((counts(&relays[0]).taken, counts(&relays[1]).taken), (3, 2));
    // The same server five times over: nothing leaves it.
    let own = vec![step(&clients[0], Delay::NONE); 5];
    let packet = seal(OnionClass::Small, &own, &DESCRIBE, &mut SystemRandom).unwrap();
    clients[0].exchange(packet).await.unwrap();
    until(&relays[0], |c| c.delivered == 2).await;
    assert_eq!(counts(&relays[0]).forwarded, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_that_stays_here_and_finds_no_room_for_its_tag_is_counted() {
    let mut limits = HopLimits::default();
    limits.tags = 2;
    let (relays, clients) = mesh(1, limits).await;
    let own = vec![step(&clients[0], Delay::NONE); 3];
    let packet = seal(OnionClass::Small, &own, &DESCRIBE, &mut SystemRandom).unwrap();
    assert_eq!(clear(&clients[0].exchange(packet).await.unwrap()), Some(ClearAnswer::Taken));
    until(&relays[0], |c| c.unnoted == 1).await;
    let c = counts(&relays[0]);
    assert_eq!((c.taken, c.delivered, c.unreadable, c.replayed), (1, 0, 0, 0), "{c:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_what_cannot_be_opened_looks_like_what_can() {
    let (relays, clients) = mesh(1, HopLimits::default()).await;
    let one = [step(&clients[0], Delay::NONE)];
    let packet = seal(OnionClass::Small, &one, b"nonsense", &mut SystemRandom).unwrap();
    for at in [2, 34, 50, 389, 390, 2047] {
        let mut bad = packet.clone();
        bad[at] ^= 1;
        let answer = clients[0].exchange(bad).await.unwrap();
        assert_eq!(clear(&answer), Some(ClearAnswer::Taken), "byte {at}");
    }
    until(&relays[0], |c| c.unreadable >= 5).await;
    // Nothing but the hint, which all see, is refused: the sender then asks for the new key.
    let mut bad = packet.clone();
    bad[1] ^= 0x55;
    let refused = |code| Some(ClearAnswer::Refused(code));
    assert_eq!(clear(&clients[0].exchange(bad).await.unwrap()), refused(ClearCode::UnknownKey));
    // An onion inside an onion is no request.
    let chain = Chain::new(&[&clients[0]]);
    let answer = chain.exchange(OnionClass::Large, &packet).await;
    assert_eq!(ClearAnswer::from_packet(&answer).unwrap(), ClearAnswer::Refused(ClearCode::Unreadable));
    // A relay that is no hop says so to everybody.
    let relay = Plan::new().start(None).await;
    let other = client(&relay).await;
    assert_eq!(clear(&other.exchange(packet).await.unwrap()), refused(ClearCode::Unreadable));
    assert_eq!(relay.hop_counts(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_wait_as_long_as_their_sender_drew() {
    let (_relays, clients) = mesh(2, HopLimits::default()).await;
    let mut chain = Chain::new(&clients.iter().collect::<Vec<_>>());
    let delay = Delay::from_duration(Duration::from_millis(400));
    chain.there.iter_mut().chain(&mut chain.back).for_each(|step| step.delay = delay);
    let began = Instant::now();
    chain.exchange(OnionClass::Small, &DESCRIBE).await;
    assert!(began.elapsed() >= Duration::from_millis(1200), "at both there, at one back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_what_waits_is_bounded() {
    let mut limits = HopLimits::default();
    limits.queue_bytes = 10 * 2048;
    limits.held = 1;
    let (relays, clients) = mesh(1, limits).await;
    let slow = [step(&clients[0], Delay::MAX)];
    let busy = Some(ClearAnswer::Refused(ClearCode::Busy));
    for n in 0..14 {
        let packet = seal(OnionClass::Small, &slow, b"", &mut SystemRandom).unwrap();
        let answer = clear(&clients[0].exchange(packet).await.unwrap());
        assert_eq!(answer, if n < 5 { Some(ClearAnswer::Taken) } else { busy.clone() }, "packet {n}");
    }
    // One source has as much as it leaves to all others.
    assert_eq!(counts(&relays[0]).taken, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_from_an_onion_counts_as_this_machine() {
    let plan = Plan::new();
    let relay = Relay::builder()
        .transports(Transports::new().with(Http::default()))
        .listen(plan.url)
        .store(Arc::new(MemStore::default()))
        .identity(plan.identity)
        .admission(Admission::Loopback)
        .hop(hop(&[], HopLimits::default()))
        .start()
        .await
        .unwrap();
    let direct = client(&relay).await;
    let chain = Chain::new(&[&direct]);
    let register = |owner: &mut Owner| -> RequestKind { owner.register("") };
    let answer = chain.ask(OnionClass::Small, register(&mut Owner::new(&direct.server)), 0).await;
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    assert_eq!(direct.ask(register(&mut Owner::new(&direct.server)), 0).await, Answer::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_a_listed_server_that_sends_on_has_a_larger_share_than_anybody_else() {
    let (plan, other) = (Plan::new(), Plan::new());
    let url: Endpoint = "http://192.0.2.7:9/".parse().unwrap();
    let other = ServerReference { url, ..other.reference() };
    let mut limits = RelayLimits::default();
    (limits.rate, limits.burst) = (1, 3);
    let mut hops = HopLimits::default();
    hops.server_share = 4;
    let relay = Relay::builder()
        .transports(crate::load::behind_a_proxy())
        .listen(plan.url)
        .store(Arc::new(MemStore::default()))
        .identity(plan.identity)
        .admission(Admission::Open)
        .limits(limits)
        .hop(hop(&[other], hops))
        .start()
        .await
        .unwrap();
    let to = client(&relay).await;
    let began = Instant::now();
    let mut taken = Vec::new();
    // The server at its address, which sends on; the same as any client; somebody else who says to be a server.
    for (from, relayed) in [("192.0.2.7", true), ("192.0.2.7", false), ("192.0.2.8", true)] {
        let mut passed = 0;
        for _ in 0..20 {
            let mut packet =
                seal(OnionClass::Small, &[step(&to, Delay::NONE)], b"junk", &mut SystemRandom).unwrap();
            if relayed {
                mark_relayed(&mut packet);
            }
            let answer = ClearAnswer::from_packet(&post_from(&to.endpoint, from, &packet).await).unwrap();
            passed += usize::from(answer == ClearAnswer::Taken);
        }
        taken.push(passed);
    }
    // Each second that this takes gives one more, or four.
    let more = 1 + began.elapsed().as_secs() as usize;
    let least = [12, 3, 3].iter().zip([4, 1, 1]);
    for (passed, (least, rate)) in taken.iter().zip(least) {
        assert!((*least..=least + rate * more).contains(passed), "{taken:?} in {more} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_links_without_an_address_have_a_rate_for_each_listener() {
    let mut limits = RelayLimits::default();
    (limits.listener_rate, limits.listener_burst) = (1, 5);
    let memory = Transports::new().with(meow_transport::Memory::new());
    let (one, two): (Endpoint, Endpoint) = ("memory://one".parse().unwrap(), "memory://two".parse().unwrap());
    let relay = Relay::builder()
        .transports(memory.clone())
        .listen(one.clone())
        .listen(two.clone())
        .store(Arc::new(MemStore::default()))
        .identity(ServerIdentity::ephemeral(&mut SystemRandom).unwrap())
        .limits(limits)
        .start()
        .await
        .unwrap();
    let began = Instant::now();
    let mut served = Vec::new();
    for at in [&one, &two] {
        let mut count = 0;
        for _ in 0..30 {
            let mut link = memory.connect(at).await.unwrap();
            link.tx.send(DESCRIBE.to_vec().into()).await.unwrap();
            link.tx.finish().await.unwrap();
            let answer = link.rx.recv().await.unwrap().unwrap();
            let busy = ClearAnswer::Refused(ClearCode::Busy);
            count += usize::from(ClearAnswer::from_packet(&answer).unwrap() != busy);
        }
        served.push(count);
    }
    let more = 1 + began.elapsed().as_secs() as usize;
    assert!(served.iter().all(|count| (5..=5 + more).contains(count)), "{served:?} in {more} s");
    relay.shutdown().await;
}
