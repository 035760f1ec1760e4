//! Attack 21 on the process: what it takes in memory.

use meow_core::request::Answer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::process::Relay;
use crate::support::Owner;
use crate::support::client::{Reply, fresh};

/// Resident KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a21_memory_stays_bounded_with_1000_clients_that_do_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start(dir.path(), &["--max-active", "64"]).await;
    let client = relay.client().await;
    let mut owner = Owner::registered(&client).await;
    assert_eq!(client.ask(owner.deposit(fresh(), &[1; 32_608]), 0).await, Answer::Done);
    let before = resident(relay.pid());
    let mut silent = Vec::new();
    for _ in 0..1000 {
        let Ok(mut stream) = TcpStream::connect(client.endpoint.authority()).await else { break };
        // Each connection asks for 16 answers of 32 KiB and reads none: half a GiB in all.
        let mut requests = Vec::new();
        for _ in 0..16 {
            let (packet, _) = client.seal(owner.pull(0, 0), 4);
            requests.extend_from_slice(
                b"POST / HTTP/1.1\r\nhost: relay\r\ncontent-type: application/octet-stream\r\ncontent-length: 260\r\n\r\n",
            );
            requests.extend_from_slice(&256u32.to_be_bytes());
            requests.extend_from_slice(&packet);
        }
        // What the relay does not take any more stays with us.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(20), stream.write_all(&requests)).await;
        silent.push(stream);
    }
    let grown = resident(relay.pid()) - before;
    assert!(grown < 96 * 1024, "{grown} KiB more than before, with {} connections", silent.len());
    eprintln!("{grown} KiB more than before, with {} connections", silent.len());
    drop(silent);
    // What they had asked is still being worked off; then others are served as before.
    let deposit = owner.deposit(fresh(), b"still served");
    while !matches!(client.try_ask(deposit.clone(), 0).await, Ok(Reply::Answer(Answer::Done))) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(relay.stop("TERM").await.code, 0);
}
