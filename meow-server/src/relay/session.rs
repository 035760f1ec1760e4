//! Sessions at the relay: opening one, and one request inside of one.

use meow_core::crypto::{CryptoError, HashLabel, Secret, hash};
use meow_core::request::{
    Acknowledge, Answer, BlobGet, ClearCode, ClientShare, Deposit, Opened, Pull, RefusalCode, RequestKind,
    SessionBy, SessionOpen,
};
use meow_core::session::{
    Direction, ITEM_DEPOSIT, SessionBinding, SessionKind, SessionRequest, SessionRole, Tag, grant_session,
    session_room,
};
use meow_core::store::{PullOutcome, Write, WriteOutcome};
use meow_core::transport::{Frame, Peer};
use meow_core::wire::{Blob, Fixed, Wire, size_of_class};

use super::exchange;
use super::node::Node;
use crate::engine::Source;
use crate::service::{BUSY_RETRY, Caller, Proved, Seat, busy, refuse, stale, unexpected};
use crate::session::{AHEAD, Digest, Facts, Found, Seen};

/// What opening a session takes from the rate of its address, beside the unit that every request takes.
const OPENING: u32 = 9;
/// Index of the size that the answer to an item alone has.
const ITEM_ANSWER: u8 = 5;
/// Longest answers to an opening: its number, the form, an X-Wing ciphertext or an X25519 public key, two numbers.
const OPENED: usize = 1 + 1 + 1120 + 5 + 3;
const OPENED_THIN: usize = 1 + 1 + 32 + 5 + 3;

/// Opens a session, once its owner is proved and counted. A depositor proves nothing here: the store looks at the token
/// of each deposit. So a session counts for the source that it was opened from, `None` for a chain.
pub(super) async fn open(
    node: &Node,
    body: SessionOpen,
    export: &Secret,
    source: Option<Source>,
    caller: &Caller,
) -> Answer {
    opened(node, body, export, source, caller).await.unwrap_or_else(|refusal| {
        if let Answer::Refused(refused) = &refusal {
            tracing::debug!(code = ?refused.code, "a session was refused");
        }
        refusal
    })
}

async fn opened(
    node: &Node,
    body: SessionOpen,
    export: &Secret,
    source: Option<Source>,
    caller: &Caller,
) -> Result<Answer, Answer> {
    if !caller.seat.charge(OPENING, node.clock.elapsed()) {
        return Err(busy(OPENING.div_ceil(node.limits.rate)));
    }
    if node.limits.sessions == 0 {
        return Err(refuse(RefusalCode::Denied));
    }
    let needs = match body.share {
        ClientShare::Fat(_) => OPENED,
        ClientShare::Thin(_) => OPENED_THIN,
    };
    if caller.room < needs {
        return Err(refuse(RefusalCode::TooLarge));
    }
    let denied = || refuse(RefusalCode::Denied);
    body.verify(node.mail.server()).map_err(|_| denied())?;
    let (role, token) = match body.by {
        SessionBy::Depositor { token } => (SessionRole::Depositor, token),
        SessionBy::Owner { counter, .. } => {
            let write = Write::Acknowledge { mailbox: body.mailbox.to_bytes(), counter, upto: 0 };
            match node.mail.write(write).await? {
                WriteOutcome::Pull(PullOutcome::Done) => (SessionRole::Owner, Fixed([0; 16])),
                WriteOutcome::Pull(PullOutcome::Denied) => return Err(denied()),
                WriteOutcome::Pull(PullOutcome::Stale(seen)) => return Err(stale(seen)),
                other => return Err(unexpected(&other)),
            }
        }
    };
    let binding = SessionBinding { export, server: node.mail.server(), role, mailbox: &body.mailbox };
    let (share, keys) = {
        let _turn = node.opening.acquire().await.map_err(|_| busy(BUSY_RETRY))?;
        grant_session(&body.share, &binding, &mut **node.random()).map_err(|e| match e {
            CryptoError::BadKey => denied(),
            other => {
                tracing::error!("a session could not be granted: {other}");
                busy(BUSY_RETRY)
            }
        })?
    };
    let facts = Facts { keys, role, mailbox: body.mailbox, token };
    node.sessions.keep(facts, source, node.clock.elapsed());
    let lasts_secs = u32::try_from(node.limits.session_time.as_secs()).unwrap_or(u32::MAX);
    Ok(Answer::Opened(Opened { share, lasts_secs, ahead: AHEAD as u16 }))
}

