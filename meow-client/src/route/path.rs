//! Drawing a chain of servers.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use meow_core::crypto::{CryptoError, Random};
use meow_core::onion::HopId;
use meow_core::policy::{Chain, Pool};
use meow_core::request::Descriptor;

/// Servers that one draw looks at, as many again where some are passed over; at each first server no more than its share.
const MAX_LOOKS: usize = 20_000;
/// The least share.
const MIN_LOOKS: usize = 1000;

/// A server that chains can lead through.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) fingerprint: [u8; 32],
    pub(crate) id: HopId,
    /// The newest that is known.
    pub(crate) descriptor: Arc<Descriptor>,
    pub(crate) trusted: bool,
    /// Keeps one's own mail.
    pub(crate) own: bool,
    pub(crate) pools: Vec<String>,
    /// What it may have in common with others, by its own word and the user's.
    pub(crate) said: BTreeSet<String>,
    /// The same by where trusted servers have found strangers, where they have found any: a stranger's chance goes by that.
    pub(crate) found: Option<BTreeSet<String>>,
    /// It was asked for its catalog by this client, and answered: it may be the first.
    pub(crate) answers: bool,
    /// Others show its descriptor. Its own word is good for the first place only: a server that sees who asks could tell
    /// each asker another key, and know by it what comes to it through a chain.
    pub(crate) shown: bool,
}

impl Place {
    /// Nobody vouches for it.
    fn stranger(&self) -> bool {
        !self.trusted && !self.own
    }

    fn is_in(&self, pool: &Pool) -> bool {
        match pool {
            Pool::Trusted => self.trusted,
            Pool::Named(name) => self.pools.iter().any(|pool| **pool == **name),
            Pool::Known => true,
            _ => false,
        }
    }

    fn counted(&self) -> &BTreeSet<String> {
        self.found.as_ref().unwrap_or(&self.said)
    }

    /// All that it may have in common with others.
    fn groups(&self) -> impl Iterator<Item = &String> {
        self.said.iter().chain(self.found.iter().flatten())
    }

    /// Two strangers' servers that may belong together, or are the same.
    fn too_close(&self, other: &Self) -> bool {
        let theirs = |group: &String| other.groups().any(|their| their == group);
        self.stranger() && other.stranger() && self.groups().any(theirs)
    }
}

/// A way there and one back.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// The first server to the mailbox server.
    pub(crate) there: Vec<Place>,
    /// From the server after the mailbox server to the first one.
    pub(crate) back: Vec<Place>,
}

/// A server that the user named for the first place, whether or not it answers now.
#[derive(Clone, Debug)]
pub(crate) struct First {
    pub(crate) fingerprint: [u8; 32],
    /// What it may have in common with others, by its own word and the user's.
    pub(crate) said: BTreeSet<String>,
    pub(crate) own: bool,
    /// It has shown its catalog.
    pub(crate) answers: bool,
}

/// What a path is drawn for.
#[derive(Clone, Copy)]
pub(crate) struct Draw<'a> {
    pub(crate) chain: &'a Chain,
    pub(crate) target: &'a HopId,
    /// The mailbox servers of both sides: they stand at the end or nowhere.
    pub(crate) avoid: &'a [[u8; 32]],
    pub(crate) firsts: &'a [First],
    /// Servers between of chains to this target that brought no answer, the worst first.
    pub(crate) failed: &'a [HopId],
}

/// Why there is no chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPath {
    #[error("no server of the pool for the first one is known, answers, and keeps no mail for this contact")]
    NoFirst,
    #[error(
        "the servers that may be first and answer now are of one operator, network or domain with the mailbox server, and you named others that are not: bring those back, or take them off the list"
    )]
    CloseFirst,
    #[error("the mailbox server is in no catalog of the servers that may be first")]
    Unknown,
    #[error("the mailbox server is no hop: its operator has to start it with --hop")]
    NoHop,
    #[error(
        "no chain of this length leads to the mailbox server and back: too few servers, or they do not send on to each other, or they are of one operator or network (those that no server that you trust has found count as one), or keep mail for you or this contact"
    )]
    NoChain,
    #[error(transparent)]
    Random(#[from] CryptoError),
}

