//! The header: 388 bytes whatever the number of hops. `ephemeral key [32] | MAC [16] | slots [340]`.

use subtle::ConstantTimeEq;

use super::class::OnionClass;
use super::keys::{HopKey, Shared, hint_of};
use super::slot::{Delay, Role, Slot};
use super::{HEADER, KEY, MAC, MAX_HOPS, OnionError, PAYLOAD, PREFIX, SLOT, SLOTS};
use crate::crypto::{CryptoError, DhPublic, DhSecret, Random, key_stream, short_mac};
use crate::onion::Step;
use crate::wire::Suite;

/// A header that was made, and what the sender shares with each hop in order.
pub(super) struct Made {
    pub(super) hint: u8,
    pub(super) bytes: [u8; HEADER],
    pub(super) shared: Vec<Shared>,
}

/// How a route ends.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// A request for the last hop; the first keeps the sender's link open when an answer is to come.
    Deliver { hold: bool },
    /// An answer for the link that the last hop holds open.
    Reply([u8; 16]),
}

/// Makes the header of a route.
pub(super) fn make(
    class: OnionClass,
    route: &[Step],
    end: End,
    random: &mut dyn Random,
) -> Result<Made, OnionError> {
    if route.is_empty() || route.len() > MAX_HOPS {
        return Err(OnionError::Route);
    }
    let mut publics = Vec::with_capacity(route.len());
    let mut shared = Vec::with_capacity(route.len());
    for step in route {
        let ephemeral = DhSecret::generate(random)?;
        let public = ephemeral.public();
        shared.push(Shared::new(&ephemeral.agree(&step.key)?, &public, &step.key));
        publics.push(public);
    }

    // From the last hop inwards out: the slots as that hop will see them, then what its predecessor sees around them.
    let (mut slots, mut next) = last(&shared, route, end, random)?;
    let mut mac = [0; MAC];
    let numbered = shared.iter().zip(&publics).zip(route).enumerate().rev();
    for (at, ((shared, public), step)) in numbered {
        if at + 1 < route.len() {
            let hold = at == 0 && matches!(end, End::Deliver { hold: true });
            let slot = Slot { mac, role: Role::Forward, hold, delay: step.delay, ..next };
            slots.copy_within(..SLOTS - SLOT, SLOT);
            put(&mut slots, &slot.to_bytes());
            key_stream(&shared.stream, &mut slots);
        }
        let hint = hint_of(step.number);
        mac = mac_of(shared, class, hint, public, &slots);
        next = Slot { next: step.id.0, key: *public.as_bytes(), hint, ..next };
    }
    let mut bytes = [0; HEADER];
    let all = next.key.iter().chain(&mac).chain(&slots);
    bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
    Ok(Made { hint: next.hint, bytes, shared })
}

/// The slots as the last hop sees them: its own, noise where hops are missing, and the filler at the end. The first
/// two are under its key stream; the filler is what the streams of the hops before make of the zeros that they append.
fn last(
    shared: &[Shared],
    route: &[Step],
    end: End,
    random: &mut dyn Random,
) -> Result<([u8; SLOTS], Slot), OnionError> {
    let (Some(keys), Some(step)) = (shared.last(), route.last()) else { return Err(OnionError::Route) };
    let before = shared.len() - 1;
    let mut slots = [0; SLOTS];
    // Noise and not zeros: what follows the last slot must not tell how many hops there were.
    random.fill(&mut slots)?;
    let mut slot = Slot::noise(&slots, step.delay);
    match end {
        End::Deliver { hold } => (slot.role, slot.hold) = (Role::Deliver, hold && before == 0),
        End::Reply(to) => (slot.role, slot.next) = (Role::Reply, to),
    }
    put(&mut slots, &slot.to_bytes());
    let (own, tail) = slots.split_at_mut(SLOTS - before * SLOT);
    key_stream(&keys.stream, own);
    tail.iter_mut().zip(filler(shared.get(..before).unwrap_or_default())).for_each(|(to, from)| *to = from);
    Ok((slots, slot))
}

