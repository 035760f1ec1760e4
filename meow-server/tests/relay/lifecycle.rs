//! What honest clients do.

use std::time::Duration;

use meow_core::request::{Answer, Items, RefusalCode};
use meow_core::wire::SIZE_CLASSES;

use crate::setup::{HTTP, MEMORY, Setup};
use crate::support::client::{fresh, items, refused};
use crate::support::{Client, Owner};

async fn both(test: impl AsyncFn(&Client)) {
    for listen in [MEMORY, HTTP] {
        let setup = Setup::with(listen, |builder| builder).await;
        test(&setup.client).await;
        setup.relay.shutdown().await;
    }
}

#[tokio::test]
async fn the_life_of_a_mailbox() {
    both(async |client| {
        let mut owner = Owner::registered(client).await;
        assert_eq!(items(client.ask(owner.pull(0, 0), 0).await), Items::default());

        let id = fresh();
        for _ in 0..2 {
            assert_eq!(
                client.ask(owner.deposit(id, b"first"), 0).await,
                Answer::Done,
                "the same id is the same deposit"
            );
        }
        assert_eq!(client.deposit(&owner, b"second").await, Answer::Done);
        let got = items(client.ask(owner.pull(0, 0), 1).await);
        let numbers: Vec<_> = got.items.iter().map(|item| (item.number, item.item.to_vec())).collect();
        assert_eq!(numbers, [(1, b"first".to_vec()), (2, b"second".to_vec())]);

        let got = items(client.ask(owner.pull(1, 0), 1).await);
        assert_eq!(got.items.len(), 1);
        assert_eq!(client.ask(owner.acknowledge(2), 0).await, Answer::Done);
        assert_eq!(items(client.ask(owner.pull(0, 0), 0).await), Items::default());

        assert_eq!(client.ask(owner.close(true), 0).await, Answer::Done);
        assert_eq!(refused(&client.deposit(&owner, b"late").await), RefusalCode::Denied);
        assert_eq!(refused(&client.ask(owner.register(""), 0).await), RefusalCode::Denied, "closed for good");
    })
    .await;
}

#[tokio::test]
async fn registering_again_changes_the_token_and_keeps_the_mail() {
    let Setup { client, .. } = &Setup::memory().await;
    let mut owner = Owner::registered(client).await;
    assert_eq!(client.deposit(&owner, b"mail").await, Answer::Done);
    let before = owner.clone();
    owner.token = fresh();
    assert_eq!(client.ask(owner.register(""), 0).await, Answer::Done);
    assert_eq!(refused(&client.deposit(&before, b"old token").await), RefusalCode::Denied);
    assert_eq!(client.deposit(&owner, b"new token").await, Answer::Done);
    assert_eq!(owner.drain(client).await, [b"mail".to_vec(), b"new token".to_vec()]);
}

#[tokio::test]
async fn a_mailbox_is_closed_by_its_own_key_or_its_close_key_only() {
    let Setup { client, .. } = &Setup::memory().await;
    let mut owner = Owner::registered(client).await;
    let mut thief = Owner::new(&client.server);
    (thief.lkp, thief.counter) = (owner.lkp.clone(), 100);
    assert_eq!(refused(&client.ask(thief.close(true), 0).await), RefusalCode::Denied, "another close key");
    assert_eq!(client.deposit(&owner, b"x").await, Answer::Done);
    assert_eq!(client.ask(owner.close(false), 0).await, Answer::Done);
}

#[tokio::test]
async fn answers_take_what_fits_and_say_what_is_needed() {
    both(async |client| {
        let mut owner = Owner::registered(client).await;
        for size in [96, 96, 96, 8032] {
            assert_eq!(client.deposit(&owner, &vec![7; size]).await, Answer::Done);
        }
        let got = items(client.ask(owner.pull(0, 0), 0).await);
        assert_eq!((got.items.len(), got.more, got.need), (2, true, 0), "three do not fit 256 bytes");
        let got = items(client.ask(owner.pull(2, 0), 1).await);
        assert_eq!((got.items.len(), got.more, got.need), (1, true, 3));
        let got = items(client.ask(owner.pull(3, 0), 2).await);
        assert_eq!((got.items.len(), got.more, got.need), (0, true, 3));
        let got = items(client.ask(owner.pull(3, 0), 3).await);
        assert_eq!((got.items.len(), got.more), (1, false));
    })
    .await;
}

#[tokio::test]
async fn the_largest_item_crosses_in_one_packet_each_way() {
    both(async |client| {
        let mut owner = Owner::registered(client).await;
        for (class, size) in meow_core::request::ITEM_SIZES.into_iter().enumerate() {
            let (packet, _) = client.seal(owner.deposit(fresh(), &vec![1; size]), 0);
            assert_eq!(packet.len(), SIZE_CLASSES[class]);
            assert_eq!(client.deposit(&owner, &vec![1; size]).await, Answer::Done);
            let got = items(client.ask(owner.pull(class as u64, 0), class as u8).await);
            assert_eq!(got.items.len(), 1, "{size}");
        }
    })
    .await;
}

