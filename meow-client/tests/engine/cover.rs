//! Cover traffic: at moments that are drawn something leaves, whatever there is to send; at others nothing does. The clock
//! is the test's: it is set to one moment after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meow_client::{Client, Clock, EventKind, RouteReport};
use meow_core::ErrorKind;
use meow_core::cover::Moments;
use meow_core::policy::{Padding, Pause, Policy, Receipts};
use meow_core::store::Table;
use meow_server::RelayLimits;
use meow_transport::Transports;

use crate::support::*;
use crate::tap::Tap;

const DAY_MS: u64 = 86_400_000;

/// A clock that is set.
#[derive(Clone, Default)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Clock for Hands {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Hands {
    pub(crate) fn now() -> Self {
        let now = meow_client::SystemClock.now_ms();
        Self(Arc::new(AtomicU64::new(now)))
    }

    pub(crate) fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

/// The next moment of a user's only contact with any, of a kind.
pub(crate) fn next_moment(user: &User, prefix: &[u8]) -> u64 {
    let mut next = None;
    let store = user.disk.store.lock().unwrap().clone().unwrap();
    store
        .read(&mut |txn| {
            let rows = txn.scan(Table::Meta, prefix, None, 2, false)?;
            assert_eq!(rows.len(), 1);
            next = Some(postcard::from_bytes::<Moments>(&rows[0].1).unwrap().next_ms());
            Ok(())
        })
        .unwrap();
    next.unwrap()
}

pub(crate) fn every(secs: u32) -> Option<Pause> {
    Some(Pause::from_secs(secs).unwrap())
}

struct Two {
    _world: World,
    tap: Tap,
    hands: Hands,
    user: User,
    alice: Client,
    bob: Client,
}

/// Alice's clock is a test's, and her packets are kept.
async fn two(limits: RelayLimits) -> Two {
    let tap = Tap::new();
    let world = World::with(Transports::new().with(tap.clone()), limits).await;
    let (user, hands) = (world.user().await, Hands::now());
    let alice = user.builder().clock(hands.clone()).open(&key()).await.unwrap();
    let bob = world.user().await.open().await;
    befriend(&alice, &bob).await;
    Two { _world: world, tap, hands, user, alice, bob }
}

impl Two {
    async fn cover(&self, secs: u32) {
        let policy = Policy { cover: every(secs), ..Policy::default() };
        self.alice.set_policy("bob", policy).await.unwrap();
    }

    /// Sets the clock to the next moment and gives what leaves then: lengths of the packets that carry an item.
    async fn at_next(&self) -> Vec<usize> {
        self.hands.set(next_moment(&self.user, b"cover:"));
        self.step().await
    }

    async fn step(&self) -> Vec<usize> {
        self.tap.take();
        let report = self.alice.sync(Duration::ZERO).await.unwrap();
        assert!(report.problems.is_empty(), "{report:?}");
        // Looks and counts are of the class 256; a session that is opened now and then takes 2048.
        self.tap.take().iter().map(Vec::len).filter(|len| *len > 256 && *len != 2048).collect()
    }
}

#[tokio::test]
async fn something_leaves_at_each_moment_and_nothing_between() {
    let two = two(RelayLimits::default()).await;
    let (alice, bob) = (&two.alice, &two.bob);
    two.cover(60).await;
    assert!(two.step().await.is_empty(), "it is no moment");
    // A message that says nothing, and one that says something: nobody sees which is which.
    assert_eq!(two.at_next().await, [512]);
    sync(bob).await;
    assert!(received(bob, "alice").await.is_empty());
    let id = send(alice, "bob", "now then").await;
    assert!(two.step().await.is_empty());
    let waits = alice.message(id).await.unwrap();
    assert!(waits.waiting.as_deref().unwrap_or_default().contains("moment"), "{waits:?}");
    assert_eq!(two.at_next().await, [512]);
    assert!(two.step().await.is_empty(), "each moment once");
    sync(bob).await;
    assert_eq!(received(bob, "alice").await, ["now then"]);
    // One message for each moment, in order, however many wait.
    for n in 0..3 {
        send(alice, "bob", &format!("{n}")).await;
    }
    for _ in 0..3 {
        assert_eq!(two.at_next().await, [512]);
    }
    sync(bob).await;
    assert_eq!(received(bob, "alice").await, ["now then", "0", "1", "2"]);
    // What is owed to Bob waits for a moment too.
    send(bob, "alice", "so?").await;
    sync(bob).await;
    assert!(two.step().await.is_empty(), "no receipt at once");
    assert_eq!(two.at_next().await, [512]);
    events(bob).await;
    sync(bob).await;
    assert!(has(&events(bob).await, |e| matches!(e, EventKind::Delivery { .. })), "the receipt");
    assert!(
        two.alice.events(1000).await.unwrap().iter().all(|e| !matches!(e.kind, EventKind::Stalled { .. }))
    );
}