/// Answers a packet of a session.
pub(super) async fn serve(
    node: &Node,
    tag: &Tag,
    packet: &Frame,
    peer: Peer,
    seat: Seat,
) -> Result<(Vec<u8>, Seat), ClearCode> {
    let found = node.sessions.find(tag, node.clock.elapsed()).ok_or(ClearCode::UnknownSession)?;
    let (request, digest) = read(&found, packet).ok_or(ClearCode::Unreadable)?;
    let room = session_room(request.answer).ok_or(ClearCode::Unreadable)?;
    let size = size_of_class(request.answer).ok_or(ClearCode::Unreadable)?;
    let seen = node.sessions.note(&found, digest).ok_or(ClearCode::UnknownSession)?;
    let mut caller = Caller::new(peer, room, seat);
    let answer = match seen {
        Seen::Other(highest) => stale(highest),
        Seen::New(turn) => ask(node, &found, request.kind, Proof { turn, again: false }, &mut caller).await,
        Seen::Again(turn) => ask(node, &found, request.kind, Proof { turn, again: true }, &mut caller).await,
    };
    let sealed = answer
        .to_wire()
        .ok()
        .and_then(|content| found.facts.keys.seal(Direction::Down, found.counter, content, size).ok());
    let sealed = sealed.ok_or_else(|| {
        tracing::error!("an answer in a session could not be sealed");
        ClearCode::Busy
    })?;
    Ok((sealed, caller.seat))
}

/// The request in a packet, sealed, or an item alone; and what tells this packet from another with its counter. A sealed one has
/// that at its end: the tag of AES-GCM-SIV, which depends on every byte. Only who has the keys could make two that are equal, and
/// would only have its second request taken for the first.
fn read(found: &Found, packet: &[u8]) -> Option<(SessionRequest, Digest)> {
    let (keys, counter) = (&found.facts.keys, found.counter);
    if let Ok(content) = keys.open(Direction::Up, counter, packet) {
        return Some((SessionRequest::from_content(content).ok()?, *packet.last_chunk()?));
    }
    match keys.open_item(Direction::Up, counter, packet).ok()? {
        (ITEM_DEPOSIT, item) => {
            let [digest @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
                hash(HashLabel::SessionPacket, &[packet]);
            let item = Blob::new(item.to_vec()).ok()?;
            let kind = SessionKind::Deposit { keep_secs: 0, item };
            Some((SessionRequest { answer: ITEM_ANSWER, kind }, digest))
        }
        _ => None,
    }
}

struct Proof {
    turn: crate::session::Turn,
    again: bool,
}

/// Fills in what the session knows, and asks the services.
async fn ask(node: &Node, found: &Found, kind: SessionKind, proof: Proof, caller: &mut Caller) -> Answer {
    let facts = &found.facts;
    if kind.role() != facts.role {
        return refuse(RefusalCode::Denied);
    }
    let (mailbox, token, sig) = (facts.mailbox, facts.token, Fixed([0; 64]));
    let counted = !matches!(kind, SessionKind::Look { .. });
    let request = match kind {
        SessionKind::Deposit { keep_secs, item } => {
            let id = Deposit::item_id(&mailbox, &item);
            RequestKind::Deposit(Deposit { mailbox, token, id, keep_secs, item })
        }
        SessionKind::Look { wait_secs } => {
            RequestKind::Pull(Pull { mailbox, counter: 0, acknowledge: 0, wait_secs, sig })
        }
        SessionKind::Pull { counter, acknowledge, wait_secs } => {
            RequestKind::Pull(Pull { mailbox, counter, acknowledge, wait_secs, sig })
        }
        SessionKind::Acknowledge { counter, upto } => {
            RequestKind::Acknowledge(Acknowledge { mailbox, counter, upto, sig })
        }
        SessionKind::BlobGet { name } => RequestKind::BlobGet(BlobGet { mailbox, token, name }),
        _ => return refuse(RefusalCode::Denied),
    };
    if facts.role == SessionRole::Owner {
        caller.proved = Some(Proved { mailbox, turn: proof.turn, counted, again: proof.again });
    }
    exchange::answer(node, request, caller).await
}
