//! What servers say of themselves, from the catalogs of those that may be first in a chain.

mod ask;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use meow_core::Result;
use meow_core::request::{CatalogPage, Descriptor, Listed, MAX_ONWARD, MAX_SUBNETS, SealingKey};
use meow_core::transport::Subnet;
use meow_core::wire::List;
use tokio::sync::watch;
use tokio::time::Instant;

use super::failed::Failed;
use super::hops::KnownHop;
use super::path::Path;
use crate::mailbox::unexpected;

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
        self.let_go();
        self.failed.forget();
    }

    /// What is under way counts no more, and ends where no chain waits for it.
    pub(crate) fn let_go(&mut self) {
        self.asking.clear();
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
    /// to draw them of or it comes first. `ask` keeps what it gets until it was [`heard`](Self::heard).
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

    /// What came of that, a catalog and whether it lacks nothing, unless all was forgotten since.
    fn heard(&mut self, fingerprint: [u8; 32], asking: &watch::Sender<()>, shown: Option<(Catalog, bool)>) {
        if self.asking.get(&fingerprint).is_some_and(|end| end.same_channel(&asking.subscribe())) {
            self.asking.remove(&fingerprint);
            self.asked.insert(fingerprint, Asked::now(shown.as_ref().map(|(_, whole)| *whole)));
            if let Some((catalog, _)) = shown {
                self.take(fingerprint, catalog);
            }
        }
    }

    pub(super) fn answers(&self, fingerprint: &[u8; 32]) -> bool {
        self.asked.get(fingerprint).is_some_and(|asked| asked.answered)
    }
}

#[cfg(test)]
mod sybil;
#[cfg(test)]
mod tests;
