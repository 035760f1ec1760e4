//! Presence at the relay, and attacks 3, 17 and 28 on it.

use std::time::Duration;

use meow_core::direct::REACH;
use meow_core::request::{
    Answer, Deposit, Found, Heard, Knock, Knocking, PresenceGet, Presented, RefusalCode, RequestKind, Showing,
};
use meow_core::wire::Fixed;

use crate::setup::{HTTP, Setup};
use crate::support::client::refused;
use crate::support::{Client, Owner};

/// The size class that a record fits.
const CLASS: u8 = 2;

fn note(byte: u8) -> Box<Fixed<REACH>> {
    Box::new(Fixed([byte; REACH]))
}

fn record(owner: &Owner, byte: u8) -> Showing {
    Showing::Record { token_hash: Fixed(Deposit::token_hash(&owner.token)), record: note(byte) }
}

fn get(owner: &Owner, token: [u8; 16]) -> RequestKind {
    RequestKind::PresenceGet(PresenceGet { mailbox: owner.lkp.public(), token: Fixed(token) })
}

fn knock(owner: &Owner, byte: u8) -> RequestKind {
    let (mailbox, token, at) = (owner.lkp.public(), Fixed(owner.token), Fixed([0; 16]));
    RequestKind::Knock(Knock { mailbox, token, at, note: note(byte) })
}

async fn found(client: &Client, owner: &Owner) -> Option<Found> {
    match client.ask(get(owner, owner.token), CLASS).await {
        Answer::Found(found) => Some(found),
        answer => {
            assert_eq!(refused(&answer), RefusalCode::NotFound);
            None
        }
    }
}

#[tokio::test]
async fn an_owner_is_found_and_knocked_at_by_its_contact_alone() {
    let setup = Setup::memory().await;
    let client = &setup.client;
    let mut owner = Owner::registered(client).await;
    assert_eq!(found(client, &owner).await, None, "nothing is shown");
    let quiet = Answer::Presented(Presented { seen: None, knock: None });
    let showing = record(&owner, 1);
    assert_eq!(client.ask(owner.present(showing, 0), CLASS).await, quiet);
    let shown = found(client, &owner).await.unwrap();
    assert_eq!((shown.online, &*shown.record), (false, &*note(1)));
    assert_eq!(refused(&client.ask(get(&owner, [0; 16]), CLASS).await), RefusalCode::NotFound);
    assert_eq!(refused(&client.ask(knock(&owner, 2), 0).await), RefusalCode::NotFound, "nobody waits");
    // While the owner waits it is online, and a knock ends the waiting.
    let waiting = owner.present(Showing::Same, 40);
    let (answer, ()) = tokio::join!(client.ask(waiting, CLASS), async {
        while !found(client, &owner).await.unwrap().online {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(client.ask(knock(&owner, 2), 0).await, Answer::Heard(Heard { there: false }));
    });
    assert_eq!(
        answer,
        Answer::Presented(Presented { seen: None, knock: Some(Knocking { from: None, note: note(2) }) })
    );
    assert!(!found(client, &owner).await.unwrap().online);
    client.ask(owner.present(Showing::Nothing, 0), CLASS).await;
    assert_eq!(found(client, &owner).await, None);
}

#[tokio::test]
async fn a03_a_present_is_for_one_server_and_one_time() {
    let (a, b) = (Setup::memory().await, Setup::memory().await);
    let mut owner = Owner::registered(&a.client).await;
    let there = Owner { server: b.client.server, ..owner.clone() };
    assert_eq!(b.client.ask(there.clone().register(""), 0).await, Answer::Done);
    owner.counter = 10;
    let showing = record(&owner, 1);
    let kind = owner.present(showing, 0);
    assert_eq!(refused(&b.client.ask(kind.clone(), CLASS).await), RefusalCode::Denied);
    assert!(matches!(a.client.ask(kind.clone(), CLASS).await, Answer::Presented(_)));
    assert_eq!(refused(&a.client.ask(kind, CLASS).await), RefusalCode::StaleCounter);
    let nobodys = Owner::new(&a.client.server);
    let showing = record(&nobodys, 1);
    assert_eq!(refused(&a.client.ask(nobodys.clone().present(showing, 0), CLASS).await), RefusalCode::Denied);
    assert_eq!(found(&a.client, &nobodys).await, None);
}

/// Both are written down in one go; which one is acted on last must not hang on which of two threads is quicker.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_said_last_holds_though_both_are_said_at_once() {
    let setup = Setup::memory().await;
    let client = &setup.client;
    let mut owner = Owner::registered(client).await;
    for round in 0..300 {
        let showing = record(&owner, 1);
        let (shown, hidden) = (owner.present(showing, 0), owner.present(Showing::Nothing, 0));
        let (_, answer) = tokio::join!(client.ask(shown, CLASS), client.ask(hidden, CLASS));
        assert!(matches!(answer, Answer::Presented(_)), "{answer:?}");
        assert_eq!(found(client, &owner).await, None, "round {round}");
    }
}

#[tokio::test]
async fn a28_knocks_are_budgeted_and_answers_need_room() {
    let setup = Setup::memory().await;
    let client = &setup.client;
    let mut owner = Owner::registered(client).await;
    let showing = record(&owner, 1);
    assert_eq!(refused(&client.ask(owner.present(showing, 0), 0).await), RefusalCode::TooLarge);
    let showing = record(&owner, 1);
    client.ask(owner.present(showing, 0), CLASS).await;
    let mut heard = 0;
    for _ in 0..8 {
        let waiting = owner.present(Showing::Same, 2);
        let (_, answer) = tokio::join!(client.ask(waiting, CLASS), async {
            while !found(client, &owner).await.unwrap().online {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            client.ask(knock(&owner, 2), 0).await
        });
        match answer {
            Answer::Heard(_) => heard += 1,
            answer => assert_eq!(refused(&answer), RefusalCode::Busy),
        }
        if heard > 4 {
            break;
        }
    }
    // Four at once; a slow machine may earn one or two more meanwhile.
    assert!((4..=6).contains(&heard), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_learns_where_it_is_seen() {
    let setup = Setup::with(HTTP, |builder| builder).await;
    let mut owner = Owner::registered(&setup.client).await;
    let answer = setup.client.ask(owner.present(Showing::Same, 0), CLASS).await;
    let Answer::Presented(Presented { seen: Some(seen), knock: None }) = answer else { panic!("{answer:?}") };
    assert_eq!((seen.ip(), seen.port), ([127, 0, 0, 1].into(), 0), "the port of an HTTP client says nothing");
}
