//! One onion packet: opened, known as new, kept for its delay, and then sent on, served here, or handed back.

use std::sync::Arc;
use std::time::Duration;

use meow_core::Result;
use meow_core::crypto::CryptoError;
use meow_core::onion::{Delivery, HopId, HopKey, OnionClass, Opened, Outcome, is_relayed, unmark_relayed};
use meow_core::request::{CatalogPage, ClearCode, MAX_ONWARD};
use meow_core::transport::{BoxFuture, Frame};
use meow_core::wire::{Fixed, List};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::exchange::{self, Served};
use super::node::Node;
use crate::Clock;
use crate::engine::{Budget, Source};
use crate::onion::{Catalog, Counters, Forwarder, Held, Hop, HopLimits, Sent, Tags, Target, Waiting, hourly};
use crate::service::Seat;

/// Units that a large packet takes from the rate of its source, beside the one that every request takes.
const LARGE: u32 = 3;

/// How often the servers to send on to are asked for their descriptors: keys stay good for a day after they turned.
const RELEARN: Duration = Duration::from_secs(30 * 60);
/// Pause after the first failure; it doubles with each.
const RETRY: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);

/// What a hop keeps.
pub(super) struct HopNode {
    own: HopId,
    tags: Tags,
    catalog: Catalog,
    forwarder: Forwarder,
    held: Arc<Held>,
    budget: Arc<Budget>,
    pub(super) counts: Counters,
    limits: HopLimits,
    /// Packets under way.
    tasks: TaskTracker,
}

impl HopNode {
    pub(super) fn new(hop: Hop, fingerprint: &[u8; 32], clock: Arc<dyn Clock>) -> Result<Self> {
        hop.check()?;
        let Hop { transports, servers, tags, limits } = hop;
        let catalog = Catalog::new(servers, &limits)?;
        // A URL that no transport takes is a slip of the operator: better now than packet by packet.
        catalog.urls().try_for_each(|url| transports.estimate(url).map(drop))?;
        tracing::info!(servers = catalog.len(), "this relay is a hop of onion chains");
        Ok(Self {
            own: HopId::of(fingerprint),
            tags: Tags::open(tags.as_deref(), limits.tags)?,
            catalog,
            forwarder: Forwarder::new(transports, &limits, clock),
            held: Held::new(limits.held, limits.held_per_source),
            budget: Budget::new(
                limits.queue_bytes,
                limits.per_source.saturating_mul(OnionClass::Small.len()),
                limits.server_share as usize,
            ),
            counts: Counters::default(),
            limits,
            tasks: TaskTracker::new(),
        })
    }

    /// The servers that packets are sent on to, as the descriptor names them.
    pub(super) fn onward(&self) -> List<Fixed<16>, MAX_ONWARD> {
        self.catalog.onward()
    }

    /// What a source is when it sends on for others: a server of the catalog speaks for its users, so it has a larger share.
    /// Whoever else is at its address has a part of that.
    ///
    /// Its address is all that a relay knows it by: links prove the Skp of the side that listens (`Peer::server`), never that of
    /// the side that dials. So a server that comes through a broker, where there are no addresses either, has its part of
    /// what the listener has and no share of its own: the hello of a channel is made from a fresh key alone, and the
    /// mark of relayed packets proves nothing. A share for whoever says there that it is a server would be anybody's.
    pub(super) fn relaying(&self, source: Source) -> Source {
        match source {
            Source::Address(address) => self.catalog.server_at(address).unwrap_or(source),
            _ => source,
        }
    }

    /// What those servers say of themselves.
    pub(super) fn page(&self, from: u16, room: usize) -> CatalogPage {
        self.catalog.page(from.into(), room)
    }

    /// Forgets the tags of keys that are gone.
    pub(super) async fn keep(&self, keys: &[HopKey]) {
        if let Err(e) = self.tags.keep(keys.iter().map(HopKey::number).collect()).await {
            tracing::error!(kind = e.kind().name(), "old tags of packets could not be forgotten: {e}");
        }
    }

    /// Waits until no packet is under way; they end when the relay stops. Then the log tells what became of all.
    pub(super) async fn rest(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.counts.read().tell("what became of onion packets, until the stop");
    }

