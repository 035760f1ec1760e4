use meow_core::crypto::SystemRandom;
use meow_core::onion::{Delay, OnionClass, Step, seal};
use meow_core::request::{ClearAnswer, DESCRIBE};
use meow_core::transport::Endpoint;
use meow_transport::{Memory, Transports};

use super::*;
use crate::relay::RelayHandle;
use crate::{HopCounts, Relay};

async fn relay(dir: &std::path::Path, transports: &Transports) -> RelayHandle {
    Relay::builder()
        .transports(transports.clone())
        .listen("memory://relay".parse().unwrap())
        .data(dir)
        .unwrap()
        .hop(crate::Hop::new(Transports::new()).tags(dir.join("seen.tags")))
        .start()
        .await
        .unwrap()
}

fn counts(node: &Node) -> HopCounts {
    node.hop.as_ref().unwrap().counts.read()
}

/// A packet that ends at this hop.
fn packet(node: &Node) -> Vec<u8> {
    let hop = node.hop.as_ref().unwrap();
    let key = (0..=u8::MAX).find_map(|hint| node.hop_key(hint)).unwrap();
    let step = Step { id: hop.own, number: key.number(), key: *key.public(), delay: Delay::NONE };
    seal(OnionClass::Small, &[step], &DESCRIBE, &mut SystemRandom).unwrap()
}

#[tokio::test]
async fn a_packet_whose_link_goes_while_its_tag_is_written_goes_on_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let transports = Transports::new().with(Memory::new());
    let relay = relay(dir.path(), &transports).await;
    let (node, packet) = (Arc::clone(&relay.node), packet(&relay.node));
    let hop = node.hop.as_ref().unwrap();
    let at: Endpoint = "memory://beside".parse().unwrap();
    let mut beside = transports.listen(&at).await.unwrap();

    // The disk is slow, and the server before has waited long enough.
    let slow = hop.tags.stall();
    let mut link = transports.connect(&at).await.unwrap();
    link.tx.send(packet.clone().into()).await.unwrap();
    let (serving, came) = (Arc::clone(&node), beside.accept().await.unwrap().unwrap());
    let served = tokio::spawn(async move { exchange::run(&serving, 0, came).await });
    while hop.tags.queued() == 0 {
        tokio::task::yield_now().await;
    }
    drop(link);
    served.await.unwrap();
    assert_eq!(counts(&node), HopCounts::default());

    // The disk is done. What the server before sends again is a replay, and "taken" is true.
    drop(slow);
    let mut link = transports.connect(&relay.local[0]).await.unwrap();
    link.tx.send(packet.into()).await.unwrap();
    link.tx.finish().await.unwrap();
    let answer = link.rx.recv().await.unwrap().unwrap();
    assert_eq!(ClearAnswer::from_packet(&answer).unwrap(), ClearAnswer::Taken);
    let delivered = tokio::time::timeout(Duration::from_secs(60), async {
        while counts(&node).delivered == 0 {
            tokio::task::yield_now().await;
        }
    });
    assert!(delivered.await.is_ok(), "{:?}", counts(&node));
    assert_eq!((counts(&node).taken, counts(&node).replayed), (2, 1));
    relay.shutdown().await;
}
