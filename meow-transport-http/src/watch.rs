//! Bounds that outlive a single request: bytes in memory, and patience with a connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

/// How many bytes of requests and answers one listener holds in memory.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }
}

/// Bytes of one exchange, taken from its connection's allowance or from the [`Budget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    activity: Arc<Activity>,
    allowed: usize,
    budgeted: usize,
}

/// What each connection may hold without asking the budget: small exchanges leave alone the one number that all
/// connections change.
const ALLOWANCE: usize = 4096;

/// Adds to a counter, unless that would take it over its limit.
fn take(counter: &AtomicUsize, bytes: usize, limit: usize) -> bool {
    let before = counter.fetch_add(bytes, Relaxed);
    let fits = before.checked_add(bytes).is_some_and(|after| after <= limit);
    if !fits {
        counter.fetch_sub(bytes, Relaxed);
    }
    fits
}

impl Share {
    /// Takes more. False, and nothing taken, if there is not that much left.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        if take(&self.activity.held, bytes, ALLOWANCE) {
            self.allowed += bytes;
            return true;
        }
        let budget = &self.activity.budget;
        let fits = take(&budget.used, bytes, budget.max);
        if fits {
            self.budgeted += bytes;
        }
        fits
    }

    /// Moves all that this share holds into another one.
    pub(crate) fn take(&mut self) -> Self {
        let (allowed, budgeted) = (std::mem::take(&mut self.allowed), std::mem::take(&mut self.budgeted));
        Self { activity: Arc::clone(&self.activity), allowed, budgeted }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.allowed > 0 {
            self.activity.held.fetch_sub(self.allowed, Relaxed);
        }
        if self.budgeted > 0 {
            self.activity.budget.used.fetch_sub(self.budgeted, Relaxed);
        }
    }
}

/// What happens on one connection. Counted by its requests, judged by [`Watch`].
#[derive(Debug)]
pub(crate) struct Activity {
    /// Requests begun, and times that bytes of an answer were taken.
    progress: AtomicUsize,
    /// Requests whose answer is not ready.
    busy: AtomicUsize,
    /// Answers that are not wholly taken.
    unsent: AtomicUsize,
    /// Bytes within the connection's allowance.
    held: AtomicUsize,
    budget: Arc<Budget>,
}

impl Activity {
    pub(crate) fn new(budget: &Arc<Budget>) -> Arc<Self> {
        let zero = || AtomicUsize::new(0);
        let budget = Arc::clone(budget);
        Arc::new(Self { progress: zero(), busy: zero(), unsent: zero(), held: zero(), budget })
    }

    /// Counts a request until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.progress.fetch_add(1, Relaxed);
        self.busy.fetch_add(1, Relaxed);
        Busy(Arc::clone(self))
    }

    /// A share of what may be held, empty at first.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { activity: Arc::clone(self), allowed: 0, budgeted: 0 }
    }
}

pub(crate) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Relaxed);
    }
}

/// Judges a connection at regular ticks. No timer is touched by a request, so requests stay cheap.
#[derive(Debug)]
pub(crate) struct Watch {
    activity: Arc<Activity>,
    progress: usize,
    quiet_ticks: u8,
}

impl Watch {
    pub(crate) fn new(activity: Arc<Activity>) -> Self {
        Self { activity, progress: 0, quiet_ticks: 0 }
    }

    /// Whether, for two ticks now, either answers lay ready and no byte was taken, or nothing went on at all. A
    /// request that waits for its answer (a long poll) is no stall.
    pub(crate) fn stalled(&mut self) -> bool {
        let progress = self.activity.progress.load(Relaxed);
        let waits_for_us = self.activity.busy.load(Relaxed) > 0 && self.activity.unsent.load(Relaxed) == 0;
        if progress != self.progress || waits_for_us {
            self.progress = progress;
            self.quiet_ticks = 0;
        } else {
            self.quiet_ticks += 1;
        }
        self.quiet_ticks >= 2
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Answer(Option<Sent>);

impl Answer {
    pub(crate) fn new(bytes: Bytes, share: Option<Share>, activity: &Arc<Activity>) -> Self {
        activity.unsent.fetch_add(1, Relaxed);
        Self(Some(Sent { bytes, _share: share, activity: Arc::clone(activity) }))
    }
}

impl Body for Answer {
    type Data = Sent;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Sent>, Infallible>>> {
        Poll::Ready(self.0.take().map(|sent| Ok(Frame::data(sent))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |sent| sent.bytes.len() as u64))
    }
}

/// Bytes on their way out; they count until the last one is written.
#[derive(Debug)]
pub(crate) struct Sent {
    bytes: Bytes,
    _share: Option<Share>,
    activity: Arc<Activity>,
}

impl Buf for Sent {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }
    fn chunk(&self) -> &[u8] {
        &self.bytes
    }
    fn advance(&mut self, count: usize) {
        self.activity.progress.fetch_add(1, Relaxed);
        self.bytes.advance(count);
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.activity.unsent.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_never_exceeded_and_comes_back() {
        let budget = Budget::new(100_000);
        let (one, other) = (Activity::new(&budget), Activity::new(&budget));
        let (mut a, mut b) = (one.share(), other.share());
        assert!(a.grow(60_000) && b.grow(40_000) && !b.grow(ALLOWANCE + 1));
        // Each connection has its allowance beside the budget, once.
        assert!(a.grow(ALLOWANCE) && b.grow(ALLOWANCE) && !b.grow(1) && !one.share().grow(1));
        let moved = a.take();
        drop(a);
        assert!(!b.grow(1));
        drop(moved);
        assert!(b.grow(60_000) && !b.grow(usize::MAX));
        drop(b);
        assert_eq!((budget.used.load(Relaxed), one.held.load(Relaxed), other.held.load(Relaxed)), (0, 0, 0));
    }

    #[test]
    fn a_connection_stalls_when_nothing_moves() {
        let activity = Activity::new(&Budget::new(0));
        let mut watch = Watch::new(Arc::clone(&activity));
        assert!(!watch.stalled() && watch.stalled(), "idle from the start");
        let busy = activity.begin();
        assert!((0..9).all(|_| !watch.stalled()), "a long poll may take its time");
        let mut answer = Answer::new(Bytes::from_static(b"ab"), None, &activity).0.take().unwrap();
        drop(busy);
        assert!(!watch.stalled() && watch.stalled(), "nobody takes the answer");
        answer.advance(1);
        assert!(!watch.stalled());
        let busy = activity.begin();
        assert!(!watch.stalled() && !watch.stalled() && watch.stalled(), "another long poll is no excuse");
        answer.advance(1);
        drop((answer, busy));
        assert!(!watch.stalled() && !watch.stalled() && watch.stalled(), "idle again");
    }
}
