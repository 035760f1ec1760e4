//! Reaching contacts without a server, where the policy allows it (spec, chapter "Presence and direct").
//!
//! A message is handed over on a link that is up, or on one that is dialled for it; whatever the contact has not said to
//! have taken goes by the next route of the policy, as the same bytes.

mod dial;
mod find;
mod link;
mod listen;
mod offer;
mod places;
mod present;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::identity::ContactId;
use meow_core::transport::{Addresses, Endpoint};
use meow_transport::Transports;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use find::Presence;
use link::Live;
pub(crate) use offer::{DIRECT, note_offer, offer_again};

/// Links of one contact at a time: a fifth takes the place of the oldest.
const MAX_LINKS: usize = 4;
/// Links that have proved nothing yet, at a time.
const MAX_STRANGERS: usize = 16;
/// Hellos that are remembered, so that none is answered twice.
const MAX_HELLOS: usize = 1024;
/// The first pause after a contact was not reached; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// The first pause after nobody has answered at an address that a contact named: no longer than between two knocks, so that
/// each of them can be answered.
const FIRST_PAUSE_AT: Duration = Duration::from_secs(5);
/// Addresses that contacts named, and at which nobody has answered lately, at most; beyond, no further one is dialled.
const MAX_PLACES: usize = 1024;

/// What all that is direct shares.
pub(crate) struct Direct {
    transports: Transports,
    /// Which of the addresses that contacts name may be dialled, beside those of this machine's own network.
    addresses: Addresses,
    /// Where to listen while the client runs.
    listen: Vec<Endpoint>,
    strangers: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: HashMap<ContactId, Vec<Live>>,
    tries: HashMap<ContactId, Tries>,
    /// By address, whichever contact named it.
    places: HashMap<IpAddr, Named>,
    /// Where this client listens, while it runs.
    local: Vec<Endpoint>,
    hellos: Hellos,
}

/// When a contact, or an address, may be dialled again.
struct Tries {
    not_before: Instant,
    pause: Duration,
}

/// An address that a contact named, and which one did first.
struct Named {
    by: ContactId,
    tries: Tries,
}

impl Tries {
    fn new(first: Duration) -> Self {
        Self { not_before: Instant::now(), pause: first }
    }

