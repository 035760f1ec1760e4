//! What servers say of themselves, from the catalogs of those that may be first in a chain.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use meow_core::lane::ServerRef;
use meow_core::onion::HopId;
use meow_core::policy::Chain;
use meow_core::request::{
    Answer, CatalogGet, CatalogPage, Descriptor, Listed, MAX_ONWARD, MAX_SUBNETS, RequestKind, SealingKey,
};
use meow_core::transport::Subnet;
use meow_core::wire::List;
use meow_core::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::failed::Failed;
use super::hops::{KnownHop, known_hops};
use super::known::{Known, View, in_pool};
use super::path::Path;
use crate::client::Inner;
use crate::mailbox::unexpected;
use crate::server::{Always, Answered, Ask, Room, Seal, To, refused};
use crate::servers::own_servers;

/// Servers whose catalogs are remembered.
const MAX_CATALOGS: usize = 256;
/// How long a catalog is good. Hops ask for each other's keys every half an hour, and keys stay good for a day.
const FRESH: Duration = Duration::from_secs(15 * 60);
/// How long one is good that lacks servers to which the hop sends on: it may have started a moment ago.
const PARTIAL: Duration = Duration::from_secs(2 * 60);
/// How long chains are drawn by one while it is asked for anew.
const STALE: Duration = Duration::from_secs(60 * 60);
/// How long one that could not be had is not asked for again.
const REST: Duration = Duration::from_secs(20);
/// How long a catalog is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// Of a page: 32 KiB.
const PAGE: Room = Room::Class(4);

/// What servers say of themselves, by who showed it.
#[derive(Default)]
pub(crate) struct Directory {
    catalogs: HashMap<[u8; 32], Catalog>,
    asked: HashMap<[u8; 32], Asked>,
    /// Those that are asked for at this moment, each once; the sender is gone when that is over.
    asking: HashMap<[u8; 32], watch::Receiver<()>>,
    failed: Failed,
}

/// What one server has shown: its own descriptor, and those of the servers that it sends on to.
type Catalog = HashMap<[u8; 32], Shown>;

/// A server as another one has shown it.
struct Shown {
    descriptor: Arc<Descriptor>,
    /// Where that other one has found it.
    found: List<Subnet, MAX_SUBNETS>,
}

/// When a catalog was asked for, and for how long it is not again.
struct Asked {
    at: Instant,
    rest: Duration,
    answered: bool,
}

impl Asked {
    /// Now; `whole` where it was had, true if it lacked nothing.
    fn now(whole: Option<bool>) -> Self {
        let rest = match whole {
            None => REST,
            Some(false) => PARTIAL,
            Some(true) => FRESH,
        };
        Self { at: Instant::now(), rest, answered: whole.is_some() }
    }
}

/// Whether a catalog is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    No,
    /// Chains are drawn meanwhile by what is there: a server that is silent keeps no packet waiting.
    Meanwhile,
    /// Chains wait for it: it may show other keys than others do, and nobody has looked yet.
    First,
}

/// Adds a page to a catalog.
///
/// # Errors
/// `Malformed` for a descriptor that is not signed by its server, for networks that are not in order or stand there twice, and
/// for more servers than a hop sends on to.
fn add(catalog: &mut Catalog, page: CatalogPage) -> Result<()> {
    for Listed { signed, found } in page.servers.into_vec() {
        let fingerprint = signed.fingerprint();
        let descriptor = Arc::new(signed.verified(&fingerprint)?);
        if catalog.len() == MAX_ONWARD && !catalog.contains_key(&fingerprint) {
            return Err(unexpected());
        }
        if !found.is_sorted_by(|one, next| one < next) {
            return Err(unexpected());
        }
        catalog.insert(fingerprint, Shown { descriptor, found });
    }
    Ok(())
}

/// The key that requests and packets are sealed to.
fn key(descriptor: &Descriptor) -> Option<(u32, &[u8; 32])> {
    descriptor.online_key().map(|SealingKey { number, key, .. }| (*number, key.as_bytes()))
}

impl Directory {
    /// Takes what a server has shown, in the place of what it showed before.
    fn take(&mut self, shown_by: [u8; 32], catalog: Catalog) {
        if self.catalogs.len() < MAX_CATALOGS || self.catalogs.contains_key(&shown_by) {
            self.catalogs.insert(shown_by, catalog);
        }
    }

    /// Forgets what those have shown whom the user names no more.
    fn keep(&mut self, named: &[KnownHop]) {
        self.catalogs.retain(|shown_by, _| named.iter().any(|hop| hop.reference.fingerprint == *shown_by));
    }

