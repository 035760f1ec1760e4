//! Reaching contacts without a server, where the policy allows it (spec, chapter "Presence and direct").
//!
//! A message is handed over on a link that is up, or on one that is dialled for it; whatever the contact has not said to
//! have taken goes by the next route of the policy, as the same bytes.

mod dial;
mod find;
mod leave;
mod link;
mod listen;
mod offer;
mod places;
mod present;
mod tie;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::identity::ContactId;
use meow_core::transport::{Addresses, Endpoint};
use meow_core::{Error, ErrorKind};
use meow_transport::Transports;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub(crate) use dial::is_thin_link;
pub use find::Presence;
pub(crate) use leave::disown;
use link::Live;
pub(crate) use offer::{DIRECT, note_offer, offer_again};
use tie::{May, Ties};

/// Links of one contact at a time: a fifth takes the place of the oldest.
const MAX_LINKS: usize = 4;
/// Links that have proved nothing yet, at a time.
const MAX_STRANGERS: usize = 16;
/// Hellos that are remembered, so that none is answered twice.
const MAX_HELLOS: usize = 1024;
/// The first pause after a contact was not reached; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What all that is direct shares.
pub(crate) struct Direct {
    transports: Transports,
    /// Which of the addresses that contacts name may be dialled, beside those of this machine's own network.
    addresses: Addresses,
    /// Where to listen while the client runs.
    listen: Vec<Endpoint>,
    /// Where this client listens, while it runs.
    local: watch::Sender<Vec<Endpoint>>,
    strangers: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: HashMap<ContactId, Vec<Live>>,
    tries: HashMap<ContactId, Tries>,
    ties: Ties,
    hellos: Hellos,
}

/// When a contact may be dialled again.
struct Tries {
    not_before: Instant,
    pause: Duration,
}

impl Tries {
    fn new() -> Self {
        Self { not_before: Instant::now(), pause: FIRST_PAUSE }
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

/// Why no contact is dialled, and none listened for, at such a place.
fn no_session(place: &Endpoint) -> Error {
    let text = format!(
        "a direct link needs a transport on which both sides may speak at any time, which {} is not; name a place with udp or \
         serial",
        place.scheme()
    );
    Error::new(ErrorKind::Usage, text)
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
        let local = watch::Sender::default();
        Self { transports, addresses, listen, local, strangers, state: Mutex::default() }
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

    /// Where the newest link to a contact that is up leads, or came in.
    pub(crate) fn leads(&self, id: &ContactId) -> Option<Endpoint> {
        self.links(id).first().map(|live| live.at().clone())
    }

    /// A link over which nothing comes any more.
    fn give_up(&self, id: &ContactId, live: &Live) {
        if let Some(links) = self.state().links.get_mut(id) {
            links.retain(|other| !other.is(live));
        }
    }

    /// Adds a link, unless it was to end before it began.
    fn add(&self, id: ContactId, live: Live) {
        let mut state = self.state();
        if !live.is_up() {
            return;
        }
        state.tries.remove(&id);
        let links = state.links.entry(id).or_default();
        links.retain(Live::is_up);
        if links.len() >= MAX_LINKS {
            links.remove(0);
        }
        links.push(live);
    }

    /// Ends all links, and what is under way to become one: the client sleeps, ends or moves to another network.
    pub(crate) fn hang_up(&self) {
        self.cut(|_, _| true);
    }

    /// The same with a contact that is gone.
    pub(crate) fn hang_up_on(&self, id: &ContactId) {
        self.cut(|other, _| other == id);
    }

    fn cut(&self, which: impl Fn(&ContactId, May) -> bool) {
        let mut state = self.state();
        state.ties.cut(&which);
        state.tries.retain(|id, _| !which(id, May::Dial));
        state.links.retain(|_, links| {
            links.retain(Live::is_up);
            !links.is_empty()
        });
    }

    /// How long a contact must not be dialled yet; if it may be, this counts as a failure until a link is up.
    fn try_now(&self, id: ContactId) -> Result<(), Duration> {
        let mut state = self.state();
        state.tries.retain(|_, tries| tries.counts());
        state.tries.entry(id).or_insert_with(Tries::new).try_now()
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