    /// How long it must not be dialled yet; if it may be, this counts as a failure.
    fn try_now(&mut self) -> Result<(), Duration> {
        let now = Instant::now();
        if self.not_before > now {
            return Err(self.not_before - now);
        }
        self.not_before = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// It was dialled not long ago.
    fn counts(&self) -> bool {
        self.not_before + LONGEST_PAUSE > Instant::now()
    }
}

/// What counts as one address: a network of 64 bits is one host's to fill.
fn place(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

/// The hellos that came last.
#[derive(Default)]
struct Hellos {
    known: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Hellos {
    /// False for one that came before.
    fn note(&mut self, hello: [u8; 32]) -> bool {
        if !self.known.insert(hello) {
            return false;
        }
        self.order.push_back(hello);
        if self.order.len() > MAX_HELLOS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl Direct {
    pub(crate) fn new(transports: Transports, addresses: Addresses, listen: Vec<Endpoint>) -> Self {
        let strangers = Arc::new(Semaphore::new(MAX_STRANGERS));
        Self { transports, addresses, listen, strangers, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every statement that holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The links to a contact that are up, the newest first.
    fn links(&self, id: &ContactId) -> Vec<Live> {
        let mut state = self.state();
        let Some(links) = state.links.get_mut(id) else { return Vec::new() };
        links.retain(Live::is_up);
        links.iter().rev().cloned().collect()
    }

    /// A link over which nothing comes any more.
    fn give_up(&self, id: &ContactId, live: &Live) {
        if let Some(links) = self.state().links.get_mut(id) {
            links.retain(|other| !other.is(live));
        }
    }

    fn add(&self, id: ContactId, live: Live) {
        let mut state = self.state();
        state.tries.remove(&id);
        let links = state.links.entry(id).or_default();
        links.retain(Live::is_up);
        if links.len() >= MAX_LINKS {
            links.remove(0);
        }
        links.push(live);
    }

    /// Ends all links: the client sleeps, ends or moves to another network.
    pub(crate) fn hang_up(&self) {
        let mut state = self.state();
        state.links.clear();
        state.tries.clear();
        state.places.clear();
    }

    /// Ends the links to a contact that may not be reached directly any more.
    pub(crate) fn hang_up_on(&self, id: &ContactId) {
        let mut state = self.state();
        state.links.remove(id);
        state.tries.remove(id);
    }

    /// How long a contact must not be dialled yet; if it may be, this counts as a failure until a link is up.
    fn try_now(&self, id: ContactId) -> Result<(), Duration> {
        let mut state = self.state();
        state.tries.retain(|_, tries| tries.counts());
        state.tries.entry(id).or_insert_with(|| Tries::new(FIRST_PAUSE)).try_now()
    }

    /// Whether an address may be dialled because a contact named it: if so, this counts as a failure until somebody proves to
    /// be a contact there. Whoever has many contacts point at one address gets no more packets there than with one of them. No
    /// contact has more of the places than it leaves to others, so a few who name ever new ones keep nobody from being dialled.
    fn may_dial_at(&self, by: ContactId, ip: IpAddr) -> bool {
        let mut state = self.state();
        state.places.retain(|_, named| named.tries.counts());
        let ip = place(ip);
        let own = state.places.values().filter(|named| named.by == by).count();
        if own >= MAX_PLACES.saturating_sub(state.places.len()) && !state.places.contains_key(&ip) {
            return false;
        }
        let named = state.places.entry(ip).or_insert_with(|| Named { by, tries: Tries::new(FIRST_PAUSE_AT) });
        named.tries.try_now().is_ok()
    }

    /// A contact has answered at this address.
    fn answered_at(&self, ip: IpAddr) {
        self.state().places.remove(&place(ip));
    }

    /// The contact has shown that it is there: it may be dialled at once.
    fn may_try(&self, id: &ContactId) {
        self.state().tries.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct() -> Direct {
        Direct::new(Transports::new(), Addresses::public(), Vec::new())
    }

    #[tokio::test(start_paused = true)]
    async fn a28_a_contact_is_dialled_ever_less_often() {
        let (direct, id) = (direct(), ContactId::from_bytes([1; 16]));
        let mut dialled = 0;
        for _ in 0..3600 {
            dialled += u32::from(direct.try_now(id).is_ok());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // After 0, 10, 30, 70, 150, 310, 630 and then every 600 seconds.
        assert_eq!(dialled, 11);
        assert!(direct.try_now(id).is_err());
        direct.may_try(&id);
        assert!(direct.try_now(id).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a28_an_address_is_dialled_ever_less_often_however_many_contacts_name_it() {
        let direct = direct();
        let contact = |n: u16| ContactId::from_bytes(u128::from(n).to_be_bytes());
        let victim = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]);
        let mut dialled = 0;
        for second in 0..3600 {
            // A thousand contacts at once, each with another address of one network.
            dialled += (0..1000).filter(|n| direct.may_dial_at(contact(*n), victim(second ^ n))).count();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // After 0, 5, 15, 35, 75, 155, 315, 635, 1,235 seconds and so on.
        assert_eq!(dialled, 12);
        let other = IpAddr::from([192, 0, 2, 1]);
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert!(direct.may_dial_at(contact(1), other) && !direct.may_dial_at(contact(2), mapped));
        direct.answered_at(other);
        assert!(direct.may_dial_at(contact(2), other), "whoever answers is no victim");
        // What is remembered is bounded, and one that is not remembered is not dialled. Who names many leaves room to others.
        let mut new = (0..u32::MAX).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        let counts = [11, 12, 13].map(|n| {
            let mut next = || direct.may_dial_at(contact(n), new.next().unwrap());
            (0..3000).filter(|_| next()).count()
        });
        assert_eq!(counts, [(MAX_PLACES - 2) / 2, MAX_PLACES / 4, MAX_PLACES / 8]);
        assert!(direct.may_dial_at(contact(14), [10, 9, 9, 9].into()));
        tokio::time::advance(Duration::from_secs(1200)).await;
        assert!(direct.may_dial_at(contact(11), [10, 9, 9, 9].into()));
        assert_eq!(direct.state().places.len(), 1);
    }

    #[test]
    fn a_hello_counts_once_and_few_are_kept() {
        let mut hellos = Hellos::default();
        let hello = |n: u32| {
            let mut hello = [0; 32];
            hello[..4].copy_from_slice(&n.to_be_bytes());
            hello
        };
        assert!(hellos.note(hello(0)) && !hellos.note(hello(0)));
        (1..3000).for_each(|n| assert!(hellos.note(hello(n))));
        assert_eq!((hellos.known.len(), hellos.order.len()), (MAX_HELLOS, MAX_HELLOS));
    }
}
