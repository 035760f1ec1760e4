//! A server that may be first and never answers, and a client that is gone meanwhile.

use meow_client::HopMarks;
use meow_core::lane::ServerReference;
use meow_transport::{Memory, Transports};
use tokio::time::Instant;

use super::*;
use crate::direct::Running;
use crate::wire::Wire;

/// Somebody whose chains begin at a server that is being dialled for its catalog, for as long as that may take.
async fn asking() -> (User, Client, Wire) {
    let wire = Wire::new(Transports::new().with(Memory::new()));
    let user = User { disk: Arc::default(), transports: Transports::new().with(wire.clone()) };
    let (client, _) = user.builder().create(&key()).await.unwrap();
    let url = "memory://hop".parse().unwrap();
    let hop = ServerReference { url, fingerprint: [1; 32], invite: None };
    client.add_hop(&hop, HopMarks::default(), &key()).await.unwrap();
    let by_any = routes(["matriochka first=known".parse().unwrap()]);
    client.weaken_default_policy(by_any, &key()).await.unwrap();
    wire.hold(&["hop"]);
    let draws = tokio::spawn({
        let client = client.clone();
        async move { client.chain_warnings().await }
    });
    crate::direct::until(async || wire.under_way("hop") == 1).await;
    draws.abort();
    assert!(draws.await.unwrap_err().is_cancelled());
    assert_eq!(wire.under_way("hop"), 1, "chains that are drawn next wait for the same answer");
    (user, client, wire)
}

#[tokio::test(start_paused = true)]
async fn asking_for_a_catalog_keeps_no_client_that_is_dropped() {
    let (user, client, wire) = asking().await;
    let began = Instant::now();
    drop(client);
    let store = user.disk.store.lock().unwrap().take().unwrap();
    assert_eq!(Arc::strong_count(&store), 1);
    crate::direct::until(async || wire.under_way("hop") == 0).await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn asking_for_a_catalog_ends_when_the_client_sleeps() {
    let (_user, client, wire) = asking().await;
    let _running = Running::new(&client);
    tokio::task::yield_now().await;
    let began = Instant::now();
    client.suspend();
    crate::direct::until(async || wire.under_way("hop") == 0).await;
    assert!(began.elapsed() < Duration::from_secs(1));
}
