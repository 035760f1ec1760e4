//! A transport that misbehaves by a seed, for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meow_core::transport::{
    Accept, Endpoint, Frame, Link, LinkProfile, LinkReceiver, LinkSender, Listener, RecvFrames, SendFrames,
    Transport,
};
use meow_core::{Error, ErrorKind, Result, Retry};
use tokio_util::sync::CancellationToken;

/// What goes wrong, and how often, in thousandths.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Decides everything: equal seeds and equal use give equal faults.
    pub seed: u64,
    /// A `connect` is refused.
    pub refuse: u16,
    /// A sent frame vanishes.
    pub drop: u16,
    /// A sent frame arrives twice.
    pub duplicate: u16,
    /// A sent frame waits for up to [`longest_delay`](Self::longest_delay) first, and those after it too.
    pub delay: u16,
    /// The link breaks instead of sending a frame.
    pub cut: u16,
    /// The longest delay of a frame.
    pub longest_delay: Duration,
}

impl Faults {
    /// No faults yet, with this seed: the start of a struct update.
    pub fn seeded(seed: u64) -> Self {
        let longest_delay = Duration::from_millis(100);
        Self { seed, refuse: 0, drop: 0, duplicate: 0, delay: 0, cut: 0, longest_delay }
    }
}

/// Injects faults into connecting and into what is sent, on dialled and on accepted links.
///
/// A link that may drop or duplicate frames says so: its profile is not `reliable`.
#[derive(Debug)]
pub struct FaultInjection<T> {
    inner: T,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    faults: Faults,
    /// Links and dials so far: each has a random stream of its own.
    streams: AtomicU64,
}

/// SplitMix64: small, seedable, and good enough to decide which frame to lose.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn hits(&mut self, thousandths: u16) -> bool {
        self.next() % 1000 < u64::from(thousandths)
    }
}

impl Plan {
    fn dice(&self) -> Dice {
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        Dice(Dice(self.faults.seed ^ stream.rotate_left(32)).next())
    }

    fn profile(&self, mut profile: LinkProfile) -> LinkProfile {
        profile.reliable &= self.faults.drop == 0 && self.faults.duplicate == 0;
        profile
    }

    fn infect(self: &Arc<Self>, link: Link) -> Link {
        let cut = CancellationToken::new();
        let tx = Tx { inner: Some(link.tx), plan: Arc::clone(self), dice: self.dice(), cut: cut.clone() };
        Link::new(tx, Rx { inner: link.rx, cut }, self.profile(link.profile), link.peer)
    }
}

impl<T: Transport> FaultInjection<T> {
    /// Wraps a transport.
    pub fn new(inner: T, faults: Faults) -> Self {
        Self { inner, plan: Arc::new(Plan { faults, streams: AtomicU64::new(0) }) }
    }
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("injected fault: {what}")).with_retry(Retry::Now)
}

impl<T: Transport> Transport for FaultInjection<T> {
    fn schemes(&self) -> &'static [&'static str] {
        self.inner.schemes()
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        Ok(self.plan.profile(self.inner.estimate(endpoint)?))
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        if self.plan.dice().hits(self.plan.faults.refuse) {
            return Err(broken("connection refused"));
        }
        Ok(self.plan.infect(self.inner.connect(endpoint).await?))
    }

    async fn connect_through(&self, endpoint: &Endpoint) -> Result<Link> {
        if self.plan.dice().hits(self.plan.faults.refuse) {
            return Err(broken("connection refused"));
        }
        Ok(self.plan.infect(self.inner.connect_through(endpoint).await?))
    }

    async fn connect_sparingly(&self, endpoint: &Endpoint) -> Result<Link> {
        if self.plan.dice().hits(self.plan.faults.refuse) {
            return Err(broken("connection refused"));
        }
        Ok(self.plan.infect(self.inner.connect_sparingly(endpoint).await?))
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        let inner = self.inner.listen(endpoint).await?;
        let local = inner.local().clone();
        Ok(Listener::new(Acceptor { inner, plan: Arc::clone(&self.plan) }, local))
    }
}

