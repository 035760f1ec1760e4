use meow_core::crypto::{DhSecret, SeededRandom, SigningKey};
use meow_core::request::{Limits, SignedDescriptor};

use super::*;
use crate::route::known::View;

/// A descriptor of the server of this seed, with an online key of this number; and the server's fingerprint.
fn signed(seed: u64, issued: u64, number: u32) -> ([u8; 32], SignedDescriptor) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let skp = SigningKey::from_seed(&bytes);
    let limits = Limits { item: 1, mailbox_items: 1, mailbox_bytes: 1, keep_secs: 1, wait_secs: 1, blob: 1 };
    let key = DhSecret::generate(&mut SeededRandom::new(number.into())).unwrap().public();
    let descriptor = Descriptor {
        skp: skp.public(),
        issued,
        expires: issued + 1,
        urls: List::default(),
        keys: List::take([SealingKey { number, key, parcel: false, not_after: issued }]),
        limits,
        hop: Some(List::default()),
    };
    let signed = SignedDescriptor::sign(descriptor, &skp).unwrap();
    (signed.fingerprint(), signed)
}

fn page(servers: impl IntoIterator<Item = SignedDescriptor>) -> CatalogPage {
    let listed = servers.into_iter().map(|signed| Listed { signed, found: List::default() });
    CatalogPage { servers: List::take(listed), next: 0 }
}

/// A directory in which these servers have shown the server of seed 1, each as (issued, key number).
fn directory(shown: &[([u8; 32], u64, u32)]) -> Directory {
    let mut directory = Directory::default();
    for (by, issued, number) in shown {
        let mut catalog = Catalog::new();
        add(&mut catalog, page([signed(1, *issued, *number).1])).unwrap();
        directory.take(*by, catalog);
    }
    directory
}

#[test]
fn the_newest_word_of_a_server_counts_whoever_shows_it() {
    let server = signed(1, 0, 0).0;
    for (first, second) in [(10, 5), (5, 10), (10, 10)] {
        let directory = directory(&[([1; 32], first, 7), ([2; 32], second, 8)]);
        assert_eq!(directory.shown(&server).unwrap().issued, first.max(second));
    }
    // What a server shows next takes the place of what it showed.
    let directory = directory(&[([1; 32], 10, 7), ([1; 32], 5, 7)]);
    assert_eq!(directory.shown(&server).unwrap().issued, 5);
}

#[test]
fn a24_a_key_that_is_shown_to_one_client_alone_is_not_used() {
    let server = signed(1, 0, 0).0;
    // The server and the first of these have made a key by which they know this client behind any chain.
    let directory = directory(&[([1; 32], 99, 666), ([2; 32], 10, 7), ([3; 32], 11, 7)]);
    let shown = directory.shown(&server).unwrap();
    assert_eq!((shown.issued, key(shown).unwrap().0), (11, 7));
}

#[test]
fn a24_what_a_server_says_itself_is_for_the_link_to_it_alone() {
    let server = signed(1, 0, 0).0;
    let alone = directory(&[(server, 99, 666)]);
    assert!(alone.shown(&server).is_none());
    let places = View::new(&alone, &[], &BTreeSet::new(), &meow_core::policy::Pool::Trusted).places();
    let [place] = places.as_slice() else { panic!("{places:?}") };
    assert!(!place.shown && key(&place.descriptor).unwrap().0 == 666);
    // Those who see who asks tell the server's key to all alike; it would tell another one to each.
    let both = directory(&[(server, 99, 666), ([2; 32], 10, 7)]);
    assert_eq!(key(both.shown(&server).unwrap()).unwrap().0, 7);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_is_asked_beside_what_goes_on() {
    let (silent, fresh) = ([1; 32], [2; 32]);
    let mut directory = Directory::default();
    let mut asked = Vec::new();
    // At first everybody is waited for, however many chains are drawn, and asked once.
    let first = directory.look(silent, true, |asking| asked.push(asking)).unwrap();
    let again = directory.look(silent, true, |_| panic!("asked twice at once")).unwrap();
    directory.heard(silent, &asked.pop().unwrap(), None);
    assert!(first.has_changed().is_err() && again.has_changed().is_err(), "that is over");
    directory.look(fresh, true, |asking| asked.push(asking)).unwrap();
    directory.heard(fresh, &asked.pop().unwrap(), Some((Catalog::new(), true)));
    assert_eq!((directory.due(&silent), directory.due(&fresh)), (Due::No, Due::No));
    // Then no more, unless nothing else is there.
    tokio::time::advance(REST).await;
    for _ in 0..2 {
        assert!(directory.look(silent, false, |asking| asked.push(asking)).is_none());
    }
    assert!(asked.len() == 1 && directory.look(silent, true, |_| panic!()).is_some());
    directory.heard(silent, &asked.pop().unwrap(), None);
    // What was had is good to draw by while it is asked for, for some time.
    tokio::time::advance(FRESH).await;
    assert_eq!(directory.due(&fresh), Due::Meanwhile);
    tokio::time::advance(STALE).await;
    assert_eq!((directory.due(&silent), directory.due(&fresh)), (Due::Meanwhile, Due::First));
    // A server that failed is not the first until it answers; a packet that was lost has the others looked at first.
    directory.look(fresh, true, |asking| asked.push(asking)).unwrap();
    directory.heard(fresh, &asked.pop().unwrap(), Some((Catalog::new(), true)));
    tokio::time::advance(REST).await;
    directory.doubt(&fresh);
    assert!(directory.due(&fresh) == Due::Meanwhile && !directory.answers(&fresh));
    directory.look(fresh, true, |asking| asked.push(asking)).unwrap();
    directory.heard(fresh, &asked.pop().unwrap(), Some((Catalog::new(), true)));
    tokio::time::advance(REST).await;
    directory.look_again();
    assert_eq!((directory.due(&silent), directory.due(&fresh)), (Due::Meanwhile, Due::First));
    // What was asked for before all was forgotten counts no more.
    directory.look(fresh, true, |asking| asked.push(asking)).unwrap();
    directory.forget();
    directory.heard(fresh, &asked.pop().unwrap(), Some((Catalog::new(), true)));
    assert_eq!(directory.due(&fresh), Due::First);
}

#[test]
fn a30_a_forged_descriptor_is_refused_and_memory_is_bounded() {
    let good = postcard::to_stdvec(&signed(1, 10, 1).1).unwrap();
    // The time is the first field behind the key.
    let mut forged = good;
    forged[32] ^= 1;
    let mut catalog = Catalog::new();
    assert!(add(&mut catalog, page([postcard::from_bytes(&forged).unwrap()])).is_err());
    assert!(catalog.is_empty());
    // No server shows more of them than it sends on to, so none crowds out what others show.
    let all = (0..=MAX_ONWARD as u64).map(|n| signed(n, 1, 1).1);
    add(&mut catalog, page(all.clone().take(MAX_ONWARD))).unwrap();
    add(&mut catalog, page(all.clone().take(MAX_ONWARD))).unwrap();
    assert!(add(&mut catalog, page(all.skip(MAX_ONWARD))).is_err());
    let mut directory = Directory::default();
    for n in 0..MAX_CATALOGS as u64 + 10 {
        directory.take(n.to_be_bytes().repeat(4).try_into().unwrap(), Catalog::new());
    }
    assert_eq!(directory.catalogs.len(), MAX_CATALOGS);
    directory.keep(&[]);
    assert!(directory.catalogs.is_empty(), "nobody is named any more");
}