#[tokio::test]
async fn blobs_wait_beside_a_mailbox() {
    both(async |client| {
        let mut owner = Owner::registered(client).await;
        let (name, far) = (fresh(), u64::MAX);
        assert_eq!(refused(&client.ask(owner.blob_get(name), 4).await), RefusalCode::NotFound);
        let content = vec![5; 32_000];
        assert_eq!(client.ask(owner.blob_put(name, far, &content), 0).await, Answer::Done);
        match client.ask(owner.blob_get(name), 4).await {
            Answer::Blob(blob) => assert!(*blob == *content),
            other => panic!("{other:?}"),
        }
        assert_eq!(refused(&client.ask(owner.blob_get(name), 0).await), RefusalCode::TooLarge);
        // A clock that runs a day behind still parks a blob for now.
        assert_eq!(client.ask(owner.blob_put(name, 1, b"two"), 0).await, Answer::Done);
        assert!(matches!(client.ask(owner.blob_get(name), 0).await, Answer::Blob(_)));
        owner.token = fresh();
        assert_eq!(refused(&client.ask(owner.blob_get(name), 0).await), RefusalCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_held_pull_ends_with_the_mail_that_comes() {
    both(async |client| {
        let mut owner = Owner::registered(client).await;
        let depositor = owner.clone();
        let pull = owner.pull(0, 50);
        let (got, ()) = tokio::join!(client.ask(pull, 1), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(client.deposit(&depositor, b"here").await, Answer::Done);
        });
        assert_eq!(items(got).items[0].item.to_vec(), b"here");
    })
    .await;
}

#[tokio::test]
async fn mail_that_came_before_is_not_waited_for() {
    let Setup { client, .. } = &Setup::memory().await;
    let mut owner = Owner::registered(client).await;
    assert_eq!(client.deposit(&owner, b"there").await, Answer::Done);
    assert_eq!(items(client.ask(owner.pull(0, 50), 1).await).items.len(), 1);
}

#[tokio::test]
async fn stopping_answers_a_held_pull() {
    for listen in [MEMORY, HTTP] {
        let setup = Setup::with(listen, |builder| builder).await;
        let mut owner = Owner::registered(&setup.client).await;
        let (client, pull) = (setup.client.clone(), owner.pull(0, 50));
        let held = tokio::spawn(async move { client.ask(pull, 1).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        setup.relay.shutdown().await;
        assert_eq!(items(held.await.unwrap()), Items::default());
        assert!(setup.client.exchange(vec![0, 0]).await.is_err(), "nobody listens any more");
    }
}

#[tokio::test]
async fn who_hangs_up_frees_the_place_of_his_pull() {
    for listen in [MEMORY, HTTP] {
        let mut limits = meow_server::RelayLimits::default();
        limits.held_pulls = 1;
        let Setup { client, relay, .. } = Setup::with(listen, |builder| builder.limits(limits)).await;
        let mut owner = Owner::registered(&client).await;
        let mut other = Owner::registered(&client).await;
        let far = client.clone();
        let held = tokio::spawn(async move {
            while matches!(far.ask(owner.pull(0, 50), 1).await, Answer::Refused(_)) {}
        });
        // Both want the one place. Who is held keeps it, and then the other is refused.
        while !matches!(client.ask(other.pull(0, 1), 0).await, Answer::Refused(r) if r.code == RefusalCode::Busy)
        {
        }
        held.abort();
        // And free again when it is not.
        while matches!(client.ask(other.pull(0, 1), 0).await, Answer::Refused(_)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        relay.shutdown().await;
    }
}

#[tokio::test]
async fn the_descriptor_tells_keys_urls_and_limits() {
    let public = "https://relay.example/".parse().unwrap();
    let setup = Setup::with(HTTP, |builder| builder.public_url(public)).await;
    let descriptor = setup.client.descriptor().await;
    assert_eq!(
        descriptor.urls.iter().map(|url| url.to_string()).collect::<Vec<_>>(),
        ["https://relay.example/"]
    );
    assert_eq!(descriptor.keys.iter().map(|key| key.parcel).collect::<Vec<_>>(), [false, true]);
    assert_eq!(descriptor.limits, meow_server::RelayLimits::default().mailbox);
    assert!(descriptor.expires > descriptor.issued);
    let reference = setup.relay.reference().to_string();
    assert!(reference.starts_with("https://relay.example/#skp="), "{reference}");
}
