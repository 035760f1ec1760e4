//! A server that lies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meow_core::Result;
use meow_core::crypto::{DhSecret, SigningKey, SystemRandom};
use meow_core::delivery::Delivery;
use meow_core::lane::ServerReference;
use meow_core::request::{
    Answer, ClearAnswer, DESCRIBE, Descriptor, Items, Limits, OpenedRequest, RequestKind, SealingKey,
    SignedDescriptor, fingerprint,
};
use meow_core::wire::List;
use meow_transport::Transports;

use crate::support::{World, befriend, delivery, received, send};

/// Says yes to everything and keeps nothing.
async fn yes_man(transports: &Transports, name: &str, stop: Arc<AtomicBool>) -> ServerReference {
    let answer = |kind: &RequestKind| match kind {
        RequestKind::Pull(_) => Answer::Items(Items::default()),
        _ => Answer::Done,
    };
    liar(transports, name, stop, answer).await
}

/// A server that answers what it likes, under an identity of its own.
pub(crate) async fn liar(
    transports: &Transports,
    name: &str,
    stop: Arc<AtomicBool>,
    answer: impl Fn(&RequestKind) -> Answer + Send + Sync + 'static,
) -> ServerReference {
    let answer = Arc::new(answer);
    let mut random = SystemRandom;
    let skp = SigningKey::generate(&mut random).unwrap();
    let secret = DhSecret::generate(&mut random).unwrap();
    let server = fingerprint(&skp.public());
    let key = SealingKey { number: 1, key: secret.public(), parcel: false, not_after: u64::MAX };
    let limits =
        Limits { item: 32_608, mailbox_items: 1, mailbox_bytes: 1, keep_secs: 1, wait_secs: 1, blob: 32_000 };
    let descriptor = Descriptor {
        skp: skp.public(),
        issued: 0,
        expires: u64::MAX,
        urls: List::default(),
        keys: List::new(vec![key]).unwrap(),
        limits,
    };
    let signed = SignedDescriptor::sign(descriptor, &skp).unwrap();
    let url = format!("memory://{name}").parse().unwrap();
    let mut listener = transports.listen(&url).await.unwrap();
    tokio::spawn(async move {
        while let Ok(Some(mut link)) = listener.accept().await {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let (signed, secret, say) = (signed.clone(), secret.clone(), answer.clone());
            tokio::spawn(async move {
                let packet = link.rx.recv().await?.unwrap_or_default();
                let answer = if *packet == DESCRIBE {
                    ClearAnswer::Descriptor(Box::new(signed)).to_packet()?
                } else {
                    let opened = OpenedRequest::open(&packet, &server, &secret)?;
                    let answer = say(&opened.request.kind);
                    opened.reply.seal(&answer, &mut SystemRandom)?
                };
                link.tx.send(answer.into()).await?;
                link.tx.finish().await?;
                Result::<()>::Ok(())
            });
        }
    });
    ServerReference { url, fingerprint: server, invite: None }
}

#[tokio::test]
async fn a_lying_server_gets_a_message_to_stored_and_no_further() {
    let world = World::new().await;
    let stop = Arc::new(AtomicBool::new(false));
    let liar = yes_man(&world.transports, "liar", stop.clone()).await;
    let (a, b) = (world.user().await, world.user().await);
    let (alice, bob) = (a.open().await, b.open().await);
    befriend(&alice, &bob).await;
    // Bob moves his mailbox to the liar.
    bob.add_server(&liar).await.unwrap();
    bob.remove_server(world.relay.as_ref().unwrap().reference().fingerprint).await.unwrap();
    bob.rotate_mailbox("alice").await.unwrap();
    for _ in 0..3 {
        bob.sync(Duration::ZERO).await.unwrap();
        alice.sync(Duration::ZERO).await.unwrap();
    }
    let id = send(&alice, "bob", "into the void").await;
    for _ in 0..3 {
        alice.sync(Duration::ZERO).await.unwrap();
        bob.sync(Duration::ZERO).await.unwrap();
    }
    assert!(received(&bob, "alice").await.is_empty());
    assert_eq!(delivery(&alice, id).await, Delivery::Stored(1));
    stop.store(true, Ordering::Relaxed);
}
