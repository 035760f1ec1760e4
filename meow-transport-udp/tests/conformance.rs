//! udp against the public suite.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use meow_core::transport::Endpoint;
use meow_testkit::transport::conformance::{Subject, run_all};

fn bad() -> Vec<Endpoint> {
    ["udp://127.0.0.1", "udp://127.0.0.1:1/path", "udp://a:b@127.0.0.1:1"]
        .map(|url| url.parse().unwrap())
        .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udp_conforms() {
    let subject = Subject::new(common::udp(|_| {}), "udp://127.0.0.1:0".parse().unwrap());
    run_all(&subject.refusing(bad())).await.unwrap();
}

#[tokio::test]
async fn udp_conforms_on_one_thread_and_ipv6() {
    let subject = Subject::new(common::udp(|_| {}), "udp://[::1]:0".parse().unwrap());
    run_all(&subject).await.unwrap();
}
