//! A server that lies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use meow_core::crypto::{DhSecret, SigningKey, SystemRandom};
use meow_core::delivery::Delivery;
use meow_core::lane::ServerReference;
use meow_core::request::{
    Answer, ClearAnswer, DESCRIBE, Descriptor, Items, Limits, OpenedRequest, RequestKind, SealingKey,
    SignedDescriptor, fingerprint,
};
use meow_core::wire::List;
use meow_core::{ErrorKind, Result};
use meow_transport::Transports;

use crate::support::{World, befriend, delivery, key, received, send};

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
    liar_at(transports, name, stop, Arc::default(), answer).await
}

/// The same, with a clock that the test sets.
pub(crate) async fn liar_at(
    transports: &Transports,
    name: &str,
    stop: Arc<AtomicBool>,
    issued: Arc<AtomicU64>,
    answer: impl Fn(&RequestKind) -> Answer + Send + Sync + 'static,
) -> ServerReference {
    let answer = Arc::new(answer);
    let mut random = SystemRandom;
    let skp = SigningKey::generate(&mut random).unwrap();
    let secret = DhSecret::generate(&mut random).unwrap();
    let server = fingerprint(&skp.public());
    let key = SealingKey { number: 1, key: secret.public(), parcel: false, not_after: u64::MAX };
    let limits = Limits {
        item: 32_608,
        mailbox_items: 1,
        mailbox_bytes: 1,
        keep_secs: 600,
        wait_secs: 1,
        blob: 32_000,
    };
    let descriptor = Descriptor {
        skp: skp.public(),
        issued: 0,
        expires: u64::MAX,
        urls: List::default(),
        keys: List::new(vec![key]).unwrap(),
        limits,
        hop: None,
    };
    let skp = Arc::new(skp);
    let url = format!("memory://{name}").parse().unwrap();
    let mut listener = transports.listen(&url).await.unwrap();
    tokio::spawn(async move {
        while let Ok(Some(mut link)) = listener.accept().await {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let descriptor = Descriptor { issued: issued.load(Ordering::SeqCst), ..descriptor.clone() };
            let (skp, secret, say) = (skp.clone(), secret.clone(), answer.clone());
            tokio::spawn(async move {
                let packet = link.rx.recv().await?.unwrap_or_default();
                let answer = if *packet == DESCRIBE {
                    let signed = SignedDescriptor::sign(descriptor, &skp)?;
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

#[tokio::test]
async fn an_old_descriptor_played_back_is_refused_until_the_user_says_otherwise() {
    let user = World::new().await.user().await;
    let issued = Arc::new(AtomicU64::new(100));
    let stop = Arc::<AtomicBool>::default();
    let reference = liar_at(&user.transports, "replayed", stop, issued.clone(), |_| Answer::Done).await;
    let card = async |client: &meow_client::Client, name: &str| {
        client.new_card(name, Duration::from_secs(60), &key()).await
    };
    let client = user.open().await;
    for server in client.servers().await.unwrap() {
        client.remove_server(server.reference.fingerprint).await.unwrap();
    }
    client.add_server(&reference).await.unwrap();
    card(&client, "a").await.unwrap();
    drop(client);

    // Another run remembers it.
    issued.store(99, Ordering::SeqCst);
    let client = user.open().await;
    let refused = card(&client, "b").await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Malformed);
    issued.store(100, Ordering::SeqCst);
    card(&client, "c").await.unwrap();
    drop(client);

    // The operator's clock was ahead, and is right now.
    issued.store(50, Ordering::SeqCst);
    let client = user.open().await;
    assert!(card(&client, "d").await.is_err());
    client.add_server(&reference).await.unwrap();
    card(&client, "e").await.unwrap();
    drop(client);
    card(&user.open().await, "f").await.unwrap();
}