#[tokio::test]
async fn who_was_away_sends_no_burst_and_a_failed_moment_is_not_made_up_for() {
    let mut two = two(RelayLimits::default()).await;
    two.cover(60).await;
    for n in 0..3 {
        send(&two.alice, "bob", &format!("{n}")).await;
    }
    // A week later.
    two.hands.set(next_moment(&two.user, b"cover:") + 7 * DAY_MS);
    for _ in 0..3 {
        assert!(two.step().await.is_empty());
    }
    assert_eq!(two.at_next().await, [512]);
    // The relay is away for a while: what was sealed is what waits, and no more is made.
    two._world.stop().await;
    for _ in 0..5 {
        two.hands.set(next_moment(&two.user, b"cover:"));
        let report = two.alice.sync(Duration::ZERO).await.unwrap();
        assert!(!report.problems.is_empty());
    }
    assert_eq!(rows(&two.user, Table::Outbox), 2);
    two._world.start().await;
    two.alice.network_changed();
    for _ in 0..3 {
        // The session may be gone with the relay, and the same item goes without.
        assert!(two.at_next().await.iter().all(|len| *len == 512));
    }
    sync(&two.bob).await;
    assert_eq!(received(&two.bob, "alice").await, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_process_that_ends_between_sealing_and_sending_loses_and_repeats_nothing() {
    let mut two = two(RelayLimits::default()).await;
    two.cover(60).await;
    send(&two.alice, "bob", "once").await;
    two._world.stop().await;
    two.hands.set(next_moment(&two.user, b"cover:"));
    two.alice.sync(Duration::ZERO).await.unwrap();
    // Another process on the same store: the moment was taken, and the bytes are sealed.
    two._world.start().await;
    two.alice = two.user.builder().clock(two.hands.clone()).open(&key()).await.unwrap();
    assert!(two.step().await.is_empty(), "the moment is gone");
    for _ in 0..2 {
        assert_eq!(two.at_next().await, [512]);
    }
    sync(&two.bob).await;
    assert_eq!(received(&two.bob, "alice").await, ["once"]);
    let events = events(&two.bob).await;
    assert!(!has(&events, |e| matches!(e, EventKind::Missing { .. } | EventKind::Fork)), "{events:?}");
}

#[tokio::test]
async fn a_client_that_runs_meets_the_moments() {
    let two = two(RelayLimits::default()).await;
    two.cover(60).await;
    let id = send(&two.alice, "bob", "running").await;
    // The runner sleeps until then by the real clock, so it is to be close.
    let moment = next_moment(&two.user, b"cover:");
    two.hands.set(moment - 50);
    let runner = two.alice.clone();
    let running = tokio::spawn(async move { runner.run().await });
    let settled = async |what: &dyn Fn(&meow_client::Message) -> bool| {
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while !what(&two.alice.message(id).await.unwrap()) {
            assert!(std::time::Instant::now() < end, "it does not come about");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    settled(&|message| message.waiting.is_some()).await;
    two.hands.set(moment);
    settled(&|message| message.delivery > meow_core::delivery::Delivery::Queued).await;
    running.abort();
    sync(&two.bob).await;
    assert_eq!(received(&two.bob, "alice").await, ["running"]);
}

#[tokio::test]
async fn less_cover_needs_the_password_and_bounds_hold() {
    let two = two(RelayLimits::default()).await;
    two.cover(60).await;
    let less = Policy { cover: every(61), ..Policy::default() };
    for policy in [Policy::default(), less.clone()] {
        let e = two.alice.set_policy("bob", policy).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::WrongSecret);
    }
    two.alice.weaken_policy("bob", less, &key()).await.unwrap();
    let much = Policy { cover: every(10), padding: Padding::P32768, ..Policy::default() };
    assert_eq!(two.alice.set_policy("bob", much).await.unwrap_err().kind(), ErrorKind::Usage);
    two.alice.weaken_policy("bob", Policy::default(), &key()).await.unwrap();
    send(&two.alice, "bob", "at once").await;
    assert_eq!(two.step().await, [512]);
}

fn sending(reports: &[RouteReport]) -> &RouteReport {
    reports.iter().find(|report| !report.fetching).unwrap()
}

/// A day on the test's clock, with messages now and then. What is counted is what leaves and comes back, in bytes of packets:
/// such links add nothing.
#[tokio::test]
async fn a_day_costs_what_is_stated() {
    let two = two(RelayLimits::default()).await;
    let receipts = Receipts { decrypted: true, read: false };
    let policy = Policy { cover: every(100), receipts, ..Policy::default() };
    two.alice.set_policy("bob", policy).await.unwrap();
    // A session is open before the day begins.
    for _ in 0..3 {
        two.at_next().await;
    }
    let reports = two.alice.explain_route("bob").await.unwrap();
    let (stated, cost) = (sending(&reports).day.unwrap(), sending(&reports).cost.unwrap());
    assert!(cost.latency >= Duration::from_secs(100), "a message waits for its moment");
    two.tap.exchanges();
    let (begin, mut up, mut down, mut moments) = (two.hands.now_ms(), 0, 0, 0u64);
    while two.hands.now_ms() < begin + DAY_MS {
        if moments.is_multiple_of(40) {
            send(&two.alice, "bob", &format!("message {moments}, of some length")).await;
        }
        two.hands.set(next_moment(&two.user, b"cover:"));
        two.alice.sync(Duration::ZERO).await.unwrap();
        for exchange in two.tap.exchanges() {
            // Looks and counts go to the same server here; those are reckoned with the fetching.
            if exchange.up > 256 {
                (up, down) = (up + exchange.up, down + exchange.down);
            }
        }
        moments += 1;
        if moments.is_multiple_of(150) {
            sync(&two.bob).await;
            two.tap.exchanges();
        }
    }
    sync(&two.bob).await;
    println!("{moments} moments, {up} up, {down} down; stated {stated:?}");
    // 864 moments are expected, and their number is within a sixth of it in all but one of a million days; what each costs is
    // no matter of chance.
    assert!(stated.packets.abs_diff(moments) * 6 < stated.packets);
    for (stated_bytes, counted) in [(stated.up, up as u64), (stated.down, down as u64)] {
        let (stated, counted) = (stated_bytes * moments, counted * stated.packets);
        assert!(stated.abs_diff(counted) * 10 < counted, "each is off by more than a tenth");
    }
    assert_eq!(received(&two.bob, "alice").await.len() as u64, moments.div_ceil(40));
    // The words to one's own server, one for each message.
    let fetching = reports.iter().find(|report| report.fetching).unwrap().day.unwrap();
    assert_eq!(fetching.packets, stated.packets);
}
