//! A device whose system gives a transport no socket: that closes a way, ends nothing, and is no dial.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meow_client::Presence;
use meow_core::delivery::{Delivery, Way};
use meow_core::policy::{Policy, Route};
use meow_core::transport::{Accept, Addresses, Endpoint, Link, LinkProfile, Listener, Pattern, Transport};
use meow_core::wire::List;
use meow_core::{Error, ErrorKind, Result, Retry};
use meow_transport::{Memory, Transports};
use tokio::time::{Instant, sleep};

use crate::support::{World, befriend, delivery, key, send, sync};

/// How long a slow machine may take for anything here.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where nobody is.
const PLACE: &str = "udp://127.0.0.1:9/";

async fn until(what: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what().await {
        assert!(Instant::now() < end, "it did not happen");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Dials with these outcomes, one after the other, and says to listen wherever it is told to.
#[derive(Clone)]
struct Udp(Arc<Mutex<VecDeque<ErrorKind>>>);

impl Udp {
    fn failing(kinds: impl IntoIterator<Item = ErrorKind>) -> Self {
        Self(Arc::new(Mutex::new(kinds.into_iter().collect())))
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Transport for Udp {
    fn schemes(&self) -> &'static [&'static str] {
        &["udp"]
    }
    fn estimate(&self, _: &Endpoint) -> Result<LinkProfile> {
        Ok(LinkProfile::new(Pattern::Session, 2000))
    }
    async fn connect(&self, _: &Endpoint) -> Result<Link> {
        let kind = self.0.lock().unwrap().pop_front().expect("it is dialled no more");
        Err(Error::new(kind, "no link"))
    }
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        Ok(Listener::new(Nobody, endpoint.clone()))
    }
}

struct Nobody;
impl Accept for Nobody {
    async fn accept(&mut self) -> Result<Option<Link>> {
        std::future::pending().await
    }
    async fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a28_a_dial_of_which_nothing_left_is_made_again_and_the_message_goes_another_way() {
    let world = World::new().await;
    let (mut a, mut b) = (world.user().await, world.user().await);
    // Nothing leaves twice, then something may have left: that was the day's dial.
    let dialled = Udp::failing([ErrorKind::System, ErrorKind::System, ErrorKind::Unreachable]);
    a.transports = world.transports.clone().with(dialled.clone());
    b.transports = world.transports.clone().with(Udp::failing([]));
    let here = Addresses::public().and("127.0.0.0/8".parse().unwrap());
    let alice = a.builder().direct_addresses(here).open(&key()).await.unwrap();
    let bob = b.builder().direct_at(PLACE.parse().unwrap()).open(&key()).await.unwrap();
    befriend(&alice, &bob).await;
    let routes = [Route::Direct, Route::Server];
    let policy = Policy { routes: List::take(routes), presence: true, ..Policy::default() };
    for (client, other) in [(&alice, "bob"), (&bob, "alice")] {
        client.weaken_policy(other, policy.clone(), &key()).await.unwrap();
    }
    let shown = bob.clone();
    let shown = tokio::spawn(async move { shown.run().await.unwrap() });
    until(async || {
        sync(&alice).await;
        alice.presence("bob").await.unwrap() == Presence::Online
    })
    .await;
    for _ in 0..10 {
        let id = send(&alice, "bob", "hello").await;
        sync(&alice).await;
        assert_eq!(alice.message(id).await.unwrap().way, Some(Way::Server));
        // As if a long time had passed.
        alice.set_direct_places("bob", Vec::new()).await.unwrap();
    }
    assert_eq!(dialled.left(), 0, "the dial was spent before anything left");
    shown.abort();
}

/// `memory:` on a device that may have no sockets left.
struct Sockets(Memory, Arc<AtomicBool>);

impl Transport for Sockets {
    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }
    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        Transport::estimate(&self.0, endpoint)
    }
    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        match self.1.load(Ordering::SeqCst) {
            true => Transport::connect(&self.0, endpoint).await,
            false => Err(Error::new(ErrorKind::System, "no socket can be opened")),
        }
    }
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        Transport::listen(&self.0, endpoint).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_gives_no_socket_ends_no_client() {
    let (memory, there) = (Memory::new(), Arc::new(AtomicBool::new(true)));
    let world = World::with(Transports::new().with(memory.clone()), Default::default()).await;
    let (mut a, b) = (world.user().await, world.user().await);
    a.transports = Transports::new().with(Sockets(memory, Arc::clone(&there)));
    let (alice, bob) = (a.open().await, b.open().await);
    befriend(&alice, &bob).await;
    there.store(false, Ordering::SeqCst);
    let report = alice.sync(Duration::ZERO).await.unwrap();
    assert!(
        report.problems.iter().all(|e| e.kind() == ErrorKind::Unreachable && e.retry() != Retry::Never)
            && !report.problems.is_empty()
    );
    let running = alice.clone();
    let running = tokio::spawn(async move { running.run().await });
    let id = send(&alice, "bob", "hello").await;
    until(async || alice.message(id).await.unwrap().waiting.is_some_and(|why| why.contains("no socket")))
        .await;
    assert!(!running.is_finished());
    // It is tried again soon, by itself.
    there.store(true, Ordering::SeqCst);
    until(async || delivery(&alice, id).await >= Delivery::Stored(1)).await;
    running.abort();
}