/// Draws a path. Servers of one group together are as likely as one that stands alone, so whoever runs a
/// thousand on one network has one chance; one of several groups counts to the largest, so no further name makes it
/// stand alone. No mailbox server is first or between.
///
/// A first server that belongs together with the mailbox server could tell who writes to which mailbox, so one is taken only if
/// the user named no other: not if the others are away, which somebody may have brought about.
///
/// The first one is drawn without regard to what failed. Then servers between that failed are passed over, as far as
/// [`passed_over`] says, or, where no chain is left without them, not.
pub(crate) fn choose(places: &[Place], draw: &Draw<'_>, random: &mut dyn Random) -> Result<Path, NoPath> {
    let Draw { chain, target, avoid, .. } = draw;
    let firsts = places.iter().filter(|p| {
        p.answers
            && p.is_in(&chain.first)
            && p.descriptor.hop.is_some()
            && p.id != **target
            && !avoid.contains(&p.fingerprint)
    });
    let firsts = drawn(firsts.collect(), random)?;
    if firsts.is_empty() {
        return Err(NoPath::NoFirst);
    }
    let last = places.iter().find(|p| p.id == **target && p.shown).ok_or(NoPath::Unknown)?;
    if last.descriptor.hop.is_none() {
        return Err(NoPath::NoHop);
    }
    let firsts: Vec<_> = firsts.into_iter().filter(|first| may_be_first(first, last, draw.firsts)).collect();
    if firsts.is_empty() {
        return Err(NoPath::CloseFirst);
    }
    let number = usize::from(chain.hops).saturating_sub(2);
    let between = places.iter().filter(|p| {
        p.is_in(&chain.between)
            && p.shown
            && p.descriptor.hop.is_some()
            && p.id != **target
            && !p.own
            && !avoid.contains(&p.fingerprint)
    });
    let all: Vec<_> = between.collect();
    let passed_over = passed_over(&all, draw.failed);
    let apart: Vec<_> = all.iter().copied().filter(|p| !passed_over.contains(&p.id)).collect();
    let tries: &[&[&Place]] = if apart.len() < all.len() { &[&apart, &all] } else { &[&all] };
    // So a maze behind one leaves as much time for the others, and many of them enough for each.
    let looks = (MAX_LOOKS / firsts.len()).max(MIN_LOOKS);
    for first in firsts {
        for between in tries.iter().copied() {
            let mut walk = Walk { first, last, number, between, random: &mut *random, looks };
            if let Some(path) = walk.there_and_back()? {
                return Ok(path);
            }
        }
    }
    Err(NoPath::NoChain)
}

/// Whether both would be one, as far as can be told: and the user's own choice leaves others. What a contact's servers take
/// away is none of the user's choice. Where others have found them counts among strangers only: a hop that lies would put the
/// user's other hops beside a mailbox server, and be the first alone.
fn may_be_first(first: &Place, last: &Place, named: &[First]) -> bool {
    let apart = |said: &BTreeSet<String>| said.is_disjoint(&last.said);
    let other = |named: &First| !named.own && named.fingerprint != last.fingerprint && apart(&named.said);
    !first.too_close(last) && (apart(&first.said) || !named.iter().any(other))
}

/// Which of these servers are passed over, since chains with them failed: the worst first, a stranger with all that
/// may belong to it, and never more than half of the chances. Whoever lets packets fail until only friends are left so at
/// most doubles their share.
fn passed_over(between: &[&Place], failed: &[HopId]) -> BTreeSet<HopId> {
    let chances = chances(between);
    let most = chances.iter().collect::<BTreeSet<_>>().len() / 2;
    let mut over = BTreeSet::new();
    for hop in failed {
        let chance =
            between.iter().zip(&chances).find(|(place, _)| place.id == *hop).map(|(_, chance)| chance);
        if let Some(chance) = chance
            && over.len() < most
        {
            over.insert(chance);
        }
    }
    let both = between.iter().zip(&chances);
    both.filter(|(_, chance)| over.contains(chance)).map(|(place, _)| place.id).collect()
}

/// Both ways of one path, drawn together: whoever stands on one of them sees the same request or its answer pass. With one
/// server between on each way that tells the two no more than each knows, both their neighbours; with more of them it does.
struct Walk<'a, 'r> {
    first: &'a Place,
    last: &'a Place,
    /// Servers between, on each way.
    number: usize,
    between: &'r [&'a Place],
    random: &'r mut dyn Random,
    /// Servers that it may still look at.
    looks: usize,
}