fn filler(before: &[Shared]) -> Vec<u8> {
    let mut filler = Vec::with_capacity(SLOTS);
    for shared in before {
        let mut window = [0; SLOTS + SLOT];
        let kept = SLOTS - filler.len();
        if let Some(part) = window.get_mut(kept..SLOTS) {
            part.copy_from_slice(&filler);
        }
        key_stream(&shared.stream, &mut window);
        filler = window.get(kept..).unwrap_or_default().to_vec();
    }
    filler
}

fn put(slots: &mut [u8; SLOTS], slot: &[u8; SLOT]) {
    slots.iter_mut().zip(slot).for_each(|(to, from)| *to = *from);
}

fn mac_of(shared: &Shared, class: OnionClass, hint: u8, public: &DhPublic, slots: &[u8; SLOTS]) -> [u8; MAC] {
    short_mac(&shared.mac, &[&[Suite::Onion.byte(), class.byte(), hint], public.as_bytes(), slots])
}

impl Slot {
    /// A slot whose next hop is noise.
    fn noise(noise: &[u8; SLOTS], delay: Delay) -> Self {
        let take = |from: usize| noise.get(from).copied().unwrap_or_default();
        Self {
            next: std::array::from_fn(take),
            key: std::array::from_fn(|i| take(16 + i)),
            mac: std::array::from_fn(|i| take(48 + i)),
            role: Role::Deliver,
            hold: false,
            hint: take(65),
            delay,
        }
    }
}

/// A header that a hop has opened: its own slot, and the slots that go to the next.
pub(super) struct Peeled {
    pub(super) shared: Shared,
    pub(super) slot: Slot,
    rest: [u8; SLOTS],
}

impl Peeled {
    /// Opens the header of a packet: one scalar multiplication.
    pub(super) fn open(class: OnionClass, packet: &[u8], key: &HopKey) -> Result<Self, CryptoError> {
        let (prefix, rest) = packet.split_first_chunk::<PREFIX>().ok_or(CryptoError::Rejected)?;
        let (public, rest) = rest.split_first_chunk::<KEY>().ok_or(CryptoError::Rejected)?;
        let (mac, rest) = rest.split_first_chunk::<MAC>().ok_or(CryptoError::Rejected)?;
        let (slots, _) = rest.split_first_chunk::<SLOTS>().ok_or(CryptoError::Rejected)?;
        let [_, hint] = *prefix;
        if hint != key.hint() {
            return Err(CryptoError::Rejected);
        }
        let public = DhPublic::from_bytes(public).map_err(|_| CryptoError::Rejected)?;
        let shared = key.agree(&public).map_err(|_| CryptoError::Rejected)?;
        if !bool::from(mac_of(&shared, class, hint, &public, slots).ct_eq(mac)) {
            return Err(CryptoError::Rejected);
        }
        let mut window = [0; SLOTS + SLOT];
        window.iter_mut().zip(slots).for_each(|(to, from)| *to = *from);
        key_stream(&shared.stream, &mut window);
        let (own, rest) = window.split_first_chunk::<SLOT>().ok_or(CryptoError::Rejected)?;
        let (rest, _) = rest.split_first_chunk::<SLOTS>().ok_or(CryptoError::Rejected)?;
        Ok(Self { slot: Slot::from_bytes(own)?, rest: *rest, shared })
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// Writes the next hop's prefix and header over this hop's.
    pub(super) fn onto(&self, packet: &mut [u8]) {
        let head = [Suite::Onion.byte(), self.slot.hint];
        let all = head.iter().chain(&self.slot.key).chain(&self.slot.mac).chain(&self.rest);
        packet.iter_mut().take(PAYLOAD).zip(all).for_each(|(to, from)| *to = *from);
    }
}
