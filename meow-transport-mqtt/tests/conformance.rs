//! mqtt and mqtts against the public suite, through a broker in this process and through mosquitto.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Apart, Mosquitto, mqtt};
use meow_core::transport::Endpoint;
use meow_testkit::mqtt::{Behaviour, Broker};
use meow_testkit::transport::conformance::{Subject, run_all};
use meow_testkit::transport::medium::CuttingTcp;
use meow_transport_mqtt::{Mqtt, Roots};

fn transport(roots: Option<&[u8]>) -> Mqtt {
    mqtt(|client, server| {
        client.connect_timeout = Duration::from_secs(3);
        if let Some(pem) = roots {
            client.broker.roots = Roots::Only(pem.to_vec());
            server.broker.roots = Roots::Only(pem.to_vec());
        }
    })
}

fn bad() -> Vec<Endpoint> {
    [
        "mqtt://127.0.0.1/a/+",
        "mqtt://127.0.0.1/%23",
        "mqtt://127.0.0.1/$SYS",
        "mqtt://127.0.0.1/a//b",
        "mqtt://127.0.0.1:0/a",
    ]
    .map(|url| url.parse().unwrap())
    .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_conforms() {
    let broker = Broker::start(Behaviour::default()).await.unwrap();
    let subject = Subject::new(Apart::new(transport(None)), broker.url("conformance").parse().unwrap());
    run_all(&subject.refusing(bad()).through(CuttingTcp::new(20_000))).await.unwrap();
}

#[tokio::test]
async fn mqtt_conforms_on_one_thread_and_when_everything_comes_twice() {
    let mut behaviour = Behaviour::default();
    behaviour.twice = true;
    let broker = Broker::start(behaviour).await.unwrap();
    let subject = Subject::new(Apart::new(transport(None)), broker.url("twice").parse().unwrap());
    run_all(&subject.through(CuttingTcp::new(20_000))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_conforms_through_mosquitto() {
    let Some(mosquitto) = Mosquitto::start(None) else { return };
    let subject = Subject::new(Apart::new(transport(None)), mosquitto.url("conformance").parse().unwrap());
    run_all(&subject.through(CuttingTcp::new(20_000))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtts_conforms_through_mosquitto() {
    let Some(mosquitto) = Mosquitto::start(None) else { return };
    let url = format!("mqtts://127.0.0.1:{}/conformance", mosquitto.tls_port);
    let subject = Subject::new(Apart::new(transport(Some(&mosquitto.authority))), url.parse().unwrap());
    run_all(&subject.through(CuttingTcp::new(20_000))).await.unwrap();
}
