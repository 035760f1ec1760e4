//! The memory scheme, bare and wrapped, against the public suite.

use std::time::Duration;

use meow_testkit::transport::conformance::{Subject, run_all};
use meow_transport::{FaultInjection, Faults, Memory, WithTimeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms() {
    let bad = ["memory://room/path", "memory://room:1", "memory://user@room"].map(|url| url.parse().unwrap());
    let subject = Subject::new(Memory::new(), "memory://room".parse().unwrap()).refusing(bad);
    run_all(&subject).await.unwrap();
}

#[tokio::test]
async fn small_frames_conform() {
    let subject = Subject::new(Memory::new().max_frame(16), "memory://room".parse().unwrap());
    run_all(&subject).await.unwrap();
}

#[tokio::test]
async fn wrappers_without_faults_conform() {
    let wrapped = WithTimeout::new(
        FaultInjection::new(Memory::new(), Faults::seeded(1)),
        Duration::from_secs(30),
        Duration::from_secs(30),
    );
    run_all(&Subject::new(wrapped, "memory://room".parse().unwrap())).await.unwrap();
}