impl<'a> Walk<'a, '_> {
    fn there_and_back(&mut self) -> Result<Option<Path>, NoPath> {
        if !self.reaches(self.first, self.last) || !self.reaches(self.last, self.first) {
            return Ok(None);
        }
        let found = self.go_on(vec![self.first])?;
        let ways = found.as_deref().and_then(|path| path.split_at_checked(self.number + 2));
        Ok(ways.map(|(there, back)| {
            let places = |way: &[&Place]| way.iter().copied().cloned().collect();
            Path { there: places(there), back: places(back) }
        }))
    }

    /// Whether servers send on from one to the other through so many, if nothing else mattered: a maze is seen at once.
    fn reaches(&self, from: &Place, to: &Place) -> bool {
        let mut reached = vec![from];
        for _ in 0..self.number {
            let lists = reached.iter().filter_map(|place| place.descriptor.hop.as_ref());
            let onward: HashSet<_> = lists.flat_map(|list| list.iter()).map(|id| id.0).collect();
            reached = self.between.iter().copied().filter(|p| onward.contains(&p.id.0)).collect();
        }
        reached.iter().any(|place| place.descriptor.sends_to(&to.id))
    }

    /// Goes on from the end of `path`, which begins at the first server, to the last one and back; a step back where there is
    /// no way on. A server that the user trusts may stand on both ways. A stranger, or two that may belong together, may not
    /// where there is more than one between.
    fn go_on(&mut self, path: Vec<&'a Place>) -> Result<Option<Vec<&'a Place>>, NoPath> {
        let (turn, end) = (self.number + 1, 2 * (self.number + 1));
        let Some(at) = path.last().filter(|_| path.len() <= end) else { return Ok(Some(path)) };
        let (way, to, left) = match path.get(turn..).filter(|back| !back.is_empty()) {
            Some(back) => (back, self.first, end - path.len()),
            None => (path.as_slice(), self.last, turn - path.len()),
        };
        if left == 0 {
            return match at.descriptor.sends_to(&to.id) {
                true => self.go_on([path.as_slice(), &[to]].concat()),
                false => Ok(None),
            };
        }
        let apart = if self.number > 1 { path.as_slice() } else { way };
        let next = self.between.iter().copied().filter(|p| {
            at.descriptor.sends_to(&p.id)
                // The last one before the end leads there: so servers that send on to each other alone cost few looks.
                && (left > 1 || p.descriptor.sends_to(&to.id))
                && way.iter().chain([&to]).all(|before| before.id != p.id)
                && apart.iter().chain([&self.first, &self.last]).all(|other| !other.too_close(p))
        });
        for place in drawn(next.collect(), self.random)? {
            self.looks = match self.looks.checked_sub(1) {
                Some(left) => left,
                None => return Ok(None),
            };
            if let Some(whole) = self.go_on([path.as_slice(), &[place]].concat())? {
                return Ok(Some(whole));
            }
        }
        Ok(None)
    }
}

/// Of each server the chance that it shares with those that may belong to it.
fn chances(places: &[&Place]) -> Vec<String> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for group in places.iter().filter(|place| place.stranger()).flat_map(|place| place.counted()) {
        *sizes.entry(group).or_default() += 1;
    }
    let chance = |(n, place): (usize, &&Place)| {
        let largest = place.counted().iter().max_by_key(|group| sizes.get(group.as_str()));
        // Whom the user vouches for stands alone.
        largest.filter(|_| place.stranger()).map_or_else(|| format!("{n}"), Clone::clone)
    };
    places.iter().enumerate().map(chance).collect()
}

/// In random order: one of each group, then a second of each, and so on.
fn drawn<'a>(places: Vec<&'a Place>, random: &mut dyn Random) -> Result<Vec<&'a Place>, CryptoError> {
    let mut groups: BTreeMap<String, Vec<&'a Place>> = BTreeMap::new();
    for (chance, place) in chances(&places).into_iter().zip(places) {
        groups.entry(chance).or_default().push(place);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    for group in &mut groups {
        shuffle(group, random)?;
    }
    shuffle(&mut groups, random)?;
    let rounds = groups.iter().map(Vec::len).max().unwrap_or(0);
    Ok((0..rounds).flat_map(|n| groups.iter().filter_map(move |group| group.get(n).copied())).collect())
}

fn shuffle<T>(all: &mut [T], random: &mut dyn Random) -> Result<(), CryptoError> {
    for last in (1..all.len()).rev() {
        let other = below(last + 1, random)?;
        all.swap(last, other);
    }
    Ok(())
}

/// A number below `n`, each as likely as the others.
pub(crate) fn below(n: usize, random: &mut dyn Random) -> Result<usize, CryptoError> {
    let n = n as u64;
    loop {
        let mut bytes = [0; 8];
        random.fill(&mut bytes)?;
        let drawn = u64::from_le_bytes(bytes);
        if drawn < u64::MAX - u64::MAX % n {
            return Ok(usize::try_from(drawn % n).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod hostile;

#[cfg(test)]
pub(super) mod tests;
