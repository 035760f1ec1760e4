//! Making packets.

use super::class::OnionClass;
use super::header::{self, End, Made};
use super::reply::{PendingReply, ReplyBlock};
use super::slot::{Delay, HopId};
use super::{OnionError, PAYLOAD, SEAL};
use crate::crypto::{DhPublic, Random, Secret};
use crate::wire::{Suite, pad};

/// One server of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who it is.
    pub id: HopId,
    /// Number of its online key.
    pub number: u32,
    /// Its online key.
    pub key: DhPublic,
    /// How long it keeps the packet.
    pub delay: Delay,
}

/// Makes a packet that carries a request along a route; no answer comes back. The first of `route` is where to send the
/// packet, the last finds the request.
///
/// # Errors
/// [`OnionError::Route`] unless there are 1 to 5 hops, [`OnionError::TooLong`] beyond
/// [`OnionClass::request_room`], [`OnionError::Crypto`].
pub fn seal(
    class: OnionClass,
    route: &[Step],
    request: &[u8],
    random: &mut dyn Random,
) -> Result<Vec<u8>, OnionError> {
    let made = header::make(class, route, End::Deliver { hold: false }, random)?;
    packet(class, &made, None, request)
}

/// Makes a packet with a reply block. The answer comes back on the link that the packet is sent by: the way back ends at
/// the server where the way there begins.
///
/// # Errors
/// As [`seal`], for both ways, and [`OnionError::Back`].
pub fn seal_with_reply(
    class: OnionClass,
    there: &[Step],
    back: &[Step],
    request: &[u8],
    random: &mut dyn Random,
) -> Result<(Vec<u8>, PendingReply), OnionError> {
    let made = header::make(class, there, End::Deliver { hold: true }, random)?;
    let (Some(entry), Some(first)) = (made.shared.first(), back.first()) else {
        return Err(OnionError::Route);
    };
    if there.first().map(|step| step.id) != back.last().map(|step| step.id) {
        return Err(OnionError::Back);
    }
    let returning = header::make(class, back, End::Reply(entry.slot.0), random)?;
    let key = Secret::generate(random)?;
    let block = ReplyBlock::new(first.id, &returning, key.clone());
    let packet = packet(class, &made, Some(&block), request)?;
    Ok((packet, PendingReply::new(class, returning.shared, key)))
}

fn packet(
    class: OnionClass,
    made: &Made,
    block: Option<&ReplyBlock>,
    request: &[u8],
) -> Result<Vec<u8>, OnionError> {
    let mut payload = Vec::with_capacity(class.len() - PAYLOAD);
    payload.extend_from_slice(&[0; SEAL]);
    payload.push(block.is_some().into());
    if let Some(block) = block {
        block.write(&mut payload);
    }
    payload.extend_from_slice(request);
    pad(&mut payload, class.len() - PAYLOAD).map_err(|_| OnionError::TooLong)?;
    for shared in made.shared.iter().rev() {
        shared.layer().encrypt(&mut payload)?;
    }
    Ok(join(made.hint, &made.bytes, &payload))
}

/// Prefix, header and payload.
pub(super) fn join(hint: u8, header: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[Suite::Onion.byte(), hint], header, payload].concat()
}
