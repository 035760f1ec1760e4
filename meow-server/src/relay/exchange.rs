//! One request and its answer: the checks in order of their cost, the service, the seal.

use std::sync::Arc;
use std::time::Duration;

use meow_core::onion::HopKey;
use meow_core::request::{
    Answer, ClearAnswer, ClearCode, DESCRIBE, OpenedRequest, RefusalCode, RequestKind, key_number,
};
use meow_core::session::{Tag, session_tag};
use meow_core::transport::{Frame, Link, Pattern, Peer};
use meow_core::wire::{WireError, is_thin};
use tokio::time::timeout;

use super::hop;
use super::node::Node;
use super::session;
use crate::engine::Source;
use crate::service::{Caller, Kind, Seat, busy, refuse};

/// Units that a page of the catalog takes from the rate of its address: it is the longest answer to a short question.
const CATALOG: u32 = 5;
/// How long a link is kept for its far side to finish, after the answer.
const LINGER: Duration = Duration::from_secs(1);

/// Serves one link of the listener of this number: one request, one answer.
pub(super) async fn run(node: &Arc<Node>, listener: usize, mut link: Link) {
    let packet = match timeout(node.limits.read_time, link.rx.recv()).await {
        Ok(Ok(Some(packet))) => packet,
        // Nothing asked, hung up, or too slow: there is nobody to answer.
        _ => return,
    };
    let served = tokio::select! {
        biased;
        served = checked(node, packet, link.peer, listener) => served,
        // Who hung up is not served further; a held pull ends here. An onion packet goes on by itself.
        () = link.tx.closed() => return,
    };
    let Served { packet, seat } = match served {
        Ok(served) => served,
        Err(code) if is_told(code, link.profile.pattern) => Served::clear(code),
        Err(_) => return,
    };
    let sent = timeout(node.limits.write_time, async {
        link.tx.send(packet).await?;
        link.tx.finish().await
    });
    match sent.await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::debug!(kind = e.kind().name(), "an answer was not sent: {e}"),
        Err(_) => tracing::debug!("an answer was not taken in time"),
    }
    // The answer counted as work until here.
    drop(seat);
    // A session that is dropped before its far side has finished looks broken from there. What else comes is not read.
    let _ = timeout(LINGER, link.rx.recv()).await;
}

/// Whether a refusal is answered. On a bus, what cannot be read may be for another station, or noise: an answer would cost
/// airtime, and spoil what the other one says.
fn is_told(code: ClearCode, pattern: Pattern) -> bool {
    pattern != Pattern::Bus || !matches!(code, ClearCode::Unreadable | ClearCode::UnknownSession)
}

pub(super) struct Served {
    packet: Frame,
    seat: Option<Seat>,
}

impl Served {
    fn clear(code: ClearCode) -> Self {
        // A refusal of three bytes always encodes.
        let packet = ClearAnswer::Refused(code).to_packet().unwrap_or_default();
        tracing::debug!(?code, "refused");
        Self { packet: packet.into(), seat: None }
    }

    /// An onion packet was taken.
    pub(super) fn taken(seat: Seat) -> Self {
        // Two bytes always encode.
        let packet = ClearAnswer::Taken.to_packet().unwrap_or_default();
        Self { packet: packet.into(), seat: Some(seat) }
    }

    /// An onion packet that somebody waited for.
    pub(super) fn packet(packet: Vec<u8>) -> Self {
        Self { packet: packet.into(), seat: None }
    }
}

/// What a packet is, as far as it shows.
enum Asked {
    Descriptor,
    Sealed(u32),
    /// And whether another server sends it.
    Onion(HopKey, bool),
    Session(Tag),
}

impl Asked {
    fn of(node: &Node, packet: &Frame) -> Result<Self, ClearCode> {
        // First: a thin packet of a session may begin with any byte. One that no session knows may be a sealed request.
        if let Some(tag) = session_tag(packet)
            && (node.sessions.knows(&tag) || key_number(packet).is_err())
        {
            return Ok(Self::Session(tag));
        }
        match key_number(packet) {
            Ok(number) => Ok(Self::Sealed(number)),
            Err(WireError::NewerVersion) => Err(ClearCode::NewerVersion),
            Err(_) if **packet == DESCRIBE => Ok(Self::Descriptor),
            Err(_) => hop::key(node, packet).map(|(key, relayed)| Self::Onion(key, relayed)),
        }
    }
}

/// Answers what came inside an onion packet: from nowhere, and no onion packet again.
pub(super) async fn inside(node: &Node, packet: Vec<u8>) -> Frame {
    let packet = Frame::from(packet);
    let served = async {
        let asked = Asked::of(node, &packet)?;
        let seat = Seat::take(&node.seats).ok_or(ClearCode::Busy)?.hidden();
        match asked {
            Asked::Descriptor => Ok(Served { packet: node.descriptor(), seat: Some(seat) }),
            Asked::Sealed(number) => sealed(node, number, packet, (Peer::default(), None), seat).await,
            Asked::Session(tag) => in_session(node, &tag, &packet, Peer::default(), seat).await,
            Asked::Onion(..) => Err(ClearCode::Unreadable),
        }
    };
    served.await.unwrap_or_else(Served::clear).packet
}

