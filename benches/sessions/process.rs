//! The relay, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use meow::Transports;
use meow::core::crypto::SystemRandom;
use meow::core::lane::ServerReference;
use meow::core::transport::Endpoint;
use meow::http::Http;
use meow::server::{RelayLimits, ServerIdentity};
use meow::udp::{ClientConfig, ServerConfig, Udp};

pub(crate) const ROLE: &str = "MEOW_BENCH_ROLE";

/// A relay of this library with its defaults, but for the items of one mailbox.
pub(crate) async fn relay() {
    let mut limits = RelayLimits::default();
    limits.mailbox.mailbox_items = 1_000_000;
    limits.mailbox.mailbox_bytes = 1 << 32;
    let dir = std::env::current_dir().unwrap();
    let mut quic = ServerConfig::default();
    quic.identity = Some(ServerIdentity::open_or_create(&dir, &mut SystemRandom).unwrap().skp().clone());
    let relay = meow::server::Relay::builder()
        .transports(Transports::new().with(Http::default()).with(Udp::new(ClientConfig::default(), quic)))
        .limits(limits)
        .listen("http://127.0.0.1:0".parse().unwrap())
        .listen("udp://127.0.0.1:0".parse().unwrap())
        .data(dir)
        .unwrap()
        .start()
        .await
        .unwrap();
    println!("ready {}", relay.reference());
    std::future::pending().await
}

pub(crate) struct Relay {
    child: Child,
    pub(crate) reference: ServerReference,
    _dir: tempfile::TempDir,
}

impl Relay {
    pub(crate) fn start() -> Self {
        let dir = folder();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, "relay")
            .current_dir(&dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let reference =
            line.trim().strip_prefix("ready ").expect("the relay does not start").parse().unwrap();
        Self { child, reference, _dir: dir }
    }

    /// Name and URL of each way; the second is in the descriptor, which the load reads.
    pub(crate) fn urls(&self) -> [(&'static str, Option<Endpoint>); 2] {
        [("http", Some(self.reference.url.clone())), ("udp", None)]
    }

    /// Processor time so far, in microseconds; a tick is 10 ms.
    pub(crate) fn cpu_us(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10_000.0
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// On the disk that is built on: a temporary folder may be in memory, where a sync costs nothing.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap()
}
