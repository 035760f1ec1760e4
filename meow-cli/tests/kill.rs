//! Messages both ways while the relay and one client are killed with SIGKILL, again and again: in the end every
//! message stands once, in order, on both sides. Over HTTP and over QUIC; links through a broker have a test beside the
//! command line's. `MEOW_KILL_MESSAGES` and `MEOW_KILL_TIMES` make it longer.
//!
//! Without the usual harness: the program starts itself as the clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test that cannot go on fails"
)]
#![cfg(unix)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meow::{Client, Content, Delivery, EnabledTransports, Transports, Unlock};

const PASSWORD: &str = "kill me";
/// Long enough for a slow machine, short enough to notice a standstill.
const PATIENCE: Duration = Duration::from_secs(600);
/// Longest time between two kills, in milliseconds.
const LONGEST_QUIET: u32 = 700;

fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().map_or(usual, |v| v.parse().unwrap())
}

/// `meowd` stands beside `meow`: `cargo test --workspace` builds both.
fn meowd() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_meow")).with_file_name("meowd");
    assert!(path.exists(), "build meowd first: cargo build -p meow-server");
    path
}

fn start_relay(dir: &Path, url: &str) -> (Child, String) {
    let log = dir.with_extension("log");
    let mut child = Command::new(meowd())
        .args(["run", "--data"])
        .arg(dir)
        .args(["--listen", url])
        .stdout(Stdio::piped())
        .stderr(Stdio::from(File::create(&log).unwrap()))
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let Some(reference) = line.trim().strip_prefix("ready ").map(str::to_owned) else {
        panic!("no ready line: {}", fs::read_to_string(log).unwrap());
    };
    (child, reference)
}

fn meow(home: &Path, args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_meow"))
        .arg("--home")
        .arg(home)
        .args(args)
        .env("MEOW_PASSWORD", PASSWORD)
        .output()
        .unwrap();
    assert!(out.status.success(), "meow {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Pause of a client between two messages, so that they are under way for as long as there are kills.
fn pause_ms(count: usize) -> usize {
    (kills() * LONGEST_QUIET as usize / 2 / count).max(5)
}

fn kills() -> usize {
    setting("MEOW_KILL_TIMES", 8)
}

fn start_client(home: &Path, peer: &str, count: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env("MEOW_KILL_HOME", home)
        .env("MEOW_KILL_PEER", peer)
        .env("MEOW_KILL_COUNT", count.to_string())
        .env("MEOW_KILL_PAUSE", pause_ms(count).to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// What each child runs: sends its messages from where its log ends, and stays until all are through.
fn client_process(home: &str) {
    let peer = std::env::var("MEOW_KILL_PEER").unwrap();
    let count = setting("MEOW_KILL_COUNT", 0);
    let pause = Duration::from_millis(setting("MEOW_KILL_PAUSE", 5) as u64);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let builder = Client::builder().home(home).transports(Transports::enabled());
        let client = builder.open(&Unlock::password(PASSWORD)).await.unwrap();
        let background = client.clone();
        let running = tokio::spawn(async move { background.run().await });
        let sent = client.log(&peer, None, usize::MAX).await.unwrap().iter().filter(|m| m.outgoing).count();
        for i in sent..count {
            client.send(&peer, Content::text(0, i.to_string()).unwrap()).await.unwrap();
            tokio::time::sleep(pause).await;
        }
        loop {
            let log = client.log(&peer, None, usize::MAX).await.unwrap();
            let through = log.iter().filter(|m| m.outgoing && m.delivery >= Delivery::Decrypted).count();
            if through == count && log.iter().filter(|m| !m.outgoing).count() == count {
                break;
            }
            assert!(!running.is_finished(), "the engine ended");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // The other side may still wait for the last receipt.
        client.sync(Duration::from_secs(1)).await.unwrap();
    });
}

fn a49_sigkill_loses_and_doubles_nothing(scheme: &str) {
    let (count, kills) = (setting("MEOW_KILL_MESSAGES", 60), kills());
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob, data) = (dir.path().join("alice"), dir.path().join("bob"), dir.path().join("relay"));
    let port = match scheme {
        "udp" => UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
        _ => TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
    };
    let url = format!("{scheme}://127.0.0.1:{port}");
    let (mut relay, reference) = start_relay(&data, &url);
    for home in [&alice, &bob] {
        meow(home, &["init", "--server", &reference]);
    }
    let card = meow(&alice, &["card", "new", "Bob"]);
    meow(&bob, &["card", "take", card.trim(), "--as", "Alice"]);
    for home in [&bob, &alice, &bob, &alice] {
        meow(home, &["receive", "--wait", "1"]);
    }

    let mut children = [start_client(&alice, "Bob", count), start_client(&bob, "Alice", count)];
    let began = Instant::now();
    let mut dice = std::process::id().wrapping_mul(2_654_435_761) | 1;
    for kill in 0..kills {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        std::thread::sleep(Duration::from_millis(u64::from(dice % LONGEST_QUIET)));
        if kill % 2 == 0 {
            relay.kill().unwrap();
            relay.wait().unwrap();
            relay = start_relay(&data, &url).0;
        } else if children[0].try_wait().unwrap().is_none() {
            children[0].kill().unwrap();
            children[0].wait().unwrap();
            children[0] = start_client(&alice, "Bob", count);
        }
    }
    for child in &mut children {
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "a standstill");
            std::thread::sleep(Duration::from_millis(100));
        };
        assert!(status.success(), "a client process failed");
    }
    for (home, peer) in [(&alice, "Bob"), (&bob, "Alice")] {
        let log = meow(home, &["log", peer, "--json", "--limit", "1000000"]);
        let entries: Vec<serde_json::Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        for outgoing in [true, false] {
            let texts: Vec<&str> = entries
                .iter()
                .filter(|e| e["outgoing"] == outgoing)
                .map(|e| e["text"].as_str().unwrap())
                .collect();
            let want: Vec<String> = (0..count).map(|i| i.to_string()).collect();
            assert_eq!(texts, want, "{peer}, outgoing {outgoing}");
        }
    }
    relay.kill().unwrap();
    relay.wait().unwrap();
}

fn main() {
    match std::env::var("MEOW_KILL_HOME") {
        Ok(home) => client_process(&home),
        Err(_) => {
            // Side by side: most of it is waiting. A thread that panics makes the scope do so.
            std::thread::scope(|scope| {
                for scheme in ["http", "udp"] {
                    scope.spawn(move || {
                        a49_sigkill_loses_and_doubles_nothing(scheme);
                        println!("test a49_sigkill_loses_and_doubles_nothing over {scheme} ... ok");
                    });
                }
            });
        }
    }
}
