//! http and https against the public suite.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use meow_core::transport::Endpoint;
use meow_testkit::transport::conformance::{Subject, run_all};
use meow_testkit::transport::here;
use meow_testkit::transport::medium::CuttingTcp;
use meow_transport_http::{ClientConfig, Http, ServerConfig};

fn bad(scheme: &str) -> Vec<Endpoint> {
    ["127.0.0.1/?cert=x", "a%3Ab:c@127.0.0.1"]
        .map(|rest| format!("{scheme}://{rest}").parse().unwrap())
        .into()
}

/// Closing waits for open links longer than the suite takes to end one.
fn http() -> Http {
    let mut server = ServerConfig::default();
    server.drain = DRAIN;
    Http::new(ClientConfig::default(), server).unwrap()
}

const DRAIN: std::time::Duration = std::time::Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_conforms() {
    let subject = Subject::new(http(), "http://127.0.0.1:0/meow".parse().unwrap());
    let subject = subject.refusing(bad("http")).through(CuttingTcp::new(5_000));
    run_all(&subject).await.unwrap();
}

#[tokio::test]
async fn http_conforms_on_one_thread_and_ipv6() {
    if !here::has_ipv6().unwrap() {
        return;
    }
    let subject = Subject::new(http(), "http://[::1]:0".parse().unwrap()).through(CuttingTcp::new(5_000));
    run_all(&subject).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_conforms() {
    let (client, mut server) = common::tls();
    server.drain = DRAIN;
    let subject = Subject::new(Http::new(client, server).unwrap(), "https://127.0.0.1:0".parse().unwrap());
    let subject = subject.refusing(bad("https")).through(CuttingTcp::new(9_000)).dial_by(|local| {
        let by_name = local.expose().replacen("127.0.0.1", "localhost", 1);
        by_name.parse().unwrap()
    });
    run_all(&subject).await.unwrap();
}
