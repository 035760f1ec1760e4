//! Frames that never become whole, on many connections. One test, for it measures the memory of its process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "common/bare.rs"]
mod bare;
mod common;

use std::time::Duration;

use common::{PATIENCE, ask, echo, udp};
use futures_util::FutureExt as _;
use meow_transport_udp::Udp;
use tokio::time::{sleep, timeout};

const MIB: usize = 1024 * 1024;
const FRAME: usize = 33_792;
const CONNECTIONS: usize = 12;
const STREAMS: usize = 256;

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_frames_that_never_become_whole_take_bounded_memory_for_all_connections_together() {
    let local = echo(&udp(|config| config.max_unread = 4 * MIB)).await;
    let to = local.authority().parse().unwrap();
    let honest = Udp::default();
    assert_eq!(ask(&honest, &local, b"before").await.unwrap(), b"before");
    let mut most = FRAME.to_be_bytes()[4..].to_vec();
    most.resize(4 + FRAME - 1, 7);
    let before = resident();
    let (mut held, mut stopped) = (Vec::new(), 0);
    for _ in 0..CONNECTIONS {
        let connection = bare::connect(&bare::client(), to).await;
        for _ in 0..STREAMS {
            let (mut tx, rx) = connection.open_bi().await.unwrap();
            match timeout(PATIENCE, tx.write_all(&most)).await.expect("what comes is read, or stopped") {
                Ok(()) => held.push((tx, rx)),
                Err(_) => stopped += 1,
            }
        }
        // What was written is under way for a moment.
        sleep(Duration::from_millis(100)).await;
        stopped += held.iter_mut().filter(|(tx, _)| tx.stopped().now_or_never().is_some()).count();
        held.retain_mut(|(tx, _)| tx.stopped().now_or_never().is_none());
    }
    let grown = resident().saturating_sub(before);
    // Without a bound for all: 12 x 256 x 33 KiB, which is 99 MiB.
    assert!(grown < 48 * MIB, "{grown} bytes");
    assert!(stopped > CONNECTIONS * STREAMS / 2, "{stopped} were stopped");
    // Everybody has a share: whole frames of the largest size pass still.
    let frame: &'static [u8] = Box::leak(vec![9; FRAME].into_boxed_slice());
    for _ in 0..3 {
        assert_eq!(timeout(PATIENCE, ask(&Udp::default(), &local, frame)).await.unwrap().unwrap(), frame);
    }
    drop(held);
}
