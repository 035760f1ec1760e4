//! A relay of one's own, put together from parts: three transports at once, and a service that takes the place of the
//! ready mailboxes. It opens a mailbox for whoever knows the word of the house, and charges more for a deposit. Alice sits
//! in the relay's own process, Bob comes over QUIC, and Eve, who does not know the word, over HTTP.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

mod common;

use std::time::Duration;

use meow::core::crypto::SystemRandom;
use meow::core::request::{Answer, RefusalCode, Refused, RequestKind};
use meow::http::Http;
use meow::server::{Admission, Blobs, Caller, Kind, Mail, Mailboxes, Offer, Relay, ServerIdentity, Service};
use meow::transport::Memory;
use meow::udp::{ClientConfig, ServerConfig, Udp};
use meow::{ServerReference, Transports};

/// Mailboxes for those who know the word.
struct Club {
    word: &'static str,
    mailboxes: Mailboxes,
}

impl Service for Club {
    fn offers(&self) -> &[Offer] {
        // What a request takes from the rate of its address: guessing the word soon takes all of it.
        const OFFERS: [Offer; 5] = [
            Offer { kind: Kind::Register, price: 100 },
            Offer { kind: Kind::Deposit, price: 2 },
            Offer { kind: Kind::Pull, price: 1 },
            Offer { kind: Kind::Acknowledge, price: 1 },
            Offer { kind: Kind::Close, price: 1 },
        ];
        &OFFERS
    }

    async fn answer(&self, request: RequestKind, caller: &mut Caller, mail: &Mail) -> Answer {
        match &request {
            RequestKind::Register(asked) if *asked.invite != *self.word => {
                Answer::Refused(Refused { code: RefusalCode::NotInvited, retry_secs: 0, seen: 0 })
            }
            _ => self.mailboxes.answer(request, caller, mail).await,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("relay");
    std::fs::create_dir(&data)?;
    let (memory, mut quic) = (Memory::new(), ServerConfig::default());
    quic.identity = Some(ServerIdentity::open_or_create(&data, &mut SystemRandom)?.skp().clone());
    // One registry serves the relay and everybody in this process.
    let transports =
        Transports::new().with(memory).with(Udp::new(ClientConfig::default(), quic)).with(Http::default());
    let relay = Relay::builder()
        .transports(transports.clone())
        .listen("memory://house".parse()?)
        .listen("udp://127.0.0.1:0".parse()?)
        .listen("http://127.0.0.1:0".parse()?)
        .data(&data)?
        .admission(Admission::Open)
        .service(Club { word: "catnip", mailboxes: Mailboxes::new() })
        .service(Blobs::new())
        .start()
        .await?;
    let [memory, udp, http] = relay.local_endpoints() else { return Err("three endpoints".into()) };
    println!("relay   {memory} {udp} {http}");

    let by = |url: &meow::Endpoint, word: &str| -> Result<ServerReference, Box<dyn std::error::Error>> {
        let reference = ServerReference { url: url.clone(), ..relay.reference().clone() };
        Ok(format!("{reference}&invite={word}").parse()?)
    };
    let alice = common::person(&dir.path().join("alice"), &transports, &by(memory, "catnip")?).await?;
    let bob = common::person(&dir.path().join("bob"), &transports, &by(udp, "catnip")?).await?;
    common::chat(&alice, &bob).await?;
    for (name, person) in [("alice", &alice), ("bob", &bob)] {
        let server = person.servers().await?.pop().ok_or("a server")?;
        println!("{name:<7} uses {}", server.in_use.ok_or("an answer")?.scheme());
    }

    let eve = common::person(&dir.path().join("eve"), &transports, &by(http, "mousetrap")?).await?;
    let refused = eve.new_card("Alice", Duration::from_secs(3600), &common::password()).await;
    println!("eve     {}", refused.err().ok_or("the word was not asked for")?.kind().name());
    relay.shutdown().await;
    Ok(dir.close()?)
}
