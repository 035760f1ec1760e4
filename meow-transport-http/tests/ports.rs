//! The ports that a URL without one means, 80 and 443, in a network namespace of their own.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests; what is skipped is said aloud")]

mod common;

use std::process::{Command, Output};

use common::{Echo, ask, tls};
use meow_core::transport::Endpoint;
use meow_transport_http::Http;

/// A namespace with nothing but a loopback interface; it goes with the test.
struct Namespace(String);

impl Namespace {
    /// `None`, said aloud, where this machine has none to give.
    fn new() -> Option<Self> {
        let name = format!("meowports{}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output();
        if !made.is_ok_and(|done| done.status.success()) {
            let text = "this test needs root and ip, for a network namespace";
            assert!(std::env::var_os("MEOW_REQUIRE_SERVICES").is_none(), "{text}");
            eprintln!("SKIPPED: {text}");
            return None;
        }
        let namespace = Self(name);
        let up = Command::new("ip").args(["-n", &namespace.0, "link", "set", "lo", "up"]).output().unwrap();
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        Some(namespace)
    }

    /// One test of this file, in there.
    fn run(&self, test: &str) -> Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A namespace that stays is an empty name.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[test]
fn a_url_without_a_port_means_80_and_443() {
    let Some(namespace) = Namespace::new() else { return };
    let done = namespace.run("requests_over_the_default_ports");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// The part of it that runs inside: these ports are nobody else's there.
#[tokio::test]
#[ignore = "started by the test before, in a namespace"]
async fn requests_over_the_default_ports() {
    let (client, server) = tls();
    let http = Http::new(client, server).unwrap();
    for (url, port) in [("http://127.0.0.1", 80), ("https://127.0.0.1", 443)] {
        let server = Echo::start(&http, url).await;
        assert_eq!(server.local.port(), Some(port));
        let endpoint: Endpoint = url.parse().unwrap();
        assert_eq!(ask(&http, &endpoint, url).await.unwrap(), url);
        // The port named, it is the same server.
        let named: Endpoint = format!("{url}:{port}").parse().unwrap();
        assert_eq!(ask(&http, &named, "named").await.unwrap(), "named");
    }
}
