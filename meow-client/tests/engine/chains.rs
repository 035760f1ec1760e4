//! Matriochka: what a client sends, and to whom. The relays and their links are real; `http` here are links within the
//! process, of which it is known who dialled whom.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use meow_client::{Client, EventKind, HopMarks, Presence};
use meow_core::delivery::Delivery;
use meow_core::policy::{Policy, Route};
use meow_core::transport::Addresses;
use meow_core::{ErrorKind, Result};
use meow_server::{Admission, HopLimits, Relay};

use crate::support::*;

mod lossy;
mod next_hop;
mod relays;
mod silent;
mod strangers;
mod weighed;

use relays::*;

#[tokio::test(flavor = "multi_thread")]
async fn mailbox_servers_never_see_who_uses_chains() {
    let relays = Relays::new(&["m1", "m2", "t1", "t2", "t3"]).await;
    let (alice, alices, bob, bobs) = pair(&relays).await;
    // She takes his card in its short form: the key blob comes through a chain too.
    let card = bob.new_card("alice", Duration::from_secs(3600), &key()).await.unwrap();
    let card = meow_core::card::CardFile::parse(card.uri.as_bytes()).unwrap();
    alice.take_card(&card, "bob", "hello", &key()).await.unwrap();
    let id = send(&alice, "bob", "by many ways").await;
    until(&[&alice, &bob], async || delivery(&alice, id).await == Delivery::Decrypted).await;
    // One that needs a large packet, there and back.
    let long = "a long letter ".repeat(1500);
    send(&bob, "alice", &long).await;
    let id = send(&alice, "bob", &long).await;
    until(&[&alice, &bob], async || delivery(&alice, id).await == Delivery::Decrypted).await;
    until(&[&alice, &bob], async || received(&alice, "bob").await == [long.clone()]).await;
    assert_eq!(received(&bob, "alice").await, ["by many ways", long.as_str()]);
    alice.rotate_mailbox("bob").await.unwrap();
    until(&[&alice, &bob], async || alice.contact("bob").await.unwrap().queued == 0).await;

    let trusted = names(&["t1", "t2", "t3"]);
    assert_eq!(alices.dialled(), trusted, "every one is drawn, and nobody else is dialled");
    assert_eq!(bobs.dialled(), names(&["m1", "m2"]));
    assert_eq!(alice.remove_contact("bob").await.unwrap(), 0, "its mailboxes are closed, through chains");
    assert!(alices.dialled().is_subset(&trusted));
    // What the route explains is what is done.
    let served: u64 = relays.relays.iter().map(|relay| relay.hop_counts().unwrap().delivered).sum();
    assert!(served > 10, "{served}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_chain_cut_nothing_leaves_for_a_forbidden_place() {
    let relays = Relays::new(&["m1", "m2", "t1", "t2", "t3"]).await;
    let (alice, alices, bob, _) = pair(&relays).await;
    befriend_by_chains(&alice, &bob).await;
    alices.cut(&["t1", "t2", "t3"]);
    alices.dialled();
    let id = send(&alice, "bob", "patience").await;
    for _ in 0..2 {
        let report = alice.sync(Duration::ZERO).await.unwrap();
        assert_eq!(report.waiting.unwrap().kind(), ErrorKind::Unreachable);
    }
    assert_eq!(alices.dialled(), names(&[]), "nothing at all left");
    let message = alice.message(id).await.unwrap();
    assert_eq!(message.delivery, Delivery::Queued);
    let why = message.waiting.unwrap();
    assert!(why.contains("Matriochka") && why.contains("meow route"), "{why}");
    let explained = alice.explain_route("bob").await.unwrap();
    assert!(explained.len() == 2 && explained.iter().all(|route| route.problem.is_some()), "{explained:?}");
    // Once a server is there again, it goes out by the chain and by nothing else.
    alices.cut(&[]);
    alice.network_changed();
    until(&[&alice, &bob], async || delivery(&alice, id).await == Delivery::Decrypted).await;
    assert!(alices.dialled().is_subset(&names(&["t1", "t2", "t3"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_to_which_no_chain_leads_is_left_out_of_a_card_and_not_asked_straight() {
    let relays = Relays::new(&["m1", "t1", "t2", "t3"]).await;
    let folder = tempfile::tempdir().unwrap();
    // It is no hop, and none sends on to it.
    let plain = Relay::builder()
        .transports(relays.net.transports())
        .listen("http://plain/".parse().unwrap())
        .public_url("http://plain/".parse().unwrap())
        .data(folder.path())
        .unwrap()
        .admission(Admission::Open)
        .start()
        .await
        .unwrap();
    let (_, alice, net) = relays.user().await;
    relays.trust(&alice, &["t1", "t2", "t3"]).await;
    alice.add_server(plain.reference()).await.unwrap();
    alice.set_default_policy(routes([matriochka()])).await.unwrap();
    add_server(&alice, &relays.reference("m1")).await;
    net.dialled();
    let made = alice.new_card("bob", Duration::from_secs(3600), &key()).await.unwrap();
    let [left_out] = made.left_out.as_slice() else { panic!("{made:?}") };
    assert_eq!(left_out.server, "http://plain/");
    assert!(left_out.why.contains("meow route"), "{left_out:?}");
    alice.sync(Duration::ZERO).await.unwrap();
    assert!(net.dialled().is_subset(&names(&["t1", "t2", "t3"])), "nor to close what may be there");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_contact_has_a_policy_of_its_own() {
    let relays = Relays::new(&["m1", "m2", "t1", "t2"]).await;
    let (_, alice, alices) = relays.user().await;
    alice.add_server(&relays.reference("m1")).await.unwrap();
    relays.trust(&alice, &["t1", "t2"]).await;
    let mut others = Vec::new();
    for name in ["joe", "julian", "edward"] {
        let (_, other, _) = relays.user().await;
        other.add_server(&relays.reference("m2")).await.unwrap();
        let card = other.new_card("alice", Duration::from_secs(3600), &key()).await.unwrap();
        let card = meow_core::card::CardFile::parse(&card.file).unwrap();
        alice.take_card(&card, name, "hello", &key()).await.unwrap();
        others.push(other);
    }
    let everybody: Vec<_> = [&alice].into_iter().chain(&others).collect();
    until(&everybody, async || {
        let contacts = alice.contacts().await.unwrap();
        contacts.iter().all(|c| c.status == meow_client::Status::Established && c.queued == 0)
    })
    .await;
    // Joe: by server, which is the default. Julian: directly if that is possible, else by server.
    let direct = routes([Route::Direct, Route::Server]);
    let refused = alice.set_policy("julian", direct.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongSecret, "he gets to see her address: that needs the password");
    alice.weaken_policy("julian", direct, &key()).await.unwrap();
    // Edward: by chains only. To more protection, no password.
    alice.set_policy("edward", routes([matriochka()])).await.unwrap();
    let back = alice.set_policy("edward", Policy::default()).await.unwrap_err();
    assert_eq!(back.kind(), ErrorKind::WrongSecret);

    let mut sent = Vec::new();
    for name in ["joe", "julian", "edward"] {
        sent.push(send(&alice, name, "hello").await);
    }
    until(&everybody, async || {
        let mut done = true;
        for id in &sent {
            done &= delivery(&alice, *id).await == Delivery::Decrypted;
        }
        done
    })
    .await;
    let routes = alice.explain_route("edward").await.unwrap();
    for report in &routes {
        assert_eq!((report.problem.as_deref(), report.there.len(), report.back.len()), (None, 3, 2));
        assert!(["http://t1/", "http://t2/"].contains(&report.there[0].url.as_str()), "{report:?}");
        assert_eq!(report.back[1].url, report.there[0].url);
    }
    // Two catalogs show less than three, and nobody else's policy has chains.
    let weak = alice.chain_warnings().await.unwrap();
    assert!(weak.len() == 1 && weak[0].contact.as_deref() == Some("edward"), "{weak:?}");
    assert!(weak[0].text.contains("only two servers show their catalogs"), "{weak:?}");
    assert!(routes.iter().all(|r| r.warnings == [weak[0].text.as_str()]), "{routes:?}");
    let ends: Vec<_> = routes.iter().map(|r| (r.fetching, r.there[2].url.as_str())).collect();
    assert_eq!(ends, [(false, "http://m2/"), (true, "http://m1/")]);

    // With the mailbox servers out of reach but for the hops, Edward's mail flows on, and the others' waits.
    alices.dialled();
    alices.cut(&["m1", "m2"]);
    let (to_joe, to_edward) = (send(&alice, "joe", "later").await, send(&alice, "edward", "now").await);
    until(&everybody, async || delivery(&alice, to_edward).await == Delivery::Decrypted).await;
    assert_eq!(delivery(&alice, to_joe).await, Delivery::Queued);
    let dialled = alices.dialled();
    assert!(!dialled.is_empty() && dialled.is_subset(&names(&["t1", "t2"])), "{dialled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_client_obeys_a_policy_that_changes_at_once() {
    let relays = Relays::new(&["m1", "m2", "t1", "t2"]).await;
    let (user, alice, alices) = relays.user().await;
    let (_, bob, _) = relays.user().await;
    alice.add_server(&relays.reference("m1")).await.unwrap();
    bob.add_server(&relays.reference("m2")).await.unwrap();
    relays.trust(&alice, &["t1", "t2"]).await;
    befriend_by_chains(&alice, &bob).await;
    let running = tokio::spawn({
        let alice = alice.clone();
        async move { alice.run().await }
    });
    let id = send(&alice, "bob", "straight").await;
    until(&[&bob], async || delivery(&alice, id).await == Delivery::Decrypted).await;
    // As another process of hers would.
    let beside = user.open().await;
    beside.set_policy("bob", routes([matriochka()])).await.unwrap();
    // Within a glance or two, the held poll that went straight is gone.
    tokio::time::sleep(Duration::from_secs(8)).await;
    alices.dialled();
    let id = send(&alice, "bob", "around").await;
    send(&bob, "alice", "and back").await;
    until(&[&bob], async || delivery(&alice, id).await == Delivery::Decrypted).await;
    until(&[&bob], async || received(&alice, "bob").await == ["and back"]).await;
    assert!(alices.dialled().is_subset(&names(&["t1", "t2"])));
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_while_one_server_is_tried_keeps_the_next_one_from_being_tried() {
    let relays = Relays::new(&["m1", "m2", "m3", "t1", "t2"]).await;
    let (_, alice, alices) = relays.user().await;
    let (_, bob, _) = relays.user().await;
    alice.add_server(&relays.reference("m1")).await.unwrap();
    for server in ["m2", "m3"] {
        bob.add_server(&relays.reference(server)).await.unwrap();
    }
    relays.trust(&alice, &["t1", "t2"]).await;
    befriend_by_chains(&alice, &bob).await;
    // Neither the same server again, outside of its session, nor the next one.
    for cut in [&[], &["m2"] as &[&str]] {
        alices.slow.lock().unwrap().insert("m2".into());
        alices.dialled();
        let id = send(&alice, "bob", "patience").await;
        let syncing = tokio::spawn({
            let alice = alice.clone();
            async move { alice.sync(Duration::ZERO).await }
        });
        until(&[], async || alices.dialled().contains("m2")).await;
        alice.set_policy("bob", routes([matriochka()])).await.unwrap();
        alices.dialled();
        alices.cut(cut);
        alices.slow.lock().unwrap().clear();
        syncing.await.unwrap().unwrap();
        until(&[&alice, &bob], async || delivery(&alice, id).await == Delivery::Decrypted).await;
        let dialled = alices.dialled();
        assert!(dialled.is_subset(&names(&["t1", "t2"])), "{dialled:?}");
        alice.weaken_policy("bob", Policy::default(), &key()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_while_a_packet_is_lost_keeps_the_next_one_from_the_old_chain() {
    let relays = Relays::new(&["m1", "m2", "a1", "a2", "t1", "t2"]).await;
    let (user, alice, alices) = relays.user().await;
    let (_, bob, _) = relays.user().await;
    alice.add_server(&relays.reference("m1")).await.unwrap();
    bob.add_server(&relays.reference("m2")).await.unwrap();
    relays.trust(&alice, &["t1", "t2"]).await;
    for name in ["a1", "a2"] {
        let marks = HopMarks { pools: vec!["a".into()], ..HopMarks::default() };
        alice.add_hop(&relays.reference(name), marks, &key()).await.unwrap();
    }
    befriend_by_chains(&alice, &bob).await;
    let old = routes(["matriochka first=pool:a".parse().unwrap()]);
    alice.weaken_policy("bob", old, &key()).await.unwrap();
    until(&[], async || {
        alice.network_changed();
        alice.explain_route("bob").await.unwrap().iter().all(|route| route.problem.is_none())
    })
    .await;
    let id = send(&alice, "bob", "by the pool").await;
    until(&[&alice, &bob], async || delivery(&alice, id).await == Delivery::Decrypted).await;

    alices.slow.lock().unwrap().extend(["a1".into(), "a2".into()]);
    alices.dialled();
    let id = send(&alice, "bob", "by those that are trusted").await;
    let syncing = tokio::spawn({
        let alice = alice.clone();
        async move { alice.sync(Duration::ZERO).await }
    });
    until(&[], async || !alices.dialled().is_empty()).await;
    let beside = user.open().await;
    beside.weaken_policy("bob", routes([matriochka()]), &key()).await.unwrap();
    alices.dialled();
    // The packet that is under way comes to nothing.
    alices.slow.lock().unwrap().clear();
    syncing.await.unwrap().unwrap();
    until(&[&alice, &bob], async || delivery(&alice, id).await == Delivery::Decrypted).await;
    let dialled = alices.dialled();
    assert!(dialled.is_subset(&names(&["t1", "t2"])), "{dialled:?}");
}

/// A client that listens for its contacts under this name.
async fn listening(user: &User, name: &str) -> Client {
    let builder = user.builder().direct_at(format!("http://{name}/").parse().unwrap());
    builder.direct_addresses(Addresses::public()).open(&key()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_presence_nor_a_knock_shows_a_device_that_chains_hide() {
    let relays = Relays::new(&["m1", "m2", "t1", "t2"]).await;
    let (a, alice, _) = relays.user().await;
    let (b, bob, _) = relays.user().await;
    alice.add_server(&relays.reference("m1")).await.unwrap();
    bob.add_server(&relays.reference("m2")).await.unwrap();
    relays.trust(&alice, &["t1", "t2"]).await;
    befriend_by_chains(&alice, &bob).await;
    drop((alice, bob));
    let alices = relays.net.party();
    let a = User { transports: alices.transports(), ..a };
    let (alice, bob) = (listening(&a, "alice").await, listening(&b, "bob").await);
    let shown = |first| Policy { presence: true, ..routes([first, Route::Server]) };
    let mut running = Vec::new();
    for (client, other) in [(&alice, "bob"), (&bob, "alice")] {
        client.weaken_policy(other, shown(Route::Direct), &key()).await.unwrap();
        sync(client).await;
        let client = client.clone();
        running.push(tokio::spawn(async move { client.run().await.unwrap() }));
    }
    let online = async |client: &Client, name| client.presence(name).await.unwrap() == Presence::Online;
    until(&[], async || online(&alice, "bob").await && online(&bob, "alice").await).await;

    // From now on no server may see her; he may.
    let hidden = Policy { presence: true, ..routes([matriochka(), Route::Direct]) };
    alice.weaken_policy("bob", hidden, &key()).await.unwrap();
    alices.cut(&["t1", "t2", "bob"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    alices.dialled();
    let id = send(&alice, "bob", "patience").await;
    // Presence is renewed and knocks are tried every few seconds where they are allowed.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(alice.presence("bob").await.unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(alices.dialled(), names(&[]), "nobody but those that she does not reach was tried");
    assert_eq!(delivery(&alice, id).await, Delivery::Queued);
    alices.cut(&[]);
    alice.network_changed();
    let back = send(&bob, "alice", "and back").await;
    until(&[], async || delivery(&alice, id).await == Delivery::Decrypted).await;
    until(&[], async || delivery(&bob, back).await == Delivery::Decrypted).await;
    assert!(alices.dialled().is_subset(&names(&["t1", "t2", "bob"])));
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_chains_begin_at_needs_the_password_and_must_be_a_hop() {
    let relays = Relays::new(&["m1", "t1"]).await;
    let (_, alice, alices) = relays.user().await;
    let marks = HopMarks { trusted: true, ..HopMarks::default() };
    struct Other;
    impl meow_client::KeyProvider for Other {
        fn key(&self) -> Result<meow_core::crypto::Secret> {
            Ok(meow_core::crypto::Secret::new([8; 32]))
        }
    }
    let other = meow_client::Unlock::Provider(Arc::new(Other));
    let e = alice.add_hop(&relays.reference("t1"), marks.clone(), &other).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::WrongSecret);
    assert!(alices.dialled().is_empty());
    // One that is not trusted learns nothing, not even that it was noted.
    let pools = HopMarks { pools: vec!["friends".into()], ..HopMarks::default() };
    alice.add_hop(&relays.reference("t1"), pools, &key()).await.unwrap();
    assert!(alices.dialled().is_empty());
    let bad = HopMarks { pools: vec!["no such name!".into()], ..HopMarks::default() };
    assert_eq!(
        alice.add_hop(&relays.reference("t1"), bad, &key()).await.unwrap_err().kind(),
        ErrorKind::Usage
    );
    let mut wrong = relays.reference("t1");
    wrong.fingerprint[0] ^= 1;
    let e = alice.add_hop(&wrong, marks.clone(), &key()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::WrongPeer);
    alice.add_hop(&relays.reference("t1"), marks, &key()).await.unwrap();
    let hops = alice.hops().await.unwrap();
    assert_eq!((hops.len(), hops[0].marks.trusted, hops[0].marks.pools.len()), (1, true, 0));
    alice.remove_hop(hops[0].reference.fingerprint).await.unwrap();
    assert_eq!(alice.remove_hop([7; 32]).await.unwrap_err().kind(), ErrorKind::NotFound);
}
