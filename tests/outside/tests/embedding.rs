//! Client and relay through the facade.

use std::time::Duration;

use meow::{CardFile, Client, Content, ErrorKind, EventKind, Transports, Unlock};

async fn message(client: &Client) -> String {
    let arrived = async {
        loop {
            let event = client.next_event().await.unwrap();
            client.confirm_events(event.number).await.unwrap();
            if let EventKind::Message { content, .. } = event.kind {
                return content.as_text().unwrap().to_owned();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), arrived).await.unwrap()
}

#[tokio::test]
async fn two_clients_talk_through_a_relay_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let password = Unlock::password("outside");
    let relay = outside::relay(&dir.path().join("relay")).await.unwrap();
    let alice = outside::client(&dir.path().join("alice"), &relay, &password).await.unwrap();
    let bob = outside::client(&dir.path().join("bob"), &relay, &password).await.unwrap();
    let card = alice.new_card("Bob", Duration::from_secs(60), &password).await.unwrap();
    bob.take_card(&CardFile::parse(&card.file).unwrap(), "Alice", "", &password).await.unwrap();
    // Both are queued until keys are confirmed, then go out by themselves.
    bob.send("Alice", Content::text(0, "from Bob").unwrap()).await.unwrap();
    alice.send("Bob", Content::data(0, "text/x-number", b"42".to_vec()).unwrap()).await.unwrap();
    alice.send("Bob", Content::text(0, "from Alice").unwrap()).await.unwrap();
    assert_eq!(message(&alice).await, "from Bob");
    let event = loop {
        let event = bob.next_event().await.unwrap();
        bob.confirm_events(event.number).await.unwrap();
        if let EventKind::Message { content, .. } = event.kind {
            break content;
        }
    };
    assert!(matches!(event, Content::Data(data) if &*data.kind == "text/x-number"));
    assert_eq!(message(&bob).await, "from Alice");
    relay.shutdown().await;
}

#[test]
fn an_unknown_scheme_lists_the_known_ones() {
    use meow::EnabledTransports;
    let error = Transports::enabled().get(&"gopher://host:70".parse().unwrap()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::UnknownScheme);
    assert!(error.to_string().contains("http") && error.to_string().contains("https"), "{error}");
}
