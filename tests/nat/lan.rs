//! Two people in one home, with a relay elsewhere: what they say to each other stays in the home, until they cannot reach each
//! other there any more.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use meow::core::delivery::Way;
use meow::core::policy::Route;
use meow::{Client, Content, Delivery};
use tokio::time::sleep;

use crate::net::{self, Net};
use crate::{PATIENCE, allowing, decrypted, put, take, unlock, wait_for};

/// Messages of one part of the test, and bytes of each.
const MESSAGES: u64 = 8;
const LONG: usize = 30_000;
const ALL: u64 = MESSAGES * LONG as u64;

async fn send(client: &Client, way: Way) {
    for _ in 0..MESSAGES {
        let id = client.send("bob", Content::text(0, "l".repeat(LONG)).unwrap()).await.unwrap();
        assert_eq!(decrypted(client, id).await, Some(way));
    }
}

/// What Alice does, in steps that the test waits for.
pub(crate) async fn talk(folder: &Path, client: &Client) {
    let end = Instant::now() + PATIENCE;
    loop {
        let id = client.send("bob", Content::text(0, "hello").unwrap()).await.unwrap();
        if decrypted(client, id).await == Some(Way::Direct) {
            break;
        }
        assert!(Instant::now() < end, "they did not meet");
        sleep(Duration::from_millis(500)).await;
    }
    put(&folder.join("met"), "");
    take(&folder.join("count")).await;
    send(client, Way::Direct).await;
    put(&folder.join("directly"), "");
    take(&folder.join("cut")).await;
    send(client, Way::Server).await;
    put(&folder.join("by the server"), "");
    take(&folder.join("strict")).await;
    // Who allows direct links only is served by nobody else.
    client.weaken_policy("bob", allowing([Route::Direct]), &unlock()).await.unwrap();
    let id = client.send("bob", Content::text(0, "l".repeat(LONG)).unwrap()).await.unwrap();
    let end = Instant::now() + PATIENCE;
    let why = loop {
        let message = client.message(id).await.unwrap();
        assert_eq!((message.delivery, message.way), (Delivery::Queued, None), "{:?}", message.waiting);
        if let Some(why) = message.waiting {
            break why;
        }
        assert!(Instant::now() < end, "nothing is said about a message that waits");
        sleep(Duration::from_millis(50)).await;
    };
    put(&folder.join("waits"), why);
}

#[test]
fn messages_stay_on_the_lan_and_fall_back_within_the_policy_when_it_is_cut() {
    let Some(net) = net::made(Net::on_one_lan) else { return };
    let folder = tempfile::tempdir().unwrap();
    let start = |place, role| net.start(place, role, folder.path());
    let mut roles = [start("relay", "relay"), start("alice", "alice on a lan"), start("bob", "bob")];
    let mut step = |what: &str| {
        wait_for(what, || {
            for role in &mut roles {
                assert!(role.try_wait().unwrap().is_none(), "a role ended before its time");
            }
            fs::read_to_string(folder.path().join(what)).ok()
        })
    };
    let sent = || (net.sent_to("bob"), net.sent_to("wan"));
    let since = |before: (u64, u64)| (net.sent_to("bob") - before.0, net.sent_to("wan") - before.1);
    step("met");
    let before = sent();
    put(&folder.path().join("count"), "");
    step("directly");
    let (lan, wan) = since(before);
    eprintln!("{ALL} bytes of text on the LAN: {lan} bytes to Bob, {wan} out of the house");
    // Out of the house go the questions where somebody is, and the pulls.
    assert!(lan > ALL && wan < ALL / 2, "{lan} bytes to Bob, {wan} out of the house");
    net.cut_lan().unwrap();
    let before = sent();
    put(&folder.path().join("cut"), "");
    step("by the server");
    let (lan, wan) = since(before);
    eprintln!("with the LAN cut: {lan} bytes to Bob, {wan} out of the house");
    assert!(lan > ALL && wan > ALL, "by the server, and in again");
    let before = sent();
    put(&folder.path().join("strict"), "");
    let waiting = step("waits");
    let (_, wan) = since(before);
    eprintln!("direct only, with the LAN cut: {wan} bytes out of the house; {waiting}");
    assert!(wan < LONG as u64, "{wan} bytes out of the house");
    put(&folder.path().join("stop"), "");
    for role in &mut roles {
        role.wait().unwrap();
    }
}
