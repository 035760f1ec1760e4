//! Power cuts at every commit: the process ends there, before or after the commit, and starts again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use meow_core::store::{ClientStore, StoreTxn};
use meow_core::{Error, ErrorKind, Result};

use crate::support::{User, World, received, send};

/// A store that fails from the n-th write on, until it is mended. Even numbers fail before the commit, odd
/// ones after it: done, but nobody was told.
struct Fragile {
    inner: Arc<dyn ClientStore>,
    left: AtomicI64,
}

fn cut() -> Error {
    Error::new(ErrorKind::System, "power cut")
}

impl ClientStore for Fragile {
    fn read(&self, work: &mut dyn FnMut(&dyn StoreTxn) -> Result<()>) -> Result<()> {
        if self.left.load(Ordering::SeqCst) <= 0 {
            return Err(cut());
        }
        self.inner.read(work)
    }
    fn write(&self, work: &mut dyn FnMut(&mut dyn StoreTxn) -> Result<()>) -> Result<()> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            n if n > 2 => self.inner.write(work),
            2 => {
                self.inner.write(work)?;
                self.left.store(0, Ordering::SeqCst);
                Err(cut())
            }
            _ => Err(cut()),
        }
    }
    fn verify(&self) -> Result<()> {
        self.inner.verify()
    }
}

/// Runs `step` again and again, each time with one more commit before the cut, until it comes through whole.
pub(crate) async fn with_cuts(
    user: &User,
    steps: i64,
    step: impl AsyncFn(&meow_client::Client) -> Result<()>,
) {
    let whole = user.disk.store.lock().unwrap().clone().unwrap();
    for commits in 1..=steps {
        let fragile = Fragile { inner: whole.clone(), left: AtomicI64::new(commits) };
        *user.disk.store.lock().unwrap() = Some(Arc::new(fragile));
        if let Ok(client) = user.builder().open(&crate::support::key()).await {
            // The cut is what this is about.
            let _cut = step(&client).await;
        }
    }
    *user.disk.store.lock().unwrap() = Some(whole);
}

#[tokio::test]
async fn a49_a_power_cut_at_every_commit_loses_and_doubles_nothing() {
    let world = World::new().await;
    let (a, alice, b, bob) = world.pair().await;
    drop((alice, bob));
    for round in 0..4 {
        let (alice, bob) = (a.open().await, b.open().await);
        for i in 0..3 {
            send(&alice, "bob", &format!("a {round} {i}")).await;
            send(&bob, "alice", &format!("b {round} {i}")).await;
        }
        drop((alice, bob));
        let both = [&a, &b];
        for user in both {
            with_cuts(user, 30, async |client| client.sync(Duration::ZERO).await.map(|_| ())).await;
        }
    }
    let (alice, bob) = (a.open().await, b.open().await);
    for _ in 0..6 {
        alice.sync(Duration::ZERO).await.unwrap();
        bob.sync(Duration::ZERO).await.unwrap();
    }
    let want = |p: &str| -> Vec<String> {
        (0..4).flat_map(|r| (0..3).map(move |i| format!("{p} {r} {i}"))).collect()
    };
    assert_eq!(received(&bob, "alice").await, want("a"));
    assert_eq!(received(&alice, "bob").await, want("b"));
}
