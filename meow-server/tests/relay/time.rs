//! Attack 50: clocks that are off, that jump, and that were never set; and keys that turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use meow_core::request::{Answer, ClearAnswer, ClearCode, Descriptor, RefusalCode};
use meow_server::{Clock, RelayLimits};

use crate::setup::{MEMORY, Setup};
use crate::support::client::{Reply, fresh, refused};
use crate::support::{Client, Owner};

const T: u64 = 1_800_000_000;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

#[derive(Default)]
struct Hands {
    wall: AtomicU64,
    passed: AtomicU64,
}

#[derive(Clone)]
struct Watch(Arc<Hands>);

impl Watch {
    fn at(wall: u64) -> Self {
        Self(Arc::new(Hands { wall: wall.into(), passed: 0.into() }))
    }
    fn pass(&self, secs: u64) {
        self.0.passed.fetch_add(secs, SeqCst);
        self.0.wall.fetch_add(secs, SeqCst);
    }
    fn jump(&self, to: u64) {
        self.0.wall.store(to, SeqCst);
    }
}

impl Clock for Watch {
    fn unix_secs(&self) -> u64 {
        self.0.wall.load(SeqCst)
    }
    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.passed.load(SeqCst))
    }
}

async fn relay_by(watch: &Watch) -> Setup {
    let mut limits = RelayLimits::default();
    limits.upkeep = Duration::from_millis(10);
    let watch = watch.clone();
    Setup::with(MEMORY, |builder| builder.limits(limits).clock(watch)).await
}

/// Waits until upkeep has published what this asks for.
async fn described(client: &Client, wanted: impl Fn(&Descriptor) -> bool) -> Descriptor {
    loop {
        let descriptor = client.descriptor().await;
        if wanted(&descriptor) {
            return descriptor;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a50_mail_flows_by_any_clock() {
    for wall in [T - 2 * DAY, T + 2 * DAY, 17, u64::MAX / 2] {
        let watch = Watch::at(wall);
        let setup = relay_by(&watch).await;
        let mut owner = Owner::registered(&setup.client).await;
        assert_eq!(setup.client.deposit(&owner, b"mail").await, Answer::Done);
        watch.pass(HOUR);
        assert_eq!(owner.drain(&setup.client).await, [b"mail".to_vec()], "{wall}");
    }
}

#[tokio::test]
async fn a50_a_jumping_clock_loses_and_replays_nothing() {
    let watch = Watch::at(T);
    let setup = relay_by(&watch).await;
    let mut owner = Owner::registered(&setup.client).await;
    let number = setup.client.key.number;
    let (early, pending) = setup.client.seal(owner.pull(0, 0), 0);
    for (n, to) in [T + 2 * DAY, T - 2 * DAY, T + 90 * DAY, 5, T + HOUR].into_iter().enumerate() {
        let id = fresh();
        let mut short = owner.deposit(id, &[n as u8; 96]);
        if let meow_core::request::RequestKind::Deposit(body) = &mut short {
            body.keep_secs = DAY as u32;
        }
        assert_eq!(setup.client.ask(short.clone(), 0).await, Answer::Done);
        watch.jump(to);
        // Upkeep has gone over everything by this clock at least once.
        described(&setup.client, |d| to < T - 9 * DAY || d.issued.abs_diff(to) < HOUR).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(setup.client.ask(short, 0).await, Answer::Done, "the same deposit again");
        assert_eq!(
            setup.client.descriptor().await.online_key().unwrap().number,
            number,
            "no key is forgotten"
        );
    }
    let first = setup.client.exchange(early.clone()).await.unwrap();
    assert!(
        matches!(pending.open(&first).unwrap(), Answer::Items(_)),
        "sealed before the jumps, opened after"
    );
    let all: Vec<_> = (0..5u8).map(|n| vec![n; 96]).collect();
    assert_eq!(owner.drain(&setup.client).await, all, "nothing is lost, nothing is there twice");
    let mut late = owner.clone();
    late.counter = 1;
    assert_eq!(refused(&setup.client.ask(late.pull(99, 0), 0).await), RefusalCode::StaleCounter);
}

#[tokio::test]
async fn mail_expires_when_its_time_has_passed() {
    let watch = Watch::at(T);
    let setup = relay_by(&watch).await;
    let mut owner = Owner::registered(&setup.client).await;
    assert_eq!(setup.client.deposit(&owner, b"for 30 days").await, Answer::Done);
    for _ in 0..60 {
        watch.pass(DAY / 2 - 60);
        assert_eq!(setup.client.descriptor().await.skp, setup.client.descriptor().await.skp);
    }
    // The relay turns its keys in a task of its own: one that is of this day stays good for the next question.
    let today = described(&setup.client, |d| d.issued + DAY >= T + 60 * (DAY / 2 - 60)).await;
    let client = Client { key: *today.online_key().unwrap(), ..setup.client.clone() };
    assert!(matches!(client.ask(owner.pull(0, 0), 0).await, Answer::Items(items) if items.items.len() == 1));
    watch.pass(DAY);
    let client = Client {
        key: *described(&client, |d| d.issued >= T + 30 * DAY).await.online_key().unwrap(),
        ..client
    };
    assert!(owner.drain(&client).await.is_empty());
}

#[tokio::test]
async fn keys_turn_under_way() {
    let watch = Watch::at(T);
    let setup = relay_by(&watch).await;
    let client = &setup.client;
    let owner = Owner::registered(client).await;
    let (packet, pending) = client.seal(owner.deposit(fresh(), b"sealed to the old key"), 0);
    watch.pass(DAY);
    let turned = described(client, |d| d.online_key().unwrap().number != client.key.number).await;
    assert_eq!(turned.keys.iter().filter(|key| key.parcel).count(), 1);
    assert_eq!(pending.open(&client.exchange(packet.clone()).await.unwrap()).unwrap(), Answer::Done);
    assert_eq!(client.deposit(&owner, b"the old key still opens").await, Answer::Done);

    watch.pass(DAY);
    described(client, |d| d.online_key().unwrap().number > turned.online_key().unwrap().number).await;
    let gone = ClearAnswer::from_packet(&client.exchange(packet).await.unwrap()).unwrap();
    assert_eq!(gone, ClearAnswer::Refused(ClearCode::UnknownKey));
    let reply = client.try_ask(owner.deposit(fresh(), b"x"), 0).await.unwrap();
    assert!(matches!(reply, Reply::Clear(ClearCode::UnknownKey)), "{reply:?}");
    let fresh_client = Client::new(&client.transports, &client.endpoint, &client.server).await;
    assert_eq!(fresh_client.deposit(&owner, b"the new key").await, Answer::Done);
}

#[tokio::test]
async fn a_parcel_key_outlives_online_keys() {
    let watch = Watch::at(T);
    let setup = relay_by(&watch).await;
    let owner = Owner::registered(&setup.client).await;
    let parcel = *setup.client.descriptor().await.keys.iter().find(|key| key.parcel).unwrap();
    let slow = Client { key: parcel, ..setup.client.clone() };
    for _ in 0..59 {
        watch.pass(DAY);
    }
    described(&setup.client, |d| d.issued >= T + 59 * DAY).await;
    assert_eq!(slow.deposit(&owner, b"59 days under way").await, Answer::Done);
}
