//! A peer that trickles, and one that never reads, on as many streams as it gets. Alone in its program, whose memory it
//! measures: both ends are in it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

#[path = "common/bare.rs"]
mod bare;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{PATIENCE, ask, echo, udp};
use meow_transport_udp::Udp;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Streams that a connection gets, and the largest frame: the crate's defaults.
const STREAMS: usize = 256;
const FRAME: usize = 33_792;
const MIB: usize = 1024 * 1024;

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_slow_streams_keep_bounded_memory_and_others_are_served() {
    let local = echo(&udp(|_| {})).await;
    let address = local.authority().parse().unwrap();
    let honest = Udp::default();
    assert_eq!(ask(&honest, &local, b"before").await.unwrap(), b"before");

    // Each stream announces the largest frame, and brings a byte of it now and then.
    let trickler = bare::connect(&bare::client(), address).await;
    let before = resident();
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let (mut tx, rx) = trickler.open_bi().await.unwrap();
        tx.write_all(&u32::try_from(FRAME).unwrap().to_be_bytes()).await.unwrap();
        streams.push((tx, rx));
    }
    for _ in 0..4 {
        for (tx, _) in &mut streams {
            tx.write_all(&[7]).await.unwrap();
        }
        assert_eq!(ask(&honest, &local, b"meanwhile").await.unwrap(), b"meanwhile");
    }
    let taken = resident().saturating_sub(before);
    assert!(taken < 4 * MIB, "{taken} bytes for streams that brought {} bytes in all", STREAMS * 8);
    drop((streams, trickler));

    // Each stream asks for all that it can, and takes no answer.
    let deaf = bare::connect(&bare::client(), address).await;
    let (before, sent) = (resident(), Arc::new(AtomicUsize::new(0)));
    let mut asking = JoinSet::new();
    for _ in 0..STREAMS {
        let (mut tx, rx) = deaf.open_bi().await.unwrap();
        let sent = Arc::clone(&sent);
        asking.spawn(async move {
            let mut frame = u32::try_from(FRAME).unwrap().to_be_bytes().to_vec();
            frame.resize(4 + FRAME, 7);
            while tx.write_all(&frame).await.is_ok() {
                sent.fetch_add(frame.len(), Ordering::Relaxed);
            }
            drop(rx);
        });
    }
    let standstill = async {
        let mut last = usize::MAX;
        while std::mem::replace(&mut last, sent.load(Ordering::Relaxed)) != last || last == 0 {
            assert_eq!(ask(&honest, &local, b"meanwhile").await.unwrap(), b"meanwhile");
            sleep(Duration::from_secs(2)).await;
        }
        last
    };
    let all =
        timeout(PATIENCE, standstill).await.expect("a peer that reads nothing is not served without end");
    // Of each stream: a frame that is being written, one that waits for it, one that comes; and the windows.
    let most = STREAMS * 3 * FRAME + 4 * MIB;
    assert!(all <= most, "{all} bytes were taken from a peer that reads nothing");
    let taken = resident().saturating_sub(before);
    assert!(taken < 2 * most, "{taken} bytes of memory");
    assert_eq!(ask(&honest, &local, b"after").await.unwrap(), b"after");
    asking.abort_all();
}
