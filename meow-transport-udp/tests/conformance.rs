//! udp against the public suite.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use meow_core::transport::Endpoint;
use meow_testkit::transport::conformance::{Subject, run_all};
use meow_testkit::transport::here;
use meow_testkit::transport::medium::LossyUdp;
use meow_transport_udp::Udp;

fn bad() -> Vec<Endpoint> {
    ["udp://127.0.0.1", "udp://127.0.0.1:1/path", "udp://a:b@127.0.0.1:1"]
        .map(|url| url.parse().unwrap())
        .into()
}

/// Closing waits for open links longer than the suite takes to end one.
fn udp() -> Udp {
    common::udp(|server| server.drain = std::time::Duration::from_secs(4))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udp_conforms() {
    let subject = Subject::new(udp(), "udp://127.0.0.1:0".parse().unwrap());
    let subject = subject.refusing(bad()).through(LossyUdp::new(100, 1));
    run_all(&subject).await.unwrap();
}

#[tokio::test]
async fn udp_conforms_on_one_thread_and_ipv6() {
    if !here::has_ipv6().unwrap() {
        return;
    }
    let subject = Subject::new(udp(), "udp://[::1]:0".parse().unwrap()).through(LossyUdp::new(100, 2));
    run_all(&subject).await.unwrap();
}
