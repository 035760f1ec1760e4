//! Presence: who waits here to be found, and by whom (spec, chapter "Presence and direct"). Nothing of it outlives the
//! relay, and nothing in it can be read here.

use std::time::Duration;

use meow_core::direct::REACH;
use meow_core::request::{
    Answer, Deposit, Found, Heard, Knock, Knocking, PresenceGet, Present, Presented, RefusalCode,
    RequestKind, Seen, Showing,
};
use meow_core::store::{PullOutcome, Write, WriteOutcome};
use meow_core::transport::Peer;
use meow_core::wire::Fixed;

use super::mailboxes::unexpected;
use super::presences::{Knocked, Presences};
use super::{BUSY_RETRY, Caller, Kind, Mail, Offer, Service, busy, refuse, stale};

/// The service that says who is present.
#[derive(Debug, Default)]
pub struct Presence {
    shown: Presences,
}

impl Presence {
    /// The service, with nobody present.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Service for Presence {
    fn offers(&self) -> &[Offer] {
        const OFFERS: [Offer; 3] = [
            Offer { kind: Kind::Present, price: 2 },
            Offer { kind: Kind::PresenceGet, price: 1 },
            Offer { kind: Kind::Knock, price: 3 },
        ];
        &OFFERS
    }

    async fn answer(&self, request: RequestKind, caller: &mut Caller, mail: &Mail) -> Answer {
        if caller.is_hidden() {
            // Who came through a chain would say here where it is.
            return refuse(RefusalCode::Denied);
        }
        let answered = match request {
            RequestKind::Present(body) => present(&self.shown, body, caller, mail).await,
            RequestKind::PresenceGet(body) => get(&self.shown, &body, caller, mail),
            RequestKind::Knock(body) => knock(&self.shown, body, caller, mail),
            _ => Err(refuse(RefusalCode::Denied)),
        };
        answered.unwrap_or_else(|refusal| refusal)
    }
}

async fn present(
    shown: &Presences,
    body: Present,
    caller: &mut Caller,
    mail: &Mail,
) -> Result<Answer, Answer> {
    let denied = || refuse(RefusalCode::Denied);
    body.verify(mail.server()).map_err(|_| denied())?;
    // A knock may come at once.
    room(caller, REACH)?;
    let mailbox = body.mailbox.to_bytes();
    let wait = body.wait_secs.min(mail.limits().mailbox.wait_secs);
    let place = (wait > 0).then(|| mail.reserve()).transpose()?;
    let turn = shown.turn(&mailbox).await;
    let write = Write::Acknowledge { mailbox, counter: body.counter, upto: 0 };
    match mail.write(write).await? {
        WriteOutcome::Pull(PullOutcome::Done) => {}
        WriteOutcome::Pull(PullOutcome::Denied) => return Err(denied()),
        WriteOutcome::Pull(PullOutcome::Stale(seen)) => return Err(stale(seen)),
        other => return Err(unexpected(&other)),
    }
    let now = mail.now();
    let limits = mail.limits();
    let address = caller.peer.address.filter(|address| !address.to_canonical().is_loopback());
    let fits = match body.showing {
        Showing::Same => true,
        Showing::Nothing => {
            shown.hide(&mailbox);
            true
        }
        Showing::Record { token_hash, record } => {
            let most = (limits.presences, limits.presences_per_address);
            shown.show(mailbox, token_hash.0, record, address, now, most)
        }
    };
    drop(turn);
    if !fits {
        return Err(busy(BUSY_RETRY));
    }
    let mut knock = None;
    if let Some(place) = place
        && let Some(waiting) = shown.wait(mailbox, caller.peer.address, now)
    {
        mail.wait_for(waiting.knocked(), caller, Duration::from_secs(wait.into())).await;
        knock = waiting.take(mail.now());
        drop(place);
    }
    Ok(Answer::Presented(Presented { seen: seen(&caller.peer), knock }))
}

fn get(shown: &Presences, body: &PresenceGet, caller: &Caller, mail: &Mail) -> Result<Answer, Answer> {
    room(caller, REACH)?;
    let token_hash = Deposit::token_hash(body.token.as_bytes());
    // No mailbox, wrong token and nothing shown are one answer.
    let (record, online) = shown
        .find(body.mailbox.as_bytes(), &token_hash, mail.now())
        .ok_or_else(|| refuse(RefusalCode::NotFound))?;
    Ok(Answer::Found(Found { seen: seen(&caller.peer), online, record }))
}

fn knock(shown: &Presences, body: Knock, caller: &Caller, mail: &Mail) -> Result<Answer, Answer> {
    let token_hash = Deposit::token_hash(body.token.as_bytes());
    let knocking = Knocking { from: seen(&caller.peer), note: body.note };
    match shown.knock(body.mailbox.as_bytes(), &token_hash, knocking, mail.now()) {
        Knocked::Heard(at) => {
            let there = at.is_some_and(|at| Seen::new(at.to_canonical(), 0).address == body.at);
            Ok(Answer::Heard(Heard { there }))
        }
        Knocked::Nobody => Err(refuse(RefusalCode::NotFound)),
        Knocked::TooOften => Err(busy(Presences::KNOCK_EVERY)),
    }
}

/// The answer must have a class that a record fits.
fn room(caller: &Caller, record: usize) -> Result<(), Answer> {
    /// Number, address and port, two marks.
    const AROUND: usize = 1 + 1 + 16 + 3 + 1 + 1;
    if caller.room < record + AROUND { Err(refuse(RefusalCode::TooLarge)) } else { Ok(()) }
}

fn seen(peer: &Peer) -> Option<Seen> {
    peer.address.map(|address| Seen::new(address.to_canonical(), peer.port.unwrap_or(0)))
}

/// A sealed record, as it is kept.
pub(super) type Record = Box<Fixed<REACH>>;
