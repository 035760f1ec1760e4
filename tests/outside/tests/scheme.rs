//! A scheme of one's own, by the facade alone, against the suite that the ready ones pass.

#![cfg(unix)]

#[path = "../../../examples/custom_transport/unix.rs"]
mod unix;

use meow::{EnabledTransports, Transports};
use meow_testkit::transport::conformance::{Subject, run_all};
use meow_testkit::transport::medium::CuttingUnix;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheme_from_outside_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let listen = format!("unix://{}", dir.path().join("socket").display()).parse().unwrap();
    let transports = Transports::enabled().with(unix::Unix);
    assert!(transports.schemes().eq(["http", "https", "unix"]));
    let subject = Subject::of(transports, listen).unwrap();
    run_all(&subject.through(CuttingUnix::new(5_000))).await.unwrap();
}