    /// All servers of which there is a descriptor.
    pub(super) fn servers(&self) -> BTreeSet<[u8; 32]> {
        self.catalogs.values().flat_map(HashMap::keys).copied().collect()
    }

    /// What others show of a server. A key that was made for one client alone would tell who sends, whatever the chain: so
    /// the one that most of them show counts, and the newest among equals.
    pub(super) fn shown(&self, server: &[u8; 32]) -> Option<&Arc<Descriptor>> {
        let others = self.catalogs.iter().filter(|(shown_by, _)| *shown_by != server);
        let all: Vec<_> =
            others.filter_map(|(_, catalog)| catalog.get(server)).map(|it| &it.descriptor).collect();
        let votes = |one: &Descriptor| all.iter().filter(|other| key(other) == key(one)).count();
        all.iter().copied().max_by_key(|one| (votes(one), one.issued))
    }

    /// What a server says itself: good for the link to it, and for nothing that hides from it who asks.
    pub(super) fn said(&self, server: &[u8; 32]) -> Option<&Arc<Descriptor>> {
        self.catalogs.get(server)?.get(server).map(|it| &it.descriptor)
    }

    /// In which networks these have found a server: those that half of them name who found it at all, or else all, since a
    /// server may show another face to each.
    pub(super) fn found(&self, server: &[u8; 32], by: &BTreeSet<[u8; 32]>) -> BTreeSet<Subnet> {
        let theirs = self.catalogs.iter().filter(|(shown_by, _)| by.contains(*shown_by));
        let words: Vec<_> = theirs
            .filter_map(|(_, catalog)| catalog.get(server))
            .map(|it| &it.found)
            .filter(|found| !found.is_empty())
            .collect();
        let all: BTreeSet<Subnet> = words.iter().flat_map(|found| found.iter().copied()).collect();
        let agreed =
            |subnet: &&Subnet| 2 * words.iter().filter(|found| found.contains(subnet)).count() >= words.len();
        let most: BTreeSet<_> = all.iter().filter(agreed).copied().collect();
        if most.is_empty() { all } else { most }
    }

    /// Whether these have found any server at all.
    pub(super) fn finds(&self, by: &BTreeSet<[u8; 32]>) -> bool {
        let mut theirs = self.catalogs.iter().filter(|(shown_by, _)| by.contains(*shown_by));
        theirs.any(|(_, catalog)| catalog.values().any(|it| !it.found.is_empty()))
    }

    /// Asks for every catalog anew: keys have turned, or the network or what the user says has changed. What is under way
    /// counts no more.
    pub(crate) fn forget(&mut self) {
        self.asked.clear();
        self.asking.clear();
        self.failed.forget();
    }

    /// No answer came by this path.
    pub(super) fn failed(&mut self, path: &Path) {
        self.failed.note(path);
    }

    /// A packet was lost, perhaps because a key has turned: catalogs that are not of this moment are asked for anew.
    pub(super) fn look_again(&mut self) {
        self.asked.retain(|_, asked| !asked.answered || asked.at.elapsed() < REST);
    }

    /// This server did not do its part: its catalog is asked for before it is the first again.
    pub(super) fn doubt(&mut self, first: &[u8; 32]) {
        if let Some(asked) = self.asked.get_mut(first) {
            (asked.answered, asked.rest) = (false, Duration::ZERO);
        }
    }

    fn due(&self, fingerprint: &[u8; 32]) -> Due {
        match self.asked.get(fingerprint).map(|asked| (asked, asked.at.elapsed())) {
            None => Due::First,
            Some((asked, age)) if age < asked.rest => Due::No,
            Some((asked, age)) if asked.answered && age >= STALE => Due::First,
            Some(_) => Due::Meanwhile,
        }
    }

    /// Asks for a catalog where it is due, unless that is under way. What chains are to wait for: its end, if there is nothing
    /// to draw them of or it comes first. `ask` keeps what it gets until it has [`heard`](Self::heard).
    fn look(
        &mut self,
        fingerprint: [u8; 32],
        nothing: bool,
        ask: impl FnOnce(watch::Sender<()>),
    ) -> Option<watch::Receiver<()>> {
        let due = self.due(&fingerprint);
        if due == Due::No {
            return None;
        }
        let under_way = self.asking.get(&fingerprint).filter(|end| end.has_changed().is_ok());
        let end = under_way.cloned().unwrap_or_else(|| {
            let (asking, end) = watch::channel(());
            ask(asking);
            end
        });
        self.asking.insert(fingerprint, end.clone());
        (nothing || due == Due::First).then_some(end)
    }