    /// Whether this packet is new. Everything that keeps it from being known counts as "no", told as an error.
    async fn is_new(
        &self,
        node: &Node,
        key: &HopKey,
        opened: &Opened,
        source: Option<Source>,
    ) -> Result<bool, ClearCode> {
        let new = self.tags.see(key.number(), opened.tag(), source).await.map_err(|_| ClearCode::Busy)?;
        // Looked at after the tag was noted: if the key was gone by then, its tags may have been forgotten before.
        if node.hop_key(key.hint()).is_none_or(|now| now.number() != key.number()) {
            return Err(ClearCode::UnknownKey);
        }
        if !new {
            self.counts.replayed.add();
        }
        Ok(new)
    }
}

/// Keeps the descriptors fresh that the catalog shows, and tells the log of the counts, until the relay stops.
pub(super) async fn learn(node: Arc<Node>) {
    let Some(hop) = &node.hop else { return };
    let mut each = JoinSet::new();
    for (place, target) in hop.catalog.all().enumerate() {
        each.spawn(relearn(Arc::clone(&node), place, Arc::clone(target)));
    }
    // Dropped with the set.
    tokio::select! {
        () = node.stopping.cancelled() => {}
        () = hourly(&hop.counts, |now| now.tell("what became of onion packets, since the start")) => {}
    }
}