struct Acceptor {
    inner: Listener,
    plan: Arc<Plan>,
}

impl Accept for Acceptor {
    async fn accept(&mut self) -> Result<Option<Link>> {
        Ok(self.inner.accept().await?.map(|link| self.plan.infect(link)))
    }
    async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}

struct Tx {
    /// None once the link is cut: dropping it is how the far side learns.
    inner: Option<LinkSender>,
    plan: Arc<Plan>,
    dice: Dice,
    cut: CancellationToken,
}

impl SendFrames for Tx {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        let faults = &self.plan.faults;
        if self.dice.hits(faults.cut) {
            self.cut.cancel();
            self.inner = None;
        }
        let Some(inner) = &mut self.inner else { return Err(broken("link cut")) };
        if self.dice.hits(faults.delay) {
            let longest = u64::try_from(faults.longest_delay.as_micros()).unwrap_or(u64::MAX);
            let micros = self.dice.next() % longest.saturating_add(1).max(1);
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
        if self.dice.hits(faults.drop) {
            return Ok(());
        }
        if self.dice.hits(faults.duplicate) {
            inner.send(frame.clone()).await?;
        }
        inner.send(frame).await
    }

    async fn finish(&mut self) -> Result<()> {
        match &mut self.inner {
            Some(inner) => inner.finish().await,
            None => Err(broken("link cut")),
        }
    }

    async fn closed(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.closed().await;
        }
    }
}

struct Rx {
    inner: LinkReceiver,
    cut: CancellationToken,
}

impl RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        tokio::select! {
            biased;
            () = self.cut.cancelled() => Err(broken("link cut")),
            frame = self.inner.recv() => frame,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    async fn arrivals(faults: Faults) -> Vec<u8> {
        let transport = FaultInjection::new(Memory::new(), faults);
        let endpoint: Endpoint = "memory://room".parse().unwrap();
        let mut listener = transport.listen(&endpoint).await.unwrap();
        let mut near = transport.connect(&endpoint).await.unwrap();
        let mut far = listener.accept().await.unwrap().unwrap();
        let send = async move {
            for n in 0..200u8 {
                near.tx.send(vec![n].into()).await?;
            }
            near.tx.finish().await
        };
        let receive = async move {
            let mut seen = Vec::new();
            while let Ok(Some(frame)) = far.rx.recv().await {
                seen.extend_from_slice(&frame);
            }
            seen
        };
        tokio::join!(send, receive).1
    }

    #[tokio::test(start_paused = true)]
    async fn equal_seeds_give_equal_faults() {
        let faults = Faults { drop: 100, duplicate: 100, delay: 100, ..Faults::seeded(7) };
        let seen = arrivals(faults.clone()).await;
        assert_eq!(seen, arrivals(faults.clone()).await);
        assert_ne!(seen, arrivals(Faults { seed: 8, ..faults }).await);
        assert!(seen.is_sorted() && seen.windows(2).any(|w| w[0] == w[1]));
        assert!((0..200).any(|n| !seen.contains(&n)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_is_seen_on_both_sides_and_without_faults_all_arrives() {
        let cut = arrivals(Faults { cut: 20, ..Faults::seeded(3) }).await;
        assert!(cut.len() < 200 && cut.iter().copied().eq(0..cut.len() as u8));
        assert_eq!(arrivals(Faults::seeded(3)).await.len(), 200);
    }

    #[test]
    fn lossy_links_say_so() {
        let endpoint: Endpoint = "memory://x".parse().unwrap();
        let lossy = FaultInjection::new(Memory::new(), Faults { drop: 1, ..Faults::seeded(0) });
        assert!(!lossy.estimate(&endpoint).unwrap().reliable);
        let slow = FaultInjection::new(Memory::new(), Faults { delay: 1, ..Faults::seeded(0) });
        assert!(slow.estimate(&endpoint).unwrap().reliable);
    }
}
