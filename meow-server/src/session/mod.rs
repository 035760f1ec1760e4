//! The sessions that clients have opened: a bounded table in memory. What it forgets, a client opens anew.

mod window;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::crypto::VerifyKey;
use meow_core::session::{Direction, SessionKeys, SessionRole, Tag};
use meow_core::transport::Network;
use meow_core::wire::Fixed;

use crate::engine::Source;
use window::Window;
pub(crate) use window::{AHEAD, Digest, Seen, Turn};

/// A site of addresses has one in so many of all sessions, or as many as one address may have. Those without an address that
/// count together keep as many when there is no room.
const SITES: usize = 8;

/// What a session was opened for.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) keys: SessionKeys,
    pub(crate) role: SessionRole,
    pub(crate) mailbox: VerifyKey,
    /// A depositor's token; zeros for an owner, who needs none.
    pub(crate) token: Fixed<16>,
}

/// The session and counter of a tag.
#[derive(Debug)]
pub(crate) struct Found {
    id: u64,
    pub(crate) counter: u64,
    pub(crate) facts: Arc<Facts>,
}

/// The table. Time is handed in: a monotonic reading.
#[derive(Debug)]
pub(crate) struct Sessions {
    most: usize,
    most_per_address: usize,
    time: Duration,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// The next id, and the next moment of use.
    next: u64,
    tags: HashMap<Tag, (u64, u64)>,
    by_id: HashMap<u64, Session>,
    /// Moments of use, oldest first.
    uses: BTreeMap<u64, u64>,
    /// By address, and by site of addresses.
    of_network: HashMap<Network, BTreeSet<u64>>,
    /// Those without an address: of a listener, of this machine, and (`None`) through chains.
    of_line: HashMap<Option<Source>, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Session {
    facts: Arc<Facts>,
    window: Window,
    ends: Duration,
    used: u64,
    source: Option<Source>,
}

impl Sessions {
    pub(crate) fn new(most: usize, most_per_address: usize, time: Duration) -> Self {
        Self { most, most_per_address, time, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A change that was cut short leaves at worst a tag or a use whose session is gone, which find() and room
        // making bear.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a session that was opened from here; `None` for one that came through a chain. Where there is no room, in all, for
    /// its address or for the site of that, the one that was not used for longest goes: so nobody takes those of all others by
    /// many addresses. Whoever has no address may take what is free, and no more than a share of what is not.
    pub(crate) fn keep(&self, facts: Facts, source: Option<Source>, now: Duration) {
        let mut table = self.table();
        let share = self.most / SITES;
        for (network, most) in networks(source)
            .into_iter()
            .flatten()
            .zip([self.most_per_address, share.max(self.most_per_address)])
        {
            let own = table.of_network.get(&network).filter(|own| own.len() >= most);
            if let Some(oldest) = own.and_then(BTreeSet::first).copied() {
                table.forget_use(oldest);
            }
        }
        while table.by_id.len() >= self.most {
            let Some(oldest) = table.to_go(source, share) else { break };
            table.forget_use(oldest);
        }
        let (id, used) = (table.tick(), table.tick());
        let (facts, window) = (Arc::new(facts), Window::new());
        table.tag(&facts.keys, id, window.accepted());
        table.by_id.insert(id, Session { facts, window, ends: now.saturating_add(self.time), used, source });
        table.note_use(id, used, source);
    }

    /// Whether a session has this tag.
    pub(crate) fn knows(&self, tag: &Tag) -> bool {
        self.table().tags.contains_key(tag)
    }

    /// One look into a hash table, for a tag that is unknown.
    pub(crate) fn find(&self, tag: &Tag, now: Duration) -> Option<Found> {
        let mut table = self.table();
        let (id, counter) = *table.tags.get(tag)?;
        let session = table.by_id.get(&id)?;
        if session.ends <= now {
            table.forget(id);
            return None;
        }
        Some(Found { id, counter, facts: Arc::clone(&session.facts) })
    }

    /// Uses the counter of a packet that was opened. `None` where the session was forgotten, or the counter passed,
    /// meanwhile.
    pub(crate) fn note(&self, found: &Found, digest: Digest) -> Option<Seen> {
        let mut table = self.table();
        let table = &mut *table;
        let used = table.tick();
        let session = table.by_id.get_mut(&found.id)?;
        let before = session.window.accepted();
        if !before.contains(&found.counter) {
            return None;
        }
        let seen = session.window.note(found.counter, digest);
        let after = session.window.accepted();
        let (was, source) = (std::mem::replace(&mut session.used, used), session.source);
        table.untag(&found.facts.keys, found.id, before.start..after.start.min(before.end));
        table.tag(&found.facts.keys, found.id, before.end.max(after.start)..after.end);
        table.drop_use(was, source);
        table.note_use(found.id, used, source);
        Some(seen)
    }

    /// Forgets the sessions of a mailbox.
    pub(crate) fn forget(&self, mailbox: &VerifyKey) {
        self.forget_where(|session| session.facts.mailbox == *mailbox);
    }

    /// Forgets the sessions whose time is over.
    pub(crate) fn expire(&self, now: Duration) {
        self.forget_where(|session| session.ends <= now);
    }

    fn forget_where(&self, which: impl Fn(&Session) -> bool) {
        let mut table = self.table();
        let ids: Vec<u64> = table.by_id.iter().filter(|(_, s)| which(s)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| table.forget(id));
    }
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A tag that another session has by chance stays that session's: who sends it here is refused, and asks otherwise.
    fn tag(&mut self, keys: &SessionKeys, id: u64, counters: std::ops::Range<u64>) {
        for counter in counters {
            self.tags.entry(keys.tag(Direction::Up, counter)).or_insert((id, counter));
        }
    }

    /// Takes away those that are this session's.
    fn untag(&mut self, keys: &SessionKeys, id: u64, counters: std::ops::Range<u64>) {
        for counter in counters {
            if let Entry::Occupied(tag) = self.tags.entry(keys.tag(Direction::Up, counter))
                && tag.get().0 == id
            {
                tag.remove();
            }
        }
    }

    /// The use whose session makes room for one from here, where all places are taken: the oldest of one's own who have no
    /// address, once they have their share; else of those of them who have most, beyond their share; else of all.
    fn to_go(&self, source: Option<Source>, share: usize) -> Option<u64> {
        let own = self.of_line.get(&source).filter(|own| own.len() >= share);
        let most = || self.of_line.values().filter(|own| own.len() > share).max_by_key(|own| own.len());
        own.or_else(most).and_then(BTreeSet::first).or_else(|| self.uses.keys().next()).copied()
    }

    fn note_use(&mut self, id: u64, used: u64, source: Option<Source>) {
        self.uses.insert(used, id);
        match networks(source) {
            Some(networks) => networks.into_iter().for_each(|network| {
                self.of_network.entry(network).or_default().insert(used);
            }),
            None => drop(self.of_line.entry(source).or_default().insert(used)),
        }
    }

    fn drop_use(&mut self, used: u64, source: Option<Source>) {
        self.uses.remove(&used);
        match networks(source) {
            Some(networks) => {
                networks.iter().for_each(|network| without(&mut self.of_network, network, used))
            }
            None => without(&mut self.of_line, &source, used),
        }
    }

    fn forget_use(&mut self, used: u64) {
        if let Some(id) = self.uses.remove(&used) {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: u64) {
        let Some(session) = self.by_id.remove(&id) else { return };
        self.drop_use(session.used, session.source);
        self.untag(&session.facts.keys, id, session.window.accepted());
    }
}

/// The address of a source, and its site.
fn networks(source: Option<Source>) -> Option<[Network; 2]> {
    match source {
        Some(Source::Address(address)) => Some([address, address.site()]),
        _ => None,
    }
}

fn without<K: Eq + Hash>(of: &mut HashMap<K, BTreeSet<u64>>, key: &K, used: u64) {
    if let Some(own) = of.get_mut(key) {
        own.remove(&used);
        if own.is_empty() {
            of.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