async fn relearn(node: Arc<Node>, place: usize, target: Arc<Target>) {
    let Some(hop) = &node.hop else { return };
    let mut pause = RETRY;
    loop {
        let wait = match hop.forwarder.describe(&target).await {
            Ok(()) => {
                pause = RETRY;
                hop.catalog.locate(place, &target).await;
                RELEARN
            }
            Err(e) => {
                tracing::debug!(kind = e.kind().name(), "a server to send on to does not say who it is");
                let wait = pause;
                pause = (pause * 2).min(LONGEST_RETRY);
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// The key that a packet is for, and whether another server sends it.
///
/// # Errors
/// `Unreadable` where this relay is no hop, `UnknownKey` where it has no such key.
pub(super) fn key(node: &Node, packet: &[u8]) -> Result<(HopKey, bool), ClearCode> {
    let hint = Opened::key_hint(packet).map_err(|_| ClearCode::Unreadable)?;
    node.hop.as_ref().ok_or(ClearCode::Unreadable)?;
    Ok((node.hop_key(hint).ok_or(ClearCode::UnknownKey)?, is_relayed(packet)))
}

/// A packet, as a link brought it.
struct Brought {
    key: HopKey,
    packet: Frame,
    /// Whether another server sends it.
    relayed: bool,
    source: Source,
}

/// Takes a packet that came by a link. The answer says no more than that, whatever the packet is; or it is the answer
/// that the packet's sender waits for.
pub(super) async fn take(
    node: &Arc<Node>,
    (key, relayed): (HopKey, bool),
    packet: Frame,
    source: Source,
    seat: Seat,
) -> Result<Served, ClearCode> {
    let hop = node.hop.as_ref().ok_or(ClearCode::Unreadable)?;
    if packet.len() > OnionClass::Small.len() && !seat.charge(LARGE, node.clock.elapsed()) {
        return Err(ClearCode::Busy);
    }
    let room = hop.budget.take(source, packet.len()).ok_or(ClearCode::Busy)?;
    let brought = Brought { key, packet, relayed, source };
    let (tell, told) = oneshot::channel();
    // On a task of its own, and all of it: once the tag is noted, the same packet sent again is a replay, so this one goes
    // on though the link that brought it is gone.
    let going = Arc::clone(node);
    hop.tasks.spawn(async move {
        let (opened, verdict) = match note(&going, brought).await {
            Ok((opened, waiting)) => (opened, Ok((seat, waiting))),
            Err(code) => (None, Err(code)),
        };
        // A link that is gone is told nothing.
        let _ = tell.send(verdict);
        if let Some(opened) = opened {
            until_stop(&going, opened).await;
        }
        drop(room);
    });
    let (mut seat, waiting) = told.await.map_err(|_| ClearCode::Busy)??;
    let Some(mut waiting) = waiting else { return Ok(Served::taken(seat)) };
    seat.leave();
    let answer = tokio::select! {
        answer = tokio::time::timeout(hop.limits.hold, waiting.answer()) => answer.ok().flatten(),
        () = node.stopping.cancelled() => None,
    };
    Ok(answer.map_or_else(|| Served::taken(seat), Served::packet))
}

/// Opens a packet and notes its tag. What is to be released, unless it is unreadable or was seen; and the place of its link,
/// where that waits for an answer.
async fn note(node: &Node, brought: Brought) -> Result<(Option<Opened>, Option<Waiting>), ClearCode> {
    let hop = node.hop.as_ref().ok_or(ClearCode::Unreadable)?;
    let Brought { key, packet, relayed, source } = brought;
    let Ok(opened) = open(node, &key, &packet).await? else {
        hop.counts.taken.add();
        hop.counts.unreadable.add();
        return Ok((None, None));
    };
    drop(packet);
    // Before the tag is noted: who finds no place may send the same packet again.
    // The link of another server is for its next packet: whoever made this one could tie it up otherwise.
    let place = match opened.hold().filter(|_| !relayed) {
        Some(slot) => Some((slot, hop.held.place(source).ok_or(ClearCode::Busy)?)),
        None => None,
    };
    let new = hop.is_new(node, &key, &opened, Some(source)).await?;
    hop.counts.taken.add();
    if !new {
        return Ok((None, None));
    }
    let waiting = place.and_then(|(slot, place)| hop.held.wait(slot, place));
    Ok((Some(opened), waiting))
}

/// Releases a packet, unless the relay stops first.
async fn until_stop(node: &Arc<Node>, opened: Opened) {
    tokio::select! {
        () = node.stopping.cancelled() => {
            if let Some(hop) = &node.hop {
                hop.counts.stopped.add();
            }
        }
        () = release(node, opened) => {}
    }
}

/// The one scalar multiplication, in its turn among all public-key work.
async fn open(node: &Node, key: &HopKey, packet: &[u8]) -> Result<Result<Opened, CryptoError>, ClearCode> {
    let _turn = node.opening.acquire().await.map_err(|_| ClearCode::Busy)?;
    let mut packet = packet.to_vec();
    unmark_relayed(&mut packet);
    Ok(Opened::open(packet, key))
}

/// What is done with a packet whose tag is durable.
fn release(node: &Arc<Node>, opened: Opened) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let Some(hop) = node.hop.as_ref() else { return };
        let (class, delay) = (opened.class(), opened.delay().duration());
        if delay > Duration::ZERO {
            tokio::time::sleep(delay).await;
        }
        match opened.release() {
            Err(_) => hop.counts.unreadable.add(),
            Ok(Outcome::Forward { next, packet }) => send(node, next, packet).await,
            Ok(Outcome::Reply { slot, packet }) => {
                let handed = hop.held.answer(slot, packet);
                if handed { hop.counts.answered.add() } else { hop.counts.unawaited.add() }
            }
            Ok(Outcome::Deliver(delivery)) => deliver(node, class, delivery).await,
            // An outcome of a later version.
            Ok(_) => hop.counts.unreadable.add(),
        }
    })
}

/// Serves a request as if it had come by a link from nowhere, and sends its answer on its way.
async fn deliver(node: &Arc<Node>, class: OnionClass, delivery: Delivery) {
    let Some(hop) = node.hop.as_ref() else { return };
    hop.counts.delivered.add();
    let answer = exchange::inside(node, delivery.request).await;
    let Some(block) = delivery.reply else { return };
    let first = block.first();
    match block.answer(class, &answer) {
        Ok(packet) => send(node, first, packet).await,
        // The sender asked for an answer that does not fit the packet's class.
        Err(_) => hop.counts.unreadable.add(),
    }
}

async fn send(node: &Arc<Node>, next: HopId, packet: Vec<u8>) {
    let Some(hop) = node.hop.as_ref() else { return };
    if next == hop.own {
        return again(node, packet).await;
    }
    let Some(target) = hop.catalog.find(&next) else {
        tracing::debug!("a packet is for a server that is not known here");
        return hop.counts.unknown.add();
    };
    match hop.forwarder.send(&target, packet).await {
        Sent::Taken => hop.counts.forwarded.add(),
        Sent::Crowded => hop.counts.crowded.add(),
        Sent::Failed => hop.counts.failed.add(),
    }
}

/// A packet whose next hop is this relay again. Each turn costs one of five slots, so this ends.
async fn again(node: &Arc<Node>, packet: Vec<u8>) {
    let Some(hop) = node.hop.as_ref() else { return };
    let Ok((key, _)) = key(node, &packet) else { return hop.counts.unreadable.add() };
    let opened = match open(node, &key, &packet).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) => return hop.counts.unreadable.add(),
        // No key is worked with any more.
        Err(_) => return hop.counts.stopped.add(),
    };
    match hop.is_new(node, &key, &opened, None).await {
        Ok(true) => release(node, opened).await,
        // Counted by whoever found that.
        Ok(false) => {}
        Err(_) => hop.counts.unnoted.add(),
    }
}

#[cfg(test)]
mod tests;
