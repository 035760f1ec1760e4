//! Who subscribes to everything, who publishes anything, and what comes twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod common;

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use common::{PATIENCE, ask, echo, insist, mqtt, until};
use meow_core::ErrorKind;
use meow_core::crypto::{DhSecret, SigningKey, SystemRandom};
use meow_core::transport::{Addresses, Endpoint, Transport};
use meow_testkit::mqtt::{Behaviour, Broker};
use meow_testkit::transport::here;
use meow_testkit::transport::names::Rebinding;
use meow_transport_mqtt::wire::{ANNOUNCEMENT, Announcement, CLASSES, Prefix, Reference, TopicId};
use meow_transport_mqtt::{ClientConfig, Mqtt, ServerConfig};
use tokio::time::timeout;

async fn broker() -> Broker {
    Broker::start(Behaviour::default()).await.unwrap()
}

/// The levels of a topic below the prefix.
fn names(topic: &str) -> Vec<&str> {
    topic.strip_prefix("cats/").expect("everything lies below the prefix").split('/').collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_who_subscribes_to_everything_sees_random_topics_that_change() {
    let broker = broker().await;
    let mqtt = mqtt(|client, server| {
        let life = Duration::from_millis(300);
        (client.broker.topic_life, server.broker.topic_life, server.announce_interval) = (life, life, life);
    });
    let local = echo(&mqtt, &broker.url("cats")).await;
    let channel_topics = || {
        let mut topics = Vec::new();
        for seen in broker.seen() {
            if names(&seen.topic).len() == 2 && !topics.contains(&seen.topic) {
                topics.push(seen.topic);
            }
        }
        topics
    };
    // One link that stays, and others beside it.
    let mut held = mqtt.connect(&local).await.unwrap();
    let secret = b"a frame that nobody else shall see in the clear";
    let talk = async {
        let (mut first, mut round) = (Vec::new(), 0u32);
        loop {
            let mark = broker.seen().len();
            for _ in 0..4 {
                round += 1;
                let frame = [&secret[..], &round.to_be_bytes()].concat();
                held.tx.send(frame.clone().into()).await.unwrap();
                assert_eq!(held.rx.recv().await.unwrap().unwrap(), frame);
                assert_eq!(ask(&mqtt, &local, secret).await.unwrap(), secret);
            }
            // Inboxes, and at least five topics of each direction one after the other: all that was seen by the middle of
            // that time is out of use by its end.
            if first.is_empty() {
                let topics = channel_topics();
                if topics.len() >= 20 {
                    first = topics[..10].to_vec();
                }
            } else if broker.seen()[mark..].iter().all(|seen| !first.contains(&seen.topic)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, talk).await.expect("topics come and go while a link lives");

    let seen = broker.seen();
    let mut levels = HashSet::new();
    for topic in seen.iter().map(|seen| &seen.topic).collect::<HashSet<_>>() {
        let names = names(topic);
        let lengths: Vec<usize> = names.iter().map(|name| name.len()).collect();
        assert!(lengths == [22] || lengths == [11, 11], "{topic}");
        for name in names {
            assert!(levels.insert(name), "{name} stands in two topics");
        }
    }
    let (mut heads, mut lengths) = (HashSet::new(), HashSet::new());
    for message in seen.iter().filter(|seen| !seen.payload.is_empty()) {
        assert!(heads.insert(message.payload[..8].to_vec()), "two messages begin alike");
        assert!(!message.payload.windows(16).any(|window| window == &secret[..16]));
        lengths.insert(message.payload.len());
    }
    assert!(lengths.iter().all(|length| *length == ANNOUNCEMENT || CLASSES.contains(length)), "{lengths:?}");
    // An old announcement does not stay.
    assert!(seen.iter().filter(|seen| seen.retain && !seen.payload.is_empty()).count() > 3);
    assert!(broker.retained().len() <= 2, "{:?}", broker.retained());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_what_strangers_publish_changes_nothing() {
    let broker = broker().await;
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    let mut held = mqtt.connect(&local).await.unwrap();
    let mut talk = async |frame: &'static [u8]| {
        held.tx.send(frame.into()).await.unwrap();
        let back = timeout(PATIENCE, held.rx.recv()).await.expect("an answer").unwrap();
        assert_eq!(back.as_deref(), Some(frame));
    };
    talk(b"before").await;
    // Everything once more, where it was; noise of every length, everywhere; and announcements that are none.
    let seen = broker.seen();
    for message in &seen {
        broker.leave(&message.topic, message.payload.clone(), false);
    }
    talk(b"after a replay").await;
    for (number, message) in seen.iter().enumerate() {
        for length in CLASSES.into_iter().chain([0, 1, 17, ANNOUNCEMENT, 70_000]) {
            broker.leave(&message.topic, vec![number as u8; length], false);
        }
        let mut flipped = message.payload.to_vec();
        if let Some(last) = flipped.last_mut() {
            *last ^= 1;
        }
        broker.leave(&message.topic, flipped, false);
    }
    for number in 0..300 {
        broker.leave(&format!("cats/junk-{number}"), vec![7; ANNOUNCEMENT], true);
        broker.leave(&format!("cats/long-{number}"), vec![7; 900], true);
    }
    talk(b"after noise").await;
    // Somebody who comes now has to look through all of it.
    let newcomer = Mqtt::new(ClientConfig::default(), ServerConfig::default());
    insist(&newcomer, &local, b"new").await;
}

/// A broker delivers again what it believes to be lost; here everything, and all at once after each break.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_what_is_delivered_twice_is_taken_once() {
    let mut behaviour = Behaviour::default();
    behaviour.twice = true;
    let broker = Broker::start(behaviour).await.unwrap();
    let mqtt = mqtt(|_, _| {});
    let mut listener = mqtt.listen(&broker.url("cats").parse().unwrap()).await.unwrap();
    let local = listener.local().clone();
    let talk = async {
        for number in 0..5u8 {
            let mut near = mqtt.connect(&local).await.unwrap();
            near.tx.send(vec![number].into()).await.unwrap();
            let mut far = listener.accept().await.unwrap().unwrap();
            assert_eq!(far.rx.recv().await.unwrap().unwrap(), vec![number], "no link comes twice");
            for frame in 0..20u8 {
                near.tx.send(vec![frame; 300].into()).await.unwrap();
                far.tx.send(vec![frame; 400].into()).await.unwrap();
                if frame == 10 {
                    broker.cut();
                }
            }
            near.tx.finish().await.unwrap();
            far.tx.finish().await.unwrap();
            for frame in 0..20u8 {
                assert_eq!(far.rx.recv().await.unwrap().unwrap(), vec![frame; 300]);
                assert_eq!(near.rx.recv().await.unwrap().unwrap(), vec![frame; 400]);
            }
            assert!(far.rx.recv().await.unwrap().is_none() && near.rx.recv().await.unwrap().is_none());
        }
    };
    timeout(PATIENCE, talk).await.expect("everything comes");
    let more = timeout(Duration::from_millis(500), listener.accept()).await;
    assert!(more.is_err(), "a link that nobody dialled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_who_holds_the_reference_cannot_announce_for_the_server() {
    let broker = broker().await;
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    let reference = Reference::new(*local.server().unwrap());
    let prefix = Prefix::of(&local).unwrap();
    let forger = SigningKey::generate(&mut SystemRandom).unwrap();
    for _ in 0..40 {
        let key = DhSecret::generate(&mut SystemRandom).unwrap().public();
        let inbox = TopicId::generate(&mut SystemRandom).unwrap();
        let forged = Announcement { key, inbox }.seal(&reference, &forger, &mut SystemRandom).unwrap();
        broker.leave(&prefix.announcement(TopicId::generate(&mut SystemRandom).unwrap()), forged, true);
    }
    // Real ones whose keys are gone: a hello to each stays unanswered.
    let link = mqtt.connect(&local).await.unwrap();
    assert_eq!(link.peer.server.as_ref(), local.server());
    insist(&Mqtt::new(ClientConfig::default(), ServerConfig::default()), &local, b"x").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_bad_topics_from_the_broker_are_refused() {
    let broker = broker().await;
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    insist(&mqtt, &local, b"before").await;
    for topic in [&b"cats/\xff\xfe"[..], b"cats/a\0b", b"cats/+", b"#", b"$SYS/broker/uptime", b""] {
        // PUBLISH, QoS 0: remaining length, topic, no properties, a payload.
        let mut packet = vec![0x30, (2 + topic.len() + 1 + 3) as u8, 0, topic.len() as u8];
        packet.extend_from_slice(topic);
        packet.extend_from_slice(&[0, 1, 2, 3]);
        broker.inject(packet);
        insist(&mqtt, &local, b"still").await;
    }
    // A topic alias, though none was offered: with a topic, and instead of one.
    for topic in [&b"cats/alias"[..], b""] {
        let mut packet = vec![0x30, (2 + topic.len() + 4 + 3) as u8, 0, topic.len() as u8];
        packet.extend_from_slice(topic);
        packet.extend_from_slice(&[3, 0x23, 0, 1, 1, 2, 3]);
        broker.inject(packet);
        insist(&mqtt, &local, b"still").await;
    }
    // Acknowledgements of what was never sent, and a second CONNACK.
    for packet in [&[0x40u8, 2, 0xff, 0xfe][..], &[0x90, 4, 0xff, 0xfe, 0, 1], &[0x20, 3, 0, 0, 0]] {
        broker.inject(packet.to_vec());
        insist(&mqtt, &local, b"still").await;
    }
    // Correlation data and a response topic on messages where none belong change nothing.
    for topic in broker.seen().into_iter().rev().map(|seen| seen.topic).take(3) {
        let properties = [&[0x09, 0, 2, 7, 7, 0x08, 0, 1][..], b"x"].concat();
        let mut packet = vec![0x30, (2 + topic.len() + 1 + properties.len() + 2) as u8, 0, topic.len() as u8];
        packet.extend_from_slice(topic.as_bytes());
        packet.push(properties.len() as u8);
        packet.extend_from_slice(&properties);
        packet.extend_from_slice(&[1, 2]);
        broker.inject(packet);
        insist(&mqtt, &local, b"still").await;
    }
    // No packet at all: the connection is given up, and comes back.
    broker.inject(vec![0xff; 40]);
    insist(&mqtt, &local, b"again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_needs_a_server_that_is_known_and_there() {
    let broker = broker().await;
    let mqtt = mqtt(|client, _| client.connect_timeout = Duration::from_secs(2));
    let local = echo(&mqtt, &broker.url("cats")).await;
    let kind = async |endpoint: Endpoint| mqtt.connect(&endpoint).await.err().map(|e| e.kind());
    let bare: Endpoint = broker.url("cats").parse().unwrap();
    assert_eq!(kind(bare.clone()).await, Some(ErrorKind::Usage));
    assert_eq!(kind(bare.with_server([1; 32])).await, Some(ErrorKind::Unreachable));
    let elsewhere: Endpoint = broker.url("dogs").parse().unwrap();
    assert_eq!(kind(elsewhere.with_server(*local.server().unwrap())).await, Some(ErrorKind::Unreachable));
    let nowhere: Endpoint = "mqtt://127.0.0.1:9/cats".parse().unwrap();
    assert_eq!(kind(nowhere.with_server([1; 32])).await, Some(ErrorKind::Unreachable));
    assert_eq!(ask(&mqtt, &local, b"there").await.unwrap(), b"there");
    let e = Mqtt::default().listen(&broker.url("cats").parse().unwrap()).await.err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Usage);
}

/// A record for the opening alone would cost as much as a short request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_opened_by_the_record_of_its_first_frame() {
    let broker = broker().await;
    let mqtt = mqtt(|_, _| {});
    let mut listener = mqtt.listen(&broker.url("cats").parse().unwrap()).await.unwrap();
    let local = listener.local().clone();
    let mut first = mqtt.connect(&local).await.unwrap();
    first.tx.send("first".into()).await.unwrap();
    let mut held = listener.accept().await.unwrap().unwrap();
    assert_eq!(held.rx.recv().await.unwrap().unwrap(), "first");
    let mut together = 0;
    for _ in 0..20 {
        // What ends the link before is seen by then.
        tokio::time::sleep(Duration::from_millis(50)).await;
        broker.forget_seen();
        let mut link = mqtt.connect(&local).await.unwrap();
        // Longer than sealing takes; on a busy machine a tick falls into it more often than not.
        tokio::time::sleep(Duration::from_millis(10)).await;
        link.tx.send(vec![7; 500].into()).await.unwrap();
        let mut other = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().unwrap();
        assert_eq!(other.rx.recv().await.unwrap().unwrap().len(), 500);
        let records: Vec<_> =
            broker.seen().iter().map(|seen| seen.payload.len()).filter(|len| *len != 172).collect();
        together += usize::from(records == [640]);
    }
    assert!(together > 2, "{together} of 20");
    // Who opens one and says nothing is heard too.
    let _silent = mqtt.connect(&local).await.unwrap();
    timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_share_a_connection_and_idle_ones_go() {
    let broker = broker().await;
    let mqtt = mqtt(|client, _| client.idle_timeout = Duration::from_millis(300));
    let local = echo(&mqtt, &broker.url("cats")).await;
    let mut links = Vec::new();
    for _ in 0..50 {
        links.push(mqtt.connect(&local).await.unwrap());
    }
    assert_eq!(broker.connections(), 2, "the server's and the client's");
    tokio::time::sleep(Duration::from_secs(1)).await;
    for mut link in links {
        link.tx.send("held".into()).await.unwrap();
        link.tx.finish().await.unwrap();
        assert_eq!(link.rx.recv().await.unwrap().unwrap(), "held");
    }
    let before = broker.seen().len();
    common::until("another connection", || async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        ask(&mqtt, &local, b"later").await.is_ok() && broker.connections() > 2
    })
    .await;
    assert!(broker.seen().len() > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_limits_hold_and_others_are_served() {
    let broker = broker().await;
    let mqtt = mqtt(|_, server| {
        server.max_links = 3;
        server.max_channels = 2;
        server.max_unread = 80_000;
    });
    let mut listener = mqtt.listen(&broker.url("cats").parse().unwrap()).await.unwrap();
    let local = listener.local().clone();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut near = mqtt.connect(&local).await.unwrap();
        near.tx.send("held".into()).await.unwrap();
        held.push((near, listener.accept().await.unwrap().unwrap()));
    }
    // A fourth link is broken off.
    let mut fourth = mqtt.connect(&local).await.unwrap();
    assert!(timeout(PATIENCE, fourth.rx.recv()).await.expect("an end").is_err());
    // What nobody reads is bounded for all links together: two may fill their windows, a third is broken off.
    let mut broken = 0;
    for (near, _) in &mut held {
        let filling = async { while near.tx.send(vec![1; 8000].into()).await.is_ok() {} };
        if timeout(Duration::from_secs(2), filling).await.is_ok() {
            broken += 1;
        }
    }
    assert!(broken >= 1, "nothing bounds what lies unread");
    // A third channel gets no answer; when another one has gone, it does.
    let (second, third) = (Mqtt::default(), Mqtt::default());
    let _held = second.connect(&local).await.unwrap();
    assert_eq!(third.connect(&local).await.err().map(|e| e.kind()), Some(ErrorKind::Unreachable));
    drop((held, mqtt));
    common::until("a free channel", || async { third.connect(&local).await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a44_a_broker_at_an_address_that_is_not_permitted_is_not_dialled_whatever_it_is_called() {
    let broker = broker().await;
    let port = broker.address().port();
    let server = mqtt(|_, _| {});
    let local = echo(&server, &broker.url("cats")).await;
    let (fingerprint, before) = (*local.server().unwrap(), broker.connections());
    let strict = mqtt(|client, _| client.broker.addresses = Addresses::public());
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:7f00:1]", "[::1]"] {
        let endpoint: Endpoint = format!("mqtt://{host}:{port}/cats").parse().unwrap();
        let e = strict.connect(&endpoint.with_server(fingerprint)).await.map(drop).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{host}: {e}");
    }
    let tls: Endpoint = format!("mqtts://localhost:{port}/cats").parse().unwrap();
    let e = strict.connect(&tls.with_server(fingerprint)).await.map(drop).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
    assert_eq!(broker.connections(), before, "somebody dialled");
    let allowed =
        mqtt(|client, _| client.broker.addresses = Addresses::public().and("127.0.0.1".parse().unwrap()));
    assert_eq!(ask(&allowed, &local, b"x").await.unwrap(), b"x");
}

/// Whoever owns a name can have it lead elsewhere between the check and the dial. It is asked once for each connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a44_a_broker_whose_name_changes_its_answer_leads_nowhere_else() {
    let (good, bad): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), here::another().unwrap());
    let broker = broker().await;
    let port = broker.address().port();
    let trap = std::net::TcpListener::bind((bad, port)).unwrap();
    trap.set_nonblocking(true).unwrap();
    let server = mqtt(|_, _| {});
    let fingerprint = *echo(&server, &broker.url("cats")).await.server().unwrap();
    let name = Rebinding::new([vec![good], vec![bad]]);
    let strict = || {
        mqtt(|client, _| {
            client.broker.addresses = Addresses::public().and("127.0.0.1".parse().unwrap());
            client.broker.names = name.names();
        })
    };
    let endpoint = |scheme: &str| {
        format!("{scheme}://cat.example:{port}/cats").parse::<Endpoint>().unwrap().with_server(fingerprint)
    };
    let first = strict();
    assert_eq!(ask(&first, &endpoint("mqtt"), b"x").await.unwrap(), b"x");
    assert_eq!(name.asked(), 1);
    let before = broker.connections();
    for scheme in ["mqtt", "mqtts"] {
        let e = strict().connect(&endpoint(scheme)).await.map(drop).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused, "{scheme}: {e}");
    }
    assert_eq!(broker.connections(), before, "somebody dialled");
    // One that was there comes back by the name, and so is checked again.
    broker.cut();
    common::until("a refusal", async || {
        first.connect(&endpoint("mqtt")).await.is_err_and(|e| e.kind() == ErrorKind::Refused)
    })
    .await;
    assert!(trap.accept().is_err(), "somebody dialled");
}

/// A broker that keeps no announcement any more is asked less and less often, and what was subscribed for one goes with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_announcements_that_are_refused_leave_nothing_behind() {
    let broker = broker().await;
    let mqtt = mqtt(|_, server| server.announce_interval = Duration::from_millis(100));
    let local = echo(&mqtt, &broker.url("cats")).await;
    broker.refuse_retained(true);
    // Two inboxes, and one of a try that is under way.
    until("the fourth refusal", || async {
        assert!(broker.filters().len() <= 3, "{:?}", broker.filters());
        broker.refused() >= 4
    })
    .await;
    broker.refuse_retained(false);
    insist(&mqtt, &local, b"still there").await;
}

/// Who has found a server looks for announcements no more: each that anybody leaves would come to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_a_search_that_has_ended_is_not_subscribed() {
    let broker = broker().await;
    let mqtt = mqtt(|_, _| {});
    let local = echo(&mqtt, &broker.url("cats")).await;
    let _held = mqtt.connect(&local).await.unwrap();
    until("the end of the search", || async { !broker.filters().contains(&"cats/+".to_owned()) }).await;
    insist(&mqtt, &local, b"by the channel that is there").await;
}
