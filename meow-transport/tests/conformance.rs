//! The memory scheme, bare and wrapped, against the public suite.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use meow_core::Result;
use meow_core::transport::{Endpoint, Link, LinkProfile, Listener, Transport};
use meow_testkit::transport::conformance::{Subject, profile_is_true, profiles_agree, run_all};
use meow_transport::{FaultInjection, Faults, Memory, Segmented, Transports, WithTimeout};

/// Longer than an open link of the suite takes to end by itself.
const DRAIN: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms() {
    let bad = ["memory://room/path", "memory://room:1", "memory://user@room"].map(|url| url.parse().unwrap());
    let memory = Memory::new().drain(DRAIN);
    let subject = Subject::new(memory, "memory://room".parse().unwrap()).refusing(bad).nothing_between();
    run_all(&subject).await.unwrap();
}

#[tokio::test]
async fn small_frames_conform() {
    let subject = Subject::new(Memory::new().drain(DRAIN).max_frame(16), "memory://room".parse().unwrap());
    run_all(&subject.nothing_between()).await.unwrap();
}

#[tokio::test]
async fn links_of_a_registry_conform() {
    let transports = Transports::new().with(Memory::new().drain(DRAIN).max_frame(200));
    run_all(&Subject::of(transports, "memory://room".parse().unwrap()).unwrap().nothing_between())
        .await
        .unwrap();
}

#[tokio::test]
async fn wrappers_without_faults_conform() {
    let wrapped = WithTimeout::new(
        FaultInjection::new(Memory::new().drain(DRAIN), Faults::seeded(1)),
        Duration::from_secs(30),
        Duration::from_secs(30),
    );
    run_all(&Subject::new(wrapped, "memory://room".parse().unwrap()).nothing_between()).await.unwrap();
}

fn segmented(inner: impl Transport) -> Subject {
    Subject::new(Segmented::new(Arc::new(inner)), "memory://room".parse().unwrap()).nothing_between()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_over_small_frames_conform() {
    run_all(&segmented(Memory::new().drain(DRAIN).max_frame(100))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_over_lost_and_repeated_frames_conform() {
    let faults = Faults { drop: 50, duplicate: 50, ..Faults::seeded(1) };
    run_all(&segmented(FaultInjection::new(Memory::new().drain(DRAIN).max_frame(1000), faults.clone())))
        .await
        .unwrap();
    run_all(&segmented(FaultInjection::new(Memory::new().drain(DRAIN), faults))).await.unwrap();
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

#[tokio::test]
async fn lossy_links_say_so_and_one_that_does_not_is_found_out() {
    let lossy = |seed| Faults { drop: 150, duplicate: 50, ..Faults::seeded(seed) };
    let endpoint = || "memory://room".parse().unwrap();
    let honest = Subject::new(FaultInjection::new(Memory::new(), lossy(1)), endpoint()).nothing_between();
    profiles_agree(&honest).await.unwrap();
    profile_is_true(&honest).await.unwrap();
    let liar =
        Subject::new(Boasting(FaultInjection::new(Memory::new(), lossy(1))), endpoint()).nothing_between();
    let failure = profile_is_true(&liar).await.unwrap_err().to_string();
    assert!(failure.contains("reliable") || failure.contains("missing"), "{failure}");
}

/// Says that its links are reliable, whatever they are.
struct Boasting<T>(T);

impl<T: Transport> Transport for Boasting<T> {
    fn schemes(&self) -> &'static [&'static str] {
        self.0.schemes()
    }
    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        let mut profile = self.0.estimate(endpoint)?;
        profile.reliable = true;
        Ok(profile)
    }
    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let mut link = self.0.connect(endpoint).await?;
        link.profile.reliable = true;
        Ok(link)
    }
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        self.0.listen(endpoint).await
    }
}
