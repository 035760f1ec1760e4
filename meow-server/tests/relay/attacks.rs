//! Attacks 2, 3, 17, 26 and 48 of the list, at the relay.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use futures_util::StreamExt as _;
use meow_core::crypto::{Random, SeededRandom, SystemRandom};
use meow_core::request::{
    Answer, ClearAnswer, ClearCode, RefusalCode, Refused, Request, RequestKind, seal_request,
};
use meow_core::store::MailboxStore;
use meow_server::store::{SqliteMailboxStore, StoreOptions};
use meow_server::{RelayBuilder, ServerIdentity};

use crate::setup::{HTTP, MEMORY, Setup};
use crate::support::client::{fresh, items, refused};
use crate::support::{Client, Owner};

/// A relay whose files are in a folder.
fn on_disk(dir: &std::path::Path) -> impl FnOnce(RelayBuilder) -> RelayBuilder {
    let identity = ServerIdentity::open_or_create(dir, &mut SystemRandom).unwrap();
    let store = sqlite(dir, &identity);
    move |builder| builder.identity(identity).store(store)
}

fn sqlite(dir: &std::path::Path, identity: &ServerIdentity) -> Arc<SqliteMailboxStore> {
    let key = identity.store_key();
    Arc::new(SqliteMailboxStore::open(&dir.join("mail.db"), &key, StoreOptions::default()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a02_replayed_pull_10000_times_across_restart() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::with(MEMORY, on_disk(dir.path())).await;
    let mut owner = Owner::registered(&setup.client).await;
    for n in 0..3 {
        assert_eq!(setup.client.deposit(&owner, &[n; 96]).await, Answer::Done);
    }
    // It acknowledges far more than there is, so each repetition that had an effect would delete mail.
    let request = Request { answer: 0, kind: owner.pull(u64::MAX, 50) };
    let key = setup.client.key;
    // The same randomness gives the same packet, and each time what opens its answer.
    let seal = move || seal_request(&request, &owner.server, &key, false, &mut SeededRandom::new(2)).unwrap();
    assert_eq!(seal().0, seal().0);
    let depositor = Owner { ..owner.clone() };
    let first = {
        let setup = &setup;
        let (packet, pending) = seal();
        let (got, ()) = tokio::join!(setup.client.exchange(packet), async {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            assert_eq!(setup.client.deposit(&depositor, &[9; 96]).await, Answer::Done);
        });
        pending.open(&got.unwrap()).unwrap()
    };
    assert_eq!(items(first).items.len(), 1, "three were acknowledged, one came");

    let replay = async |client: &Client, times: usize| {
        let stale = Refused { code: RefusalCode::StaleCounter, retry_secs: 0, seen: 2 };
        let answers = futures_util::stream::iter(0..times).map(|_| async {
            let (packet, pending) = seal();
            pending.open(&client.exchange(packet).await.unwrap()).unwrap()
        });
        let answers: Vec<_> = answers.buffer_unordered(50).collect().await;
        assert!(answers.iter().all(|answer| *answer == Answer::Refused(stale)));
    };
    replay(&setup.client, 5000).await;
    setup.relay.shutdown().await;
    let setup = Setup::with(MEMORY, on_disk(dir.path())).await;
    replay(&setup.client, 5000).await;
    assert_eq!(owner.drain(&setup.client).await, [vec![9; 96]]);
}

#[tokio::test]
async fn a03_pull_shown_to_another_server() {
    let (a, b) = (Setup::memory().await, Setup::memory().await);
    let mut owner = Owner::registered(&a.client).await;
    let mut there = Owner { server: b.client.server, ..owner.clone() };
    assert_eq!(b.client.ask(there.register(""), 0).await, Answer::Done);
    assert_eq!(b.client.deposit(&there, b"at b").await, Answer::Done);
    (owner.counter, there.counter) = (100, 200);

    // The packet as it is.
    let (packet, _) = a.client.seal(owner.pull(0, 0), 0);
    let answer = ClearAnswer::from_packet(&b.client.exchange(packet).await.unwrap()).unwrap();
    assert!(
        matches!(answer, ClearAnswer::Refused(ClearCode::UnknownKey | ClearCode::Unreadable)),
        "{answer:?}"
    );
    // What is in it, sealed anew by server A for server B.
    for kind in
        [owner.pull(9, 0), owner.acknowledge(9), owner.close(false), owner.close(true), owner.register("")]
    {
        assert_eq!(refused(&b.client.ask(kind, 0).await), RefusalCode::Denied);
    }
    assert_eq!(there.drain(&b.client).await, [b"at b".to_vec()]);
}

#[tokio::test]
async fn a03_a_statement_of_one_kind_shown_as_another() {
    let setup = Setup::memory().await;
    let mut owner = Owner::registered(&setup.client).await;
    assert_eq!(setup.client.deposit(&owner, b"kept").await, Answer::Done);
    owner.counter = 100;
    // All bodies say the same as far as their fields go, so that only the kind tells them apart.
    let make = |owner: &Owner| {
        let mut owner = owner.clone();
        let mut at = |body: fn(&mut Owner) -> RequestKind| {
            owner.counter = 100;
            body(&mut owner)
        };
        [
            at(|o| o.register("")),
            at(|o| o.pull(7, 0)),
            at(|o| o.acknowledge(7)),
            at(|o| o.close(false)),
            at(|o| o.blob_put([0; 16], 7, b"")),
        ]
    };
    let bodies = make(&owner);
    for (to, body) in bodies.iter().enumerate() {
        for (from, other) in bodies.iter().enumerate().filter(|(from, _)| *from != to) {
            let forged = with_signature(body.clone(), signature(other));
            let answer = setup.client.ask(forged, 0).await;
            assert_eq!(refused(&answer), RefusalCode::Denied, "kind {from} shown as kind {to}");
        }
    }
    assert_eq!(owner.drain(&setup.client).await, [b"kept".to_vec()], "and no counter was taken");
}

fn signature(kind: &RequestKind) -> meow_core::crypto::Signature {
    match kind {
        RequestKind::Register(body) => body.sig,
        RequestKind::Pull(body) => body.sig,
        RequestKind::Acknowledge(body) => body.sig,
        RequestKind::Close(body) => body.sig,
        RequestKind::BlobPut(body) => body.sig,
        other => panic!("unsigned: {other:?}"),
    }
}

fn with_signature(mut kind: RequestKind, sig: meow_core::crypto::Signature) -> RequestKind {
    match &mut kind {
        RequestKind::Register(body) => body.sig = sig,
        RequestKind::Pull(body) => body.sig = sig,
        RequestKind::Acknowledge(body) => body.sig = sig,
        RequestKind::Close(body) => body.sig = sig,
        RequestKind::BlobPut(body) => body.sig = sig,
        other => panic!("unsigned: {other:?}"),
    }
    kind
}

/// What a stranger may try, against a mailbox that exists and one that does not.
fn probes(existing: &Owner, missing: &Owner) -> Vec<[RequestKind; 2]> {
    let stranger = |owner: &Owner| {
        let mut stranger = Owner::new(&owner.server);
        stranger.lkp = owner.lkp.clone();
        stranger.counter = 1000;
        stranger
    };
    let probe = |make: &dyn Fn(&mut Owner) -> RequestKind| {
        [existing, missing].map(|owner| {
            let mut stranger = stranger(owner);
            let signed = make(&mut stranger);
            match signed {
                // Without the private key there is no signature.
                RequestKind::Deposit(_) | RequestKind::BlobGet(_) => signed,
                signed => with_signature(signed, meow_core::wire::Fixed([7; 64])),
            }
        })
    };
    vec![
        probe(&|o| o.deposit([3; 16], &[1; 96])),
        probe(&|o| o.pull(0, 0)),
        probe(&|o| o.acknowledge(1)),
        probe(&|o| o.close(true)),
        probe(&|o| o.blob_put([1; 16], 1, b"x")),
        probe(&|o| o.blob_get([1; 16])),
    ]
}

#[tokio::test]
async fn a17_existing_and_missing_mailboxes_cost_the_same() {
    for listen in [MEMORY, HTTP] {
        let dir = tempfile::tempdir().unwrap();
        let identity = ServerIdentity::ephemeral(&mut SystemRandom).unwrap();
        let store = sqlite(dir.path(), &identity);
        let kept = Arc::clone(&store);
        let setup = Setup::with(listen, |builder| builder.identity(identity).store(kept)).await;
        let mut existing = Owner::registered(&setup.client).await;
        assert_eq!(setup.client.deposit(&existing, &[1; 96]).await, Answer::Done);
        assert_eq!(setup.client.ask(existing.blob_put([1; 16], u64::MAX, b"x"), 0).await, Answer::Done);
        let missing = Owner::new(&setup.client.server);
        for (n, pair) in probes(&existing, &missing).into_iter().enumerate() {
            for class in [0, 4] {
                let mut seen = Vec::new();
                for kind in pair.clone() {
                    let before = store.operations();
                    let (packet, pending) = setup.client.seal(kind, class);
                    let sent = packet.len();
                    let answer = setup.client.exchange(packet).await.unwrap();
                    let size = answer.len();
                    seen.push((sent, size, pending.open(&answer).unwrap(), store.operations() - before));
                }
                assert_eq!(seen[0], seen[1], "probe {n}");
            }
        }
        setup.relay.shutdown().await;
    }
}

/// Time from request to answer for a mailbox that exists and one that does not, in turns drawn at random: Welch's t of
/// both samples, without the slowest tenth, which is the machine's noise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a large sample: scripts/soak enumeration"]
async fn a17_timing_of_a_large_sample() {
    let sample: usize = std::env::var("MEOW_A17_SAMPLE").map_or(100_000, |text| text.parse().unwrap());
    let setup = Setup::with(MEMORY, |builder| builder).await;
    let existing = Owner::registered(&setup.client).await;
    assert_eq!(setup.client.deposit(&existing, &[1; 96]).await, Answer::Done);
    let missing = Owner::new(&setup.client.server);
    for (name, pair) in ["deposit", "pull", "acknowledge", "close", "blob put", "blob get"]
        .into_iter()
        .zip(probes(&existing, &missing))
        .filter(|(name, _)| matches!(*name, "deposit" | "blob get"))
    {
        let (mut times, mut coin) = ([Vec::new(), Vec::new()], [0u8; 1]);
        while times.iter().any(|side| side.len() < sample) {
            SystemRandom.fill(&mut coin).unwrap();
            let side = usize::from(coin[0] & 1);
            let (packet, pending) = setup.client.seal(pair[side].clone(), 0);
            let began = std::time::Instant::now();
            let answer = setup.client.exchange(packet).await.unwrap();
            let took = began.elapsed().as_nanos() as f64;
            assert!(matches!(pending.open(&answer).unwrap(), Answer::Refused(_)));
            if times[side].len() < sample {
                times[side].push(took);
            }
        }
        let t = welch(&mut times);
        println!("{name}: t = {t:.2} over {sample} of each, mark 4.5");
        assert!(t.abs() < 4.5, "{name}: a missing mailbox can be told from an existing one, t = {t:.2}");
    }
    setup.relay.shutdown().await;
}

/// Welch's t of two samples, each without its slowest tenth.
fn welch(samples: &mut [Vec<f64>; 2]) -> f64 {
    let [one, other] = samples.each_mut().map(|sample| {
        sample.sort_by(f64::total_cmp);
        sample.truncate(sample.len() * 9 / 10);
        let count = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / count;
        let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    (one.0 - other.0) / (one.1 + other.1).sqrt()
}

#[tokio::test]
async fn a26_hit_and_miss_pulls_are_equal_in_length_and_number() {
    for listen in [MEMORY, HTTP] {
        let setup = Setup::with(listen, |builder| builder).await;
        let mut full = Owner::registered(&setup.client).await;
        let mut empty = Owner::registered(&setup.client).await;
        let mut missing = Owner::new(&setup.client.server);
        missing.counter = 1;
        assert_eq!(setup.client.deposit(&full, &[1; 96]).await, Answer::Done);
        for class in 0..5 {
            let mut seen = Vec::new();
            for owner in [&mut full, &mut empty, &mut missing] {
                let (packet, _) = setup.client.seal(owner.pull(0, 0), class);
                let before = setup.store.operations();
                let mut link = setup.client.transports.connect(&setup.client.endpoint).await.unwrap();
                link.tx.send(packet.into()).await.unwrap();
                link.tx.finish().await.unwrap();
                let mut sizes = Vec::new();
                while let Some(frame) = link.rx.recv().await.unwrap() {
                    sizes.push(frame.len());
                }
                seen.push((sizes, setup.store.operations() - before));
            }
            assert_eq!(seen[0], seen[1]);
            assert_eq!(seen[1], seen[2]);
        }
        setup.relay.shutdown().await;
    }
}

#[tokio::test]
async fn a48_disk_full_refuses_and_resumes_and_loses_nothing() {
    let setup = Setup::memory().await;
    let mut owner = Owner::registered(&setup.client).await;
    assert_eq!(setup.client.deposit(&owner, b"before").await, Answer::Done);
    setup.store.disk_full.store(true, SeqCst);
    let id = fresh();
    for _ in 0..2 {
        match setup.client.ask(owner.deposit(id, b"during"), 0).await {
            Answer::Refused(Refused { code: RefusalCode::Busy, retry_secs, .. }) => assert!(retry_secs >= 30),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        refused(&setup.client.ask(Owner::new(&owner.server).register(""), 0).await),
        RefusalCode::Busy
    );
    assert_eq!(
        items(setup.client.ask(owner.pull(0, 0), 0).await).items.len(),
        1,
        "what is there can be fetched"
    );
    assert_eq!(setup.store.stats().unwrap().items, 1);
    setup.store.disk_full.store(false, SeqCst);
    assert_eq!(setup.client.ask(owner.deposit(id, b"during"), 0).await, Answer::Done);
    assert_eq!(owner.drain(&setup.client).await, [b"before".to_vec(), b"during".to_vec()]);
}

#[tokio::test]
async fn a48_a_full_disk_can_be_emptied_in_one_batch_with_what_fails() {
    let setup = Setup::memory().await;
    let mut owner = Owner::registered(&setup.client).await;
    assert_eq!(setup.client.deposit(&owner, b"old").await, Answer::Done);
    setup.store.disk_full.store(true, SeqCst);
    // The first deposit holds the writer; deposit and acknowledgement then wait for it together.
    setup.store.shut(true);
    let before = setup.store.commits.load(SeqCst);
    let (deposits, acknowledge) =
        ([owner.deposit(fresh(), b"a"), owner.deposit(fresh(), b"b")], owner.acknowledge(1));
    let (first, second, third, ()) = tokio::join!(
        setup.client.ask(deposits[0].clone(), 0),
        async {
            while setup.store.commits.load(SeqCst) == before {
                tokio::task::yield_now().await;
            }
            setup.client.ask(deposits[1].clone(), 0).await
        },
        async {
            while setup.store.commits.load(SeqCst) == before {
                tokio::task::yield_now().await;
            }
            setup.client.ask(acknowledge, 0).await
        },
        async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            setup.store.shut(false);
        }
    );
    assert_eq!((refused(&first), refused(&second)), (RefusalCode::Busy, RefusalCode::Busy));
    assert_eq!(third, Answer::Done);
    assert_eq!(setup.store.stats().unwrap().items, 0);
}

#[tokio::test]
async fn a02_a_replayed_pull_does_not_end_one_that_waits() {
    let setup = Setup::memory().await;
    let mut owner = Owner::registered(&setup.client).await;
    let (replayed, _) = setup.client.seal(owner.pull(0, 50), 0);
    let (client, pull) = (setup.client.clone(), owner.pull(0, 50));
    let held = tokio::spawn(async move { client.ask(pull, 0).await });
    // The held pull has found nothing.
    while setup.store.reads.load(SeqCst) < 1 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    for _ in 0..10 {
        setup.client.exchange(replayed.clone()).await.unwrap();
    }
    assert!(!held.is_finished());
    assert_eq!(setup.client.deposit(&owner, b"mail").await, Answer::Done);
    assert_eq!(items(held.await.unwrap()).items.len(), 1);
}
