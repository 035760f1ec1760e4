//! The memory scheme, bare and wrapped, against the public suite.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use meow_testkit::transport::conformance::{Subject, run_all};
use std::sync::Arc;

use meow_core::transport::Transport;
use meow_transport::{FaultInjection, Faults, Memory, Segmented, WithTimeout};

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

fn segmented(inner: impl Transport) -> Subject {
    Subject::new(Segmented::new(Arc::new(inner)), "memory://room".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_over_small_frames_conform() {
    run_all(&segmented(Memory::new().max_frame(100))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_over_lost_and_repeated_frames_conform() {
    let faults = Faults { drop: 50, duplicate: 50, ..Faults::seeded(1) };
    run_all(&segmented(FaultInjection::new(Memory::new().max_frame(1000), faults.clone()))).await.unwrap();
    run_all(&segmented(FaultInjection::new(Memory::new(), faults))).await.unwrap();
}

#[tokio::test]
async fn links_that_need_no_segments_are_left_alone() {
    let whole = Segmented::new(Arc::new(Memory::new()));
    let endpoint = "memory://room".parse().unwrap();
    assert_eq!(whole.estimate(&endpoint).unwrap(), Memory::new().estimate(&endpoint).unwrap());
    let small = Segmented::new(Arc::new(Memory::new().max_frame(100))).estimate(&endpoint).unwrap();
    assert_eq!((small.max_frame, small.single), (33_792, 91));
    let tiny = Segmented::new(Arc::new(Memory::new().max_frame(16))).estimate(&endpoint);
    assert_eq!(tiny.unwrap_err().kind(), meow_core::ErrorKind::Usage);
}
