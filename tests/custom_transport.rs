//! The transport of the example, against the suite that every transport passes.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../examples/custom_transport/unix.rs"]
mod unix;

use meow::Transports;
use meow_testkit::transport::conformance::{Subject, run_all};
use meow_testkit::transport::medium::CuttingUnix;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unix_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let listen = format!("unix://{}", dir.path().join("socket").display()).parse().unwrap();
    let bad = ["unix://host/path", "unix://host"].map(|url| url.parse().unwrap());
    let subject = Subject::of(Transports::new().with(unix::Unix), listen).unwrap().refusing(bad);
    run_all(&subject.through(CuttingUnix::new(5_000))).await.unwrap();
}