async fn checked(node: &Arc<Node>, packet: Frame, peer: Peer, listener: usize) -> Result<Served, ClearCode> {
    // 1. Length and class.
    let asked = Asked::of(node, &packet)?;
    // 2. Load.
    let seat = Seat::take(&node.seats).ok_or(ClearCode::Busy)?;
    // 3. What this source may ask. The relay's own machine may ask all.
    let source = match (Source::of(&peer, listener), &asked, &node.hop) {
        (source, Asked::Onion(_, true), Some(hop)) => hop.relaying(source),
        (source, ..) => source,
    };
    let hop = match source {
        Source::Here => None,
        source => Some(node.hops.enter(source, node.clock.elapsed()).ok_or(ClearCode::Busy)?),
    };
    let seat = seat.with_hop(hop);
    match asked {
        Asked::Descriptor => Ok(Served { packet: node.descriptor(), seat: Some(seat) }),
        // Elsewhere in memory: the task of every link would be as large as these are, and most have a packet of a session.
        Asked::Sealed(number) => Box::pin(sealed(node, number, packet, (peer, Some(source)), seat)).await,
        Asked::Session(tag) => in_session(node, &tag, &packet, peer, seat).await,
        Asked::Onion(key, relayed) => Box::pin(hop::take(node, (key, relayed), packet, source, seat)).await,
    }
}

async fn sealed(
    node: &Node,
    number: u32,
    packet: Frame,
    (peer, source): (Peer, Option<Source>),
    seat: Seat,
) -> Result<Served, ClearCode> {
    // 4. The seal. What only looks like a thin request may be a packet of a session that is known no more.
    let unknown = if is_thin(packet.len()) { ClearCode::UnknownSession } else { ClearCode::UnknownKey };
    let secret = node.secret(number).ok_or(unknown)?;
    let opened = {
        let _turn = node.opening.acquire().await.map_err(|_| ClearCode::Busy)?;
        OpenedRequest::open(&packet, node.mail.server(), &secret).map_err(|_| ClearCode::Unreadable)?
    };
    drop(packet);
    // 5. Price, token, quota, signature: the service's matter.
    let OpenedRequest { request, reply } = opened;
    let mut caller = Caller::new(peer, reply.room(), seat);
    let answer = match request.kind {
        RequestKind::SessionOpen(body) => {
            session::open(node, body, reply.session_export(), source, &caller).await
        }
        kind => answer(node, kind, &mut caller).await,
    };
    let sealed = reply.seal(&answer, &mut **node.random()).map_err(|e| {
        tracing::error!("an answer could not be sealed: {e}");
        ClearCode::Busy
    })?;
    Ok(Served { packet: sealed.into(), seat: Some(caller.seat) })
}

async fn in_session(
    node: &Node,
    tag: &Tag,
    packet: &Frame,
    peer: Peer,
    seat: Seat,
) -> Result<Served, ClearCode> {
    let (answer, seat) = session::serve(node, tag, packet, peer, seat).await?;
    Ok(Served { packet: answer.into(), seat: Some(seat) })
}

/// What the services answer.
pub(super) async fn answer(node: &Node, request: RequestKind, caller: &mut Caller) -> Answer {
    let closing = match &request {
        RequestKind::Close(body) => Some(body.mailbox),
        _ => None,
    };
    if let RequestKind::Catalog(get) = &request {
        let Some(hop) = &node.hop else { return refuse(RefusalCode::Denied) };
        if !caller.seat.charge(CATALOG - 1, node.clock.elapsed()) {
            return busy(CATALOG.div_ceil(node.limits.rate));
        }
        return Answer::Catalog(hop.page(get.from, caller.room));
    }
    let Some((kind, entry)) = Kind::of(&request).and_then(|kind| Some((kind, node.table.entry(kind)?)))
    else {
        return refuse(RefusalCode::Denied);
    };
    let more = entry.price - 1;
    if !caller.seat.charge(more, node.clock.elapsed()) {
        return busy(more.div_ceil(node.limits.rate));
    }
    let answer = entry.service.answer(request, caller, &node.mail).await;
    if let Some(mailbox) = closing.filter(|_| answer == Answer::Done) {
        node.sessions.forget(&mailbox);
    }
    match &answer {
        Answer::Refused(refused) => tracing::debug!(?kind, code = ?refused.code, "refused"),
        _ => tracing::trace!(?kind, "answered"),
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a42_noise_on_a_bus_draws_no_answer() {
        assert!(!is_told(ClearCode::Unreadable, Pattern::Bus));
        assert!(
            !is_told(ClearCode::UnknownSession, Pattern::Bus),
            "any bytes of a thin length look like a session's"
        );
        assert!(is_told(ClearCode::UnknownKey, Pattern::Bus) && is_told(ClearCode::Busy, Pattern::Bus));
        assert!(is_told(ClearCode::Unreadable, Pattern::Exchange));
    }
}
