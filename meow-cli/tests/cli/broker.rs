//! Through mosquitto: the broker or the relay is killed while messages are under way, and nothing is lost.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Running, World};

/// Long enough for a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A broker on a free port that forgets everything when it is killed; ended when dropped.
struct Mosquitto {
    port: u16,
    program: PathBuf,
    config: PathBuf,
    child: Child,
}

impl Mosquitto {
    /// `None`, loudly, where it is not installed; a failure where services are required.
    fn start(folder: &Path) -> Option<Self> {
        let places = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
        let Some(program) = places.into_iter().map(PathBuf::from).find(|path| path.exists()) else {
            let required = std::env::var("MEOW_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
            assert!(!required, "mosquitto is missing, and MEOW_REQUIRE_SERVICES=1");
            eprintln!("SKIPPED: mosquitto is not installed (apt-get install mosquitto)");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Started by root it becomes another user, who has to read this.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        let config = folder.join("mosquitto.conf");
        fs::write(&config, format!("allow_anonymous true\nlistener {port} 127.0.0.1\n")).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
        let child = spawn(&program, &config, port);
        Some(Self { port, program, config, child })
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn again(&mut self) {
        self.child = spawn(&self.program, &self.config, self.port);
    }
}

fn spawn(program: &Path, config: &Path, port: u16) -> Child {
    let mut command = Command::new(program);
    command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let began = Instant::now();
    while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
        assert!(began.elapsed() < PATIENCE, "mosquitto does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With a user and password, which this broker takes from everybody.
fn with_account(reference: &str) -> String {
    reference.replacen("://", "://cat:fish%20and%20chips@", 1)
}

#[test]
fn a43_a_killed_broker_and_a_killed_relay_lose_nothing() {
    let world = World::new();
    let broker_folder = tempfile::tempdir().unwrap();
    let Some(mut mosquitto) = Mosquitto::start(broker_folder.path()) else { return };
    let listen = with_account(&format!("mqtt://127.0.0.1:{}/cats", mosquitto.port));
    let start = || world.relay_with("relay", &["--listen", &listen, "--admission", "open"]);
    let mut relay = start();
    assert_eq!(relay.url(), format!("mqtt://127.0.0.1:{}/cats", mosquitto.port), "without user and password");
    let (alice, bob) = (world.nobody("alice"), world.nobody("bob"));
    for person in [&alice, &bob] {
        let reference = with_account(&relay.reference);
        assert!(!person.run(["init", "--server", &reference]).done().out.contains("chips"));
    }
    crate::support::befriend(&alice, &bob);

    // Both take part all the time; Bob's program prints what comes.
    let mut following = Running::start(&bob, ["receive", "--follow"]);
    let running = Running::start(&alice, ["receive", "--follow"]);
    let (count, mut sent) = (12, Vec::new());
    for number in 0..count {
        let text = format!("message {number}");
        // Stored or still queued: the running program sends it.
        let run = alice.json(["send", "bob", &text]);
        assert!(run.code == Some(0) || run.code == Some(3), "{run:?}");
        sent.push(text);
        match number % 8 {
            3 => {
                mosquitto.kill();
                std::thread::sleep(Duration::from_millis(100));
                mosquitto.again();
            }
            7 => {
                relay.stop();
                relay = start();
            }
            _ => {}
        }
    }
    let mut seen = Vec::new();
    while seen.len() < sent.len() {
        seen.push(following.event("message")["text"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, sent);
    let began = Instant::now();
    while alice.log("bob").iter().any(|(outgoing, _, delivery)| *outgoing && delivery != "decrypted") {
        assert!(began.elapsed() < PATIENCE, "{:?}", alice.log("bob"));
        std::thread::sleep(Duration::from_millis(200));
    }
    drop((following, running));
    let received: Vec<String> =
        bob.log("alice").into_iter().filter(|(outgoing, ..)| !outgoing).map(|(_, text, _)| text).collect();
    assert_eq!(received, sent, "once, in order");
}
