use meow_client::EventKind;
use meow_client::store::MemoryClientStore;
use meow_core::store::{ClientStore, StoreTxn, Table};
use std::sync::Arc;

use crate::support::{User, World, events, has, received, send, sync};

/// A copy of a store, as a snapshot of a disk would be.
pub(crate) fn copy(of: &Arc<dyn ClientStore>) -> Arc<dyn ClientStore> {
    let to = MemoryClientStore::new();
    let mut rows = Vec::new();
    of.read(&mut |txn: &dyn StoreTxn| {
        for table in Table::ALL {
            for (key, value) in txn.scan(table, &[], None, usize::MAX, false)? {
                rows.push((table, key, value));
            }
        }
        Ok(())
    })
    .unwrap();
    to.write(&mut |txn| rows.iter().try_for_each(|(t, k, v)| txn.put(*t, k, v))).unwrap();
    Arc::new(to)
}

pub(crate) fn snapshot(user: &User) -> Arc<dyn ClientStore> {
    copy(user.disk.store.lock().unwrap().as_ref().unwrap())
}

#[tokio::test]
async fn a37_a_restored_snapshot_is_noticed_and_everything_comes_back() {
    let world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    send(&alice, "bob", "kept").await;
    sync(&alice).await;
    sync(&bob).await;
    sync(&alice).await;
    let old = snapshot(&a);

    // The timeline that will be lost.
    send(&alice, "bob", "lost here, known there").await;
    sync(&alice).await;
    sync(&bob).await;
    send(&bob, "alice", "acknowledged and lost").await;
    sync(&bob).await;
    sync(&alice).await;
    drop(alice);

    *a.disk.store.lock().unwrap() = Some(old);
    let alice = a.open().await;
    events(&alice).await;
    send(&alice, "bob", "after the restore").await;
    for _ in 0..6 {
        alice.sync(std::time::Duration::ZERO).await.unwrap();
        bob.sync(std::time::Duration::ZERO).await.unwrap();
    }
    let seen = events(&alice).await;
    assert!(has(&seen, |e| *e == EventKind::RolledBack));
    assert!(has(&seen, |e| *e == EventKind::Renewed));
    assert_eq!(received(&alice, "bob").await, ["acknowledged and lost"]);
    assert_eq!(received(&bob, "alice").await, ["kept", "lost here, known there", "after the restore"]);
    let seen = events(&bob).await;
    assert!(!has(&seen, |e| matches!(e, EventKind::Fork | EventKind::Unreadable)));
}

#[tokio::test]
async fn a01_a_replayed_mailbox_is_accepted_by_nobody() {
    let world = World::new().await;
    let (a, alice, _, bob) = world.pair().await;
    for i in 0..5 {
        send(&bob, "alice", &format!("message {i}")).await;
    }
    sync(&bob).await;
    // A copy that has not seen them, on a server that plays them again to the one that has.
    let before = snapshot(&a);
    sync(&alice).await;
    drop(alice);
    let fresh = a.open().await;
    sync(&fresh).await;
    assert_eq!(received(&fresh, "bob").await.len(), 5);
    *a.disk.store.lock().unwrap() = Some(before);
    let restored = a.open().await;
    for _ in 0..5 {
        restored.sync(std::time::Duration::ZERO).await.unwrap();
        bob.sync(std::time::Duration::ZERO).await.unwrap();
    }
    assert_eq!(received(&restored, "bob").await.len(), 5, "each once, sent again by Bob");
}