    /// What came of that, unless all was forgotten since.
    fn heard(&mut self, fingerprint: [u8; 32], asking: &watch::Sender<()>, whole: Option<bool>) {
        if self.asking.get(&fingerprint).is_some_and(|end| end.same_channel(&asking.subscribe())) {
            self.asking.remove(&fingerprint);
            self.asked.insert(fingerprint, Asked::now(whole));
        }
    }

    pub(super) fn answers(&self, fingerprint: &[u8; 32]) -> bool {
        self.asked.get(fingerprint).is_some_and(|asked| asked.answered)
    }
}

impl Inner {
    pub(crate) fn directory(&self) -> MutexGuard<'_, Directory> {
        // Whole after every statement that holds the lock.
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a server says of itself, as far as it was asked or is in a catalog.
    pub(crate) fn described(&self, fingerprint: &[u8; 32]) -> Option<Arc<Descriptor>> {
        let asked = self.servers.told().descriptor(fingerprint);
        asked.or_else(|| self.directory().shown(fingerprint).cloned())
    }

    /// What chains to a server can be drawn of. The catalogs of those that may be first are asked for where they are not fresh,
    /// each once however many ask; they are waited for where chains cannot be drawn before. Whole catalogs: what is asked says
    /// nothing of who is meant. None of `avoid` is asked.
    ///
    /// # Errors
    /// Those of the store. Servers that do not answer cannot be first.
    ///
    /// # Cancel safety
    /// Cancel-safe; what was asked for still comes.
    pub(super) async fn places(
        self: &Arc<Self>,
        chain: &Chain,
        target: &HopId,
        avoid: &[[u8; 32]],
    ) -> Result<Known> {
        let (hops, own) = self.read(|txn| Ok((known_hops(txn)?, own_servers(txn)?))).await?;
        let waited_for: Vec<_> = {
            let mut directory = self.directory();
            let may_be_first =
                |hop: &&KnownHop| in_pool(hop, &chain.first) && !avoid.contains(&hop.reference.fingerprint);
            let firsts: Vec<_> = hops.iter().filter(may_be_first).collect();
            let nothing = !firsts.iter().any(|hop| directory.answers(&hop.reference.fingerprint));
            let look = |hop: &KnownHop| {
                directory.look(hop.reference.fingerprint, nothing, |asking| {
                    let (inner, hop) = (Arc::clone(self), hop.clone());
                    tokio::spawn(async move { inner.ask_catalog(&hop, asking).await });
                })
            };
            firsts.into_iter().filter_map(look).collect()
        };
        // Nothing is ever sent by these: they end.
        join_all(waited_for.into_iter().map(|mut end| async move { end.changed().await })).await;
        let mut directory = self.directory();
        directory.keep(&hops);
        let own = own.iter().map(|own| own.reference.fingerprint).collect();
        let view = View::new(&directory, &hops, &own, &chain.first);
        let (places, firsts) = (view.places(), view.firsts());
        Ok(Known { places, firsts, failed: directory.failed.of(target) })
    }

    async fn ask_catalog(&self, hop: &KnownHop, asking: watch::Sender<()>) {
        let whole = match timeout(PATIENCE, self.catalog_of(hop)).await {
            Ok(Ok(whole)) => Some(whole),
            Ok(Err(e)) => {
                tracing::debug!(kind = e.kind().name(), "a hop does not show its catalog");
                None
            }
            Err(_) => None,
        };
        self.directory().heard(hop.reference.fingerprint, &asking, whole);
    }

    /// Asks for a catalog; true where it shows every server that the hop sends on to.
    async fn catalog_of(&self, hop: &KnownHop) -> Result<bool> {
        let fingerprint = hop.reference.fingerprint;
        let server = ServerRef::new(fingerprint, &[hop.reference.url.clone().without_credentials()])?;
        let (mut catalog, mut from) = (Catalog::new(), 0);
        // Each page but the last one brings a server at least.
        for _ in 0..=MAX_ONWARD {
            let page = self.catalog_page(&server, &hop.reference, from).await?;
            let next = page.next;
            add(&mut catalog, page)?;
            if next <= from {
                break;
            }
            from = next;
        }
        let told = self.servers.told().descriptor(&fingerprint);
        let own =
            told.ok_or_else(|| Error::new(ErrorKind::Unreachable, "the hop did not describe itself"))?;
        let ids: BTreeSet<_> = catalog.keys().map(|server| HopId::of(server).0).collect();
        let whole = own.hop.iter().flat_map(|onward| onward.iter()).all(|id| ids.contains(&id.0));
        catalog.insert(fingerprint, Shown { descriptor: own, found: List::default() });
        self.directory().take(fingerprint, catalog);
        Ok(whole)
    }

