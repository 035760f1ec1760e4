//! The memory scheme, bare and wrapped, against the public suite.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use meow_core::transport::{
    Endpoint, Frame, Link, LinkProfile, LinkReceiver, LinkSender, Listener, RecvFrames, SendFrames, Transport,
};
use meow_core::{Error, ErrorKind, Result};
use meow_testkit::transport::conformance::{
    Subject, nothing_shows_credentials, profile_is_true, profiles_agree, run_all,
};
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
    let boasting = Lying::new(FaultInjection::new(Memory::new(), lossy(1))).links(|p| p.reliable = true);
    let failure = found_out(boasting).await;
    assert!(failure.contains("promises to lose nothing") || failure.contains("missing"), "{failure}");
    // Nor does a link that lets frames vanish lose those that it cuts into pieces.
    let cutting = Lying::new(FaultInjection::new(Memory::new(), lossy(1))).links(|p| p.single = 100);
    let failure = found_out(cutting).await;
    assert!(failure.contains("promises to lose nothing") || failure.contains("missing"), "{failure}");
}

#[tokio::test]
async fn links_that_mix_frames_up_are_found_out() {
    let lossy = |p: &mut LinkProfile| p.reliable = false;
    let mut mixing = Lying::new(Memory::new()).links(lossy);
    mixing.swaps = true;
    assert!(found_out(mixing).await.contains("out of the order"));
    let mut honest = Lying::new(Memory::new()).links(|p| (p.reliable, p.ordered) = (false, false));
    honest.swaps = true;
    profile_is_true(&in_a_room(honest)).await.unwrap();
}

#[tokio::test]
async fn an_estimate_of_something_else_is_found_out() {
    let changes: [fn(&mut LinkProfile); 3] =
        [|p| p.max_frame -= 1, |p| p.push = !p.push, |p| p.ordered = !p.ordered];
    for change in changes {
        let mut liar = Lying::new(Memory::new());
        liar.estimate = change;
        let failure = profiles_agree(&in_a_room(liar)).await.unwrap_err().to_string();
        assert!(failure.contains("dialling end"), "{failure}");
    }
}

#[tokio::test]
async fn errors_that_name_a_place_are_found_out() {
    for tells in [false, true] {
        let subject =
            Subject::new(InFiles { memory: Memory::new(), tells }, "loud:///place".parse().unwrap());
        let shown = nothing_shows_credentials(&subject).await;
        assert_eq!(shown.is_err(), tells, "{shown:?}");
    }
}

fn in_a_room(transport: impl Transport) -> Subject {
    Subject::new(transport, "memory://room".parse().unwrap()).nothing_between()
}

async fn found_out(liar: impl Transport) -> String {
    profile_is_true(&in_a_room(liar)).await.unwrap_err().to_string()
}

/// Says something else of its links than is true.
struct Lying<T> {
    inner: T,
    estimate: fn(&mut LinkProfile),
    link: fn(&mut LinkProfile),
    /// Sends every second frame before the first.
    swaps: bool,
}

impl<T> Lying<T> {
    fn new(inner: T) -> Self {
        Self { inner, estimate: |_| {}, link: |_| {}, swaps: false }
    }
    fn links(mut self, lie: fn(&mut LinkProfile)) -> Self {
        (self.estimate, self.link) = (lie, lie);
        self
    }
}

impl<T: Transport> Transport for Lying<T> {
    fn schemes(&self) -> &'static [&'static str] {
        self.inner.schemes()
    }
    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        let mut profile = self.inner.estimate(endpoint)?;
        (self.estimate)(&mut profile);
        Ok(profile)
    }
    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let mut link = self.inner.connect(endpoint).await?;
        (self.link)(&mut link.profile);
        let tx = Swapping { tx: link.tx, swaps: self.swaps, held: None };
        Ok(Link::new(tx, Passing(link.rx), link.profile, link.peer))
    }
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        self.inner.listen(endpoint).await
    }
}

struct Swapping {
    tx: LinkSender,
    swaps: bool,
    held: Option<Frame>,
}

impl SendFrames for Swapping {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        if self.swaps && self.held.is_none() {
            self.held = Some(frame);
            return Ok(());
        }
        self.tx.send(frame).await?;
        match self.held.take() {
            Some(held) => self.tx.send(held).await,
            None => Ok(()),
        }
    }
    async fn finish(&mut self) -> Result<()> {
        if let Some(held) = self.held.take() {
            self.tx.send(held).await?;
        }
        self.tx.finish().await
    }
}

struct Passing(LinkReceiver);

impl RecvFrames for Passing {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        self.0.recv().await
    }
}

/// A place in the file system, whose errors may tell where it is not.
struct InFiles {
    memory: Memory,
    tells: bool,
}

impl Transport for InFiles {
    fn schemes(&self) -> &'static [&'static str] {
        &["loud"]
    }
    fn estimate(&self, _: &Endpoint) -> Result<LinkProfile> {
        self.memory.estimate(&"memory://room".parse()?)
    }
    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        if endpoint.scheme() == "memory" {
            return self.memory.connect(endpoint).await;
        }
        let text = if self.tells { format!("nobody is at {endpoint}") } else { "nobody is there".to_owned() };
        Err(Error::new(ErrorKind::Unreachable, text))
    }
    async fn listen(&self, _: &Endpoint) -> Result<Listener> {
        self.memory.listen(&"memory://room".parse()?).await
    }
}
