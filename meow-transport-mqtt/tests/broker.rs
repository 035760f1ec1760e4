//! Brokers that break, forget, are killed, refuse, or are not the one meant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Mosquitto, PATIENCE, ask, echo, insist, mqtt};
use meow_core::transport::{Endpoint, Transport};
use meow_core::{ErrorKind, Retry};
use meow_testkit::mqtt::{Behaviour, Broker};
use meow_transport_mqtt::{ClientConfig, Mqtt, Roots, ServerConfig};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_live_through_a_broken_connection() {
    let broker = Broker::start(Behaviour::default()).await.unwrap();
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    let link = mqtt.connect(&local).await.unwrap();
    let (mut tx, mut rx) = (link.tx, link.rx);
    let send = async {
        for number in 0..400u32 {
            tx.send(number.to_be_bytes().repeat(50).into()).await.unwrap();
            if number % 150 == 50 {
                broker.cut();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tx.finish().await.unwrap();
    };
    let receive = async {
        for number in 0..400u32 {
            let frame = rx.recv().await.unwrap().expect("a frame");
            assert_eq!(frame, number.to_be_bytes().repeat(50), "in order, once");
        }
        assert!(rx.recv().await.unwrap().is_none());
    };
    timeout(PATIENCE, async { tokio::join!(send, receive) }).await.expect("an end");
    assert!(broker.connections() > 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_forgets_breaks_links_and_new_ones_come() {
    let broker = Broker::start(Behaviour::default()).await.unwrap();
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    for _ in 0..3 {
        let mut link = mqtt.connect(&local).await.unwrap();
        link.tx.send("held".into()).await.unwrap();
        assert_eq!(link.rx.recv().await.unwrap().unwrap(), "held");
        broker.forget();
        let e = timeout(PATIENCE, link.rx.recv()).await.expect("the loss is noticed").unwrap_err();
        assert_eq!((e.kind(), e.retry()), (ErrorKind::Unreachable, Retry::Now));
        assert!(link.tx.send("more".into()).await.is_err());
        insist(&mqtt, &local, b"again").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_a_broker_killed_again_and_again_is_survived() {
    let mut broker = Broker::start(Behaviour::default()).await.unwrap();
    let address = broker.address();
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    for round in 0..8u8 {
        insist(&mqtt, &local, &[round; 5000]).await;
        let mut link = mqtt.connect(&local).await.unwrap();
        let _ = link.tx.send(vec![round; 30_000].into()).await;
        drop(broker);
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 60)).await;
        broker = restart(address, Behaviour::default()).await;
    }
    insist(&mqtt, &local, b"in the end").await;
}

async fn restart(address: std::net::SocketAddr, behaviour: Behaviour) -> Broker {
    loop {
        // The port may still be on its way back.
        match Broker::at(address, behaviour.clone()).await {
            Ok(broker) => return broker,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_always_hangs_up_is_not_stormed() {
    let broker = Broker::start(Behaviour::default()).await.unwrap();
    let address = broker.address();
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    let _held = mqtt.connect(&local).await.unwrap();
    drop(broker);
    let mut behaviour = Behaviour::default();
    behaviour.hangs_up = true;
    let hanging = restart(address, behaviour).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    // Two connections, whose pauses are at least 50, 100, 200, 400, 800, 1600 ms: at most eight attempts each in that
    // time, on a fast machine. Without pauses there would be thousands.
    let attempts = hanging.connections();
    assert!((1..=24).contains(&attempts), "{attempts} attempts");
    drop(hanging);
    let _broker = restart(address, Behaviour::default()).await;
    insist(&mqtt, &local, b"at last").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_a_message_that_breaks_the_connection_does_not_do_so_for_ever() {
    let mut behaviour = Behaviour::default();
    behaviour.ignores_limits = true;
    let broker = Broker::start(behaviour).await.unwrap();
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    insist(&mqtt, &local, b"before").await;
    // Larger than any client of ours takes, on every topic in use: the broker sends it again after each break.
    for seen in broker.seen() {
        broker.leave(&seen.topic, vec![7; 70_000], false);
    }
    insist(&mqtt, &local, b"after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_and_password_are_asked_for() {
    let mut behaviour = Behaviour::default();
    behaviour.account = Some(("jOe".into(), "s3cr3t".into()));
    let broker = Broker::start(behaviour).await.unwrap();
    let at = |who: &str| broker.url("cats").replace("://", &format!("://{who}"));
    refuses_strangers(&at).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_asks_for_user_and_password() {
    let Some(mosquitto) = Mosquitto::start(Some(("jOe", "s3cr3t"))) else { return };
    let at = |who: &str| mosquitto.url("cats").replace("://", &format!("://{who}"));
    refuses_strangers(&at).await;
}

async fn refuses_strangers(at: &impl Fn(&str) -> String) {
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &at("jOe:s3cr3t@")).await;
    assert_eq!(ask(&mqtt, &local, b"hello").await.unwrap(), b"hello");
    for who in ["", "jOe:wr0ng@", "jOe@", "ann:s3cr3t@"] {
        let endpoint: Endpoint = at(who).parse().unwrap();
        let e = mqtt.connect(&endpoint.with_server(*local.server().unwrap())).await.err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Refused, "{who} {e:?}");
        assert!(e.to_string().contains("refuses this user and password"), "{e}");
        let shown = format!("{e} {e:?} {mqtt:?}");
        assert!(!shown.contains("wr0ng") && !shown.contains("s3cr3t") && !shown.contains("jOe"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtts_believes_the_right_authority_only() {
    let Some(mosquitto) = Mosquitto::start(None) else { return };
    let url = |scheme: &str, host: &str, port: u16| format!("{scheme}://{host}:{port}/cats");
    let right = mqtt(|client, server| {
        client.broker.roots = Roots::Only(mosquitto.authority.clone());
        server.broker.roots = Roots::NativeAnd(mosquitto.authority.clone());
    });
    let local = echo(&right, &url("mqtts", "127.0.0.1", mosquitto.tls_port)).await;
    assert_eq!(ask(&right, &local, b"hello").await.unwrap(), b"hello");
    let other = Mosquitto::start(None).unwrap();
    let mut config = ClientConfig::default();
    config.broker.roots = Roots::Only(other.authority.clone());
    let wrong = Mqtt::new(config, ServerConfig::default());
    assert_eq!(wrong.connect(&local).await.err().map(|e| e.kind()), Some(ErrorKind::WrongPeer));
    // TLS spoken to who does not, and the other way round.
    for (scheme, port) in [("mqtts", mosquitto.port), ("mqtt", mosquitto.tls_port)] {
        let odd: Endpoint = url(scheme, "127.0.0.1", port).parse().unwrap();
        let e = right.connect(&odd.with_server(*local.server().unwrap())).await.err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Unreachable, "{e:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_mosquitto_killed_again_and_again_is_survived() {
    let Some(mut mosquitto) = Mosquitto::start(None) else { return };
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &mosquitto.url("cats")).await;
    for round in 0..4u8 {
        insist(&mqtt, &local, &[round; 20_000]).await;
        let mut link = mqtt.connect(&local).await.unwrap();
        let _ = link.tx.send(vec![round; 30_000].into()).await;
        mosquitto.kill();
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 200)).await;
        mosquitto.again();
        insist(&mqtt, &local, b"back").await;
    }
}

/// Says clearly what is wrong, at once, to diallers and listeners; and does so too when the broker changes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_cannot_carry_frames_is_refused_with_a_reason() {
    type Change = fn(&mut Behaviour);
    let poor: [(Change, &str); 2] =
        [(|it| it.largest = Some(20_000), "36,864"), (|it| it.only_qos_0 = true, "QoS 1")];
    for (change, word) in poor {
        let mut behaviour = Behaviour::default();
        change(&mut behaviour);
        let broker = Broker::start(behaviour.clone()).await.unwrap();
        let (address, url) = (broker.address(), broker.url("cats"));
        let mqtt = mqtt(|client, _| client.connect_timeout = Duration::from_secs(3));
        let at: Endpoint = url.parse().unwrap();
        let dialled = mqtt.connect(&at.clone().with_server([1; 32])).await.map(drop).unwrap_err();
        let listened = mqtt.listen(&at).await.map(drop).unwrap_err();
        for e in [dialled, listened] {
            assert_eq!(e.kind(), ErrorKind::Refused, "{e:?}");
            assert!(e.to_string().contains(word), "{e}");
        }
        drop(broker);
        let broker = restart(address, Behaviour::default()).await;
        let local = echo(&mqtt, &url).await;
        insist(&mqtt, &local, b"before").await;
        drop(broker);
        let broker = restart(address, behaviour).await;
        let refused = async {
            loop {
                match mqtt.connect(&local).await {
                    // A link of the channel that is not known to be over yet.
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::Refused => return e.to_string(),
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Unreachable, "{e:?}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let text = timeout(PATIENCE, refused).await.expect("the reason");
        assert!(text.contains(word), "{text}");
        drop(broker);
        let _broker = restart(address, Behaviour::default()).await;
        common::until("a link once the broker can", || async {
            ask(&mqtt, &local, b"after").await.is_ok_and(|back| back == b"after")
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_with_small_packets_is_refused_with_a_reason() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!("allow_anonymous true\nmax_packet_size 20000\nlistener {} 127.0.0.1\n", free.port());
    let Some(_broker) = meow_testkit::mqtt::Mosquitto::start(free, |_| Ok(config)).unwrap() else { return };
    let at: Endpoint = format!("mqtt://{free}/cats").parse().unwrap();
    let e = mqtt(|_, _| {}).listen(&at).await.map(drop).unwrap_err();
    assert!(e.kind() == ErrorKind::Refused && e.to_string().contains("max_packet_size"), "{e:?}");
}

/// What the account may is changed while everybody is connected: who dials hears the reason, not that time ran out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_changed_is_told_to_who_dials() {
    let broker = Broker::start(Behaviour::default()).await.unwrap();
    let (address, url) = (broker.address(), broker.url("cats").replace("://", "://jOe:old@"));
    let mqtt = mqtt(|client, _| client.connect_timeout = Duration::from_secs(2));
    let local = echo(&mqtt, &url).await;
    insist(&mqtt, &local, b"before").await;
    drop(broker);
    let mut behaviour = Behaviour::default();
    behaviour.account = Some(("jOe".into(), "new".into()));
    let _broker = restart(address, behaviour).await;
    let refused = async {
        while mqtt.connect(&local).await.map_or_else(|e| e.kind(), |_| ErrorKind::Unreachable)
            != ErrorKind::Refused
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("the reason");
}