    async fn catalog_page(
        &self,
        server: &ServerRef,
        reference: &meow_core::lane::ServerReference,
        from: u16,
    ) -> Result<CatalogPage> {
        let kind = RequestKind::Catalog(CatalogGet { from });
        let ask = Ask {
            to: To { server, private_url: Some(&reference.url), allowed: &Always },
            seal: Seal::Key(&kind),
            room: PAGE,
            wait: Duration::ZERO,
        };
        match self.servers.ask(&ask).await? {
            Answered::Sealed { answer: Answer::Catalog(page), .. } => Ok(page),
            Answered::Sealed { answer: Answer::Refused(r), .. } => Err(refused(server, r)),
            _ => Err(unexpected()),
        }
    }

    /// Where the first server of a chain is: as the user says, with credentials, and as its descriptor says.
    pub(super) async fn named_hop(self: &Arc<Self>, fingerprint: [u8; 32]) -> Result<KnownHop> {
        let hops = self.read(known_hops).await?;
        let found = hops.into_iter().find(|hop| hop.reference.fingerprint == fingerprint);
        found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the first server of a chain was removed; try again")
        })
    }
}

#[cfg(test)]
mod sybil;

#[cfg(test)]
mod tests {
    use meow_core::crypto::{DhSecret, SeededRandom, SigningKey};
    use meow_core::request::{Limits, SignedDescriptor};

    use super::*;

