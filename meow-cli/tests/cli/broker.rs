//! Through mosquitto: the broker or the relay is killed while messages are under way, and nothing is lost.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use meow_testkit::mqtt::Mosquitto;

use crate::support::{Running, World, meowd};

/// Long enough for a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// With a user and password, which this broker takes from everybody.
fn with_account(reference: &str) -> String {
    reference.replacen("://", "://cat:fish%20and%20chips@", 1)
}

#[test]
fn a43_a_killed_broker_and_a_killed_relay_lose_nothing() {
    let world = World::new();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // It forgets everything when it is killed.
    let Some(mut mosquitto) = Mosquitto::plain(address).unwrap() else { return };
    let url = format!("mqtt://{address}/cats");
    let listen = with_account(&url);
    let start = || world.relay_with("relay", &["--listen", &listen, "--admission", "open"]);
    let mut relay = start();
    assert_eq!(relay.url(), url, "without user and password");
    let (alice, bob) = (world.nobody("alice"), world.nobody("bob"));
    for person in [&alice, &bob] {
        let reference = with_account(&relay.reference);
        assert!(!person.run(["init", "--server", &reference]).done().out.contains("chips"));
    }
    crate::support::befriend(&alice, &bob);
    let routes = alice.json(["route", "bob"]).done().records;
    assert!(
        routes
            .iter()
            .all(|route| route["there"][0]["why"] == "mailbox server: its broker sees this device's address")
    );

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
                mosquitto.kill().unwrap();
                std::thread::sleep(Duration::from_millis(100));
                mosquitto.again().unwrap();
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

/// Nobody at a broker is local, which is who may open mailboxes where nothing is said.
#[test]
fn a_relay_where_nobody_can_come_in_says_so() {
    let world = World::new();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let Some(_mosquitto) = Mosquitto::plain(address).unwrap() else { return };
    let url = format!("mqtt://{address}/cats");
    let told = [
        ("all", &[][..]),
        ("invited", &["--admission", "invited"]),
        ("here", &["--listen", "http://127.0.0.1:0"]),
    ]
    .map(|(name, more)| {
        let mut relay = Command::new(meowd());
        relay.arg("run").arg("--data").arg(world.path(name)).args(["--listen", &url]).args(more);
        relay.env_remove("MEOWD_LOG_LEVEL").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut relay = relay.spawn().unwrap();
        let lines = BufReader::new(relay.stderr.take().unwrap()).lines().map(Result::unwrap);
        let lines: Vec<_> = lines.take_while(|line| !line.contains("serving")).collect();
        relay.kill().unwrap();
        relay.wait().unwrap();
        lines.concat().contains("nobody is local")
    });
    assert_eq!(told, [true, false, false]);
}
