//! Attack 49: the relay is killed at any moment, also twice while it recovers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meow_core::crypto::{Random as _, SeededRandom};
use meow_core::request::Answer;

use crate::process::Relay;
use crate::support::client::{Reply, fresh, items};
use crate::support::{Client, Owner};

const LOADERS: usize = 8;

/// What a loader did to its mailbox.
#[derive(Default)]
struct Ledger {
    /// Items confirmed, by content.
    confirmed: Vec<u32>,
    /// Items sent, confirmed or not.
    sent: Vec<u32>,
    /// Items received and then acknowledged with a confirmation.
    received: Vec<u32>,
}

fn content(n: u32) -> Vec<u8> {
    let mut item = vec![0x5a; 352];
    item[..4].copy_from_slice(&n.to_be_bytes());
    item
}

fn number(item: &[u8]) -> u32 {
    u32::from_be_bytes(item[..4].try_into().unwrap())
}

/// Deposits one after the other, each until it is confirmed, and now and then fetches.
async fn load(
    client: Client,
    mut owner: Owner,
    next: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
) -> (Owner, Ledger) {
    let mut ledger = Ledger::default();
    while !stop.load(SeqCst) {
        let n = next.fetch_add(1, SeqCst);
        let deposit = owner.deposit(fresh(), &content(n));
        ledger.sent.push(n);
        while !stop.load(SeqCst) {
            match client.try_ask(deposit.clone(), 0).await {
                Ok(Reply::Answer(Answer::Done)) => {
                    ledger.confirmed.push(n);
                    break;
                }
                Ok(Reply::Answer(answer)) => panic!("{answer:?}"),
                // Down, or just up again.
                Ok(Reply::Clear(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        if n.is_multiple_of(16) {
            fetch(&client, &mut owner, &mut ledger).await;
        }
    }
    (owner, ledger)
}

/// One pull and one acknowledgement. What was pulled counts as received only when the acknowledgement was confirmed: until
/// then the relay must have it still.
async fn fetch(client: &Client, owner: &mut Owner, ledger: &mut Ledger) {
    let Ok(Reply::Answer(Answer::Items(got))) = client.try_ask(owner.pull(0, 0), 2).await else { return };
    let Some(last) = got.items.last().map(|item| item.number) else { return };
    for _ in 0..1000 {
        match client.try_ask(owner.acknowledge(last), 0).await {
            Ok(Reply::Answer(Answer::Done)) => {
                ledger.received.extend(got.items.iter().map(|item| number(&item.item)));
                return;
            }
            Ok(Reply::Answer(answer)) => panic!("{answer:?}"),
            Ok(Reply::Clear(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("the relay did not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a49_kill_9_at_any_moment_and_twice_during_recovery() {
    let kills: u32 = std::env::var("MEOW_KILLS").map_or(8, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut random = SeededRandom::new(49);
    let mut millis = |below: u64| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes).unwrap();
        Duration::from_millis(u64::from_be_bytes(bytes) % below)
    };
    let mut relay = Relay::start(dir.path(), &[]).await;
    let listen = relay.reference.url.to_string();
    let client = relay.client().await;
    let (next, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let mut loaders = Vec::new();
    for _ in 0..LOADERS {
        let owner = Owner::registered(&client).await;
        loaders.push(tokio::spawn(load(client.clone(), owner, Arc::clone(&next), Arc::clone(&stop))));
    }
    for _ in 0..kills {
        tokio::time::sleep(millis(400)).await;
        relay.kill().await;
        // Twice while it recovers.
        for _ in 0..2 {
            let args = ["run", "--data", dir.path().to_str().unwrap(), "--listen", &listen];
            let mut starting = crate::process::meowd(args).spawn().unwrap();
            tokio::time::sleep(millis(60)).await;
            starting.kill().await.unwrap();
        }
        relay = Relay::start_at(&listen, dir.path(), &[]).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, SeqCst);
    let all = Mutex::new(0);
    for loader in loaders {
        let (mut owner, ledger) = loader.await.unwrap();
        let mut times: BTreeMap<u32, usize> = BTreeMap::new();
        let kept = rest(&client, &mut owner).await;
        for n in ledger.received.iter().copied().chain(kept) {
            *times.entry(n).or_default() += 1;
        }
        let lost: Vec<_> = ledger.confirmed.iter().filter(|n| !times.contains_key(n)).collect();
        assert!(lost.is_empty(), "confirmed and lost: {lost:?}");
        let twice: Vec<_> = times.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "there twice: {twice:?}");
        assert!(times.keys().all(|n| ledger.sent.contains(n)), "something that was never sent");
        *all.lock().unwrap() += ledger.confirmed.len();
    }
    let all = *all.lock().unwrap();
    assert!(all >= LOADERS * kills as usize, "only {all} deposits were confirmed: this tested little");
    assert_eq!(relay.stop("TERM").await.code, 0);
}

/// All that is left, in the order of arrival.
async fn rest(client: &Client, owner: &mut Owner) -> Vec<u32> {
    let (mut kept, mut upto) = (Vec::new(), 0);
    loop {
        let got = items(client.ask(owner.pull(upto, 0), 4).await);
        let Some(last) = got.items.last() else { return kept };
        upto = last.number;
        kept.extend(got.items.iter().map(|item| number(&item.item)));
    }
}