    /// A descriptor of the server of this seed, with an online key of this number; and the server's fingerprint.
    fn signed(seed: u64, issued: u64, number: u32) -> ([u8; 32], SignedDescriptor) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let skp = SigningKey::from_seed(&bytes);
        let limits =
            Limits { item: 1, mailbox_items: 1, mailbox_bytes: 1, keep_secs: 1, wait_secs: 1, blob: 1 };
        let key = DhSecret::generate(&mut SeededRandom::new(number.into())).unwrap().public();
        let descriptor = Descriptor {
            skp: skp.public(),
            issued,
            expires: issued + 1,
            urls: List::default(),
            keys: List::take([SealingKey { number, key, parcel: false, not_after: issued }]),
            limits,
            hop: Some(List::default()),
        };
        let signed = SignedDescriptor::sign(descriptor, &skp).unwrap();
        (signed.fingerprint(), signed)
    }

    fn page(servers: impl IntoIterator<Item = SignedDescriptor>) -> CatalogPage {
        let listed = servers.into_iter().map(|signed| Listed { signed, found: List::default() });
        CatalogPage { servers: List::take(listed), next: 0 }
    }

    /// A directory in which these servers have shown the server of seed 1, each as (issued, key number).
    fn directory(shown: &[([u8; 32], u64, u32)]) -> Directory {
        let mut directory = Directory::default();
        for (by, issued, number) in shown {
            let mut catalog = Catalog::new();
            add(&mut catalog, page([signed(1, *issued, *number).1])).unwrap();
            directory.take(*by, catalog);
        }
        directory
    }

    #[test]
    fn the_newest_word_of_a_server_counts_whoever_shows_it() {
        let server = signed(1, 0, 0).0;
        for (first, second) in [(10, 5), (5, 10), (10, 10)] {
            let directory = directory(&[([1; 32], first, 7), ([2; 32], second, 8)]);
            assert_eq!(directory.shown(&server).unwrap().issued, first.max(second));
        }
        // What a server shows next takes the place of what it showed.
        let directory = directory(&[([1; 32], 10, 7), ([1; 32], 5, 7)]);
        assert_eq!(directory.shown(&server).unwrap().issued, 5);
    }

    #[test]
    fn a24_a_key_that_is_shown_to_one_client_alone_is_not_used() {
        let server = signed(1, 0, 0).0;
        // The server and the first of these have made a key by which they know this client behind any chain.
        let directory = directory(&[([1; 32], 99, 666), ([2; 32], 10, 7), ([3; 32], 11, 7)]);
        let shown = directory.shown(&server).unwrap();
        assert_eq!((shown.issued, key(shown).unwrap().0), (11, 7));
    }

    #[test]
    fn a24_what_a_server_says_itself_is_for_the_link_to_it_alone() {
        let server = signed(1, 0, 0).0;
        let alone = directory(&[(server, 99, 666)]);
        assert!(alone.shown(&server).is_none());
        let places = View::new(&alone, &[], &BTreeSet::new(), &meow_core::policy::Pool::Trusted).places();
        let [place] = places.as_slice() else { panic!("{places:?}") };
        assert!(!place.shown && key(&place.descriptor).unwrap().0 == 666);
        // Those who see who asks tell the server's key to all alike; it would tell another one to each.
        let both = directory(&[(server, 99, 666), ([2; 32], 10, 7)]);
        assert_eq!(key(both.shown(&server).unwrap()).unwrap().0, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_silent_is_asked_beside_what_goes_on() {
        let (silent, fresh) = ([1; 32], [2; 32]);
        let mut directory = Directory::default();
        let mut asked = Vec::new();
        // At first everybody is waited for, however many chains are drawn, and asked once.
        let first = directory.look(silent, true, |asking| asked.push(asking)).unwrap();
        let again = directory.look(silent, true, |_| panic!("asked twice at once")).unwrap();
        directory.heard(silent, &asked.pop().unwrap(), None);
        assert!(first.has_changed().is_err() && again.has_changed().is_err(), "that is over");
        directory.look(fresh, true, |asking| asked.push(asking)).unwrap();
        directory.heard(fresh, &asked.pop().unwrap(), Some(true));
        assert_eq!((directory.due(&silent), directory.due(&fresh)), (Due::No, Due::No));
        // Then no more, unless nothing else is there.
        tokio::time::advance(REST).await;
        for _ in 0..2 {
            assert!(directory.look(silent, false, |asking| asked.push(asking)).is_none());
        }
        assert!(asked.len() == 1 && directory.look(silent, true, |_| panic!()).is_some());
        directory.heard(silent, &asked.pop().unwrap(), None);
        // What was had is good to draw by while it is asked for, for some time.
        tokio::time::advance(FRESH).await;
        assert_eq!(directory.due(&fresh), Due::Meanwhile);
        tokio::time::advance(STALE).await;
        assert_eq!((directory.due(&silent), directory.due(&fresh)), (Due::Meanwhile, Due::First));
        // A server that failed is not the first until it answers; a packet that was lost has the others looked at first.
        directory.look(fresh, true, |asking| asked.push(asking)).unwrap();
        directory.heard(fresh, &asked.pop().unwrap(), Some(true));
        tokio::time::advance(REST).await;
        directory.doubt(&fresh);
        assert!(directory.due(&fresh) == Due::Meanwhile && !directory.answers(&fresh));
        directory.look(fresh, true, |asking| asked.push(asking)).unwrap();
        directory.heard(fresh, &asked.pop().unwrap(), Some(true));
        tokio::time::advance(REST).await;
        directory.look_again();
        assert_eq!((directory.due(&silent), directory.due(&fresh)), (Due::Meanwhile, Due::First));
        // What was asked for before all was forgotten counts no more.
        directory.look(fresh, true, |asking| asked.push(asking)).unwrap();
        directory.forget();
        directory.heard(fresh, &asked.pop().unwrap(), Some(true));
        assert_eq!(directory.due(&fresh), Due::First);
    }

    #[test]
    fn a30_a_forged_descriptor_is_refused_and_memory_is_bounded() {
        let good = postcard::to_stdvec(&signed(1, 10, 1).1).unwrap();
        // The time is the first field behind the key.
        let mut forged = good;
        forged[32] ^= 1;
        let mut catalog = Catalog::new();
        assert!(add(&mut catalog, page([postcard::from_bytes(&forged).unwrap()])).is_err());
        assert!(catalog.is_empty());
        // No server shows more of them than it sends on to, so none crowds out what others show.
        let all = (0..=MAX_ONWARD as u64).map(|n| signed(n, 1, 1).1);
        add(&mut catalog, page(all.clone().take(MAX_ONWARD))).unwrap();
        add(&mut catalog, page(all.clone().take(MAX_ONWARD))).unwrap();
        assert!(add(&mut catalog, page(all.skip(MAX_ONWARD))).is_err());
        let mut directory = Directory::default();
        for n in 0..MAX_CATALOGS as u64 + 10 {
            directory.take(n.to_be_bytes().repeat(4).try_into().unwrap(), Catalog::new());
        }
        assert_eq!(directory.catalogs.len(), MAX_CATALOGS);
        directory.keep(&[]);
        assert!(directory.catalogs.is_empty(), "nobody is named any more");
    }
}
