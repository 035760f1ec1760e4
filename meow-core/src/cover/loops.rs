//! Whether loops come back: packets to oneself, through chains like all others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::wire::Fixed;

/// So many lost in a row are told to the user.
const TELL_AFTER: u32 = 3;
/// When so many are counted, the counts are halved: what is old weighs less and less.
const HALVE_AT: u32 = 200;
/// Servers that are counted.
const MAX_SERVERS: usize = 64;

/// How many loops went out, and how many came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Went out.
    pub sent: u32,
    /// Of those, did not come back.
    pub lost: u32,
}

/// What became of the loops of one contact, lately. A server that drops packets shows by it: more of those through it are
/// lost than of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loops {
    all: Passed,
    lost_in_a_row: u32,
    /// By fingerprint: those through this server, there or back.
    by: BTreeMap<Fixed<32>, Passed>,
}

impl Loops {
    /// Notes a loop through these servers, by their fingerprints, the mailbox server left out: it is the same for all. True
    /// when the user is to be told that loops do not come back.
    pub fn note<'a>(&mut self, servers: impl IntoIterator<Item = &'a [u8; 32]>, came_back: bool) -> bool {
        if self.all.sent >= HALVE_AT {
            self.all.halve();
            self.by.values_mut().for_each(Passed::halve);
            self.by.retain(|_, passed| passed.sent > 0);
        }
        let mut servers: Vec<_> = servers.into_iter().map(|server| Fixed(*server)).collect();
        // The first one is passed twice.
        servers.sort_unstable();
        servers.dedup();
        self.all.note(came_back);
        for server in servers {
            if self.by.len() < MAX_SERVERS || self.by.contains_key(&server) {
                self.by.entry(server).or_default().note(came_back);
            }
        }
        self.lost_in_a_row = if came_back { 0 } else { self.lost_in_a_row.saturating_add(1) };
        self.lost_in_a_row == TELL_AFTER
    }

    /// All of them.
    pub fn all(&self) -> Passed {
        self.all
    }

    /// Those through a server.
    pub fn through(&self, server: &[u8; 32]) -> Passed {
        self.by.get(&Fixed(*server)).copied().unwrap_or_default()
    }

    /// How many were lost since the last one that came back.
    pub fn lost_in_a_row(&self) -> u32 {
        self.lost_in_a_row
    }
}

impl Passed {
    fn note(&mut self, came_back: bool) {
        self.sent = self.sent.saturating_add(1);
        self.lost = self.lost.saturating_add(u32::from(!came_back));
    }

    fn halve(&mut self) {
        (self.sent, self.lost) = (self.sent / 2, self.lost / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_drops_shows() {
        let server = |n: u8| [n; 32];
        let mut loops = Loops::default();
        let mut told = 0;
        for n in 0..1000u32 {
            let (there, back) = (server((n % 5) as u8), server(((n / 5) % 5) as u8));
            // Server 3 drops whatever it gets.
            let came_back = there != server(3) && back != server(3);
            told += u32::from(loops.note([&server(9), &there, &back, &server(9)], came_back));
        }
        let share = |n| {
            let Passed { sent, lost } = loops.through(&server(n));
            f64::from(lost) / f64::from(sent)
        };
        assert!(share(3) > 0.95 && [0, 1, 2, 4].iter().all(|n| share(*n) < 0.4), "{loops:?}");
        assert!(loops.all().sent <= HALVE_AT && loops.all().sent >= HALVE_AT / 2);
        assert_eq!(loops.through(&server(9)), loops.all(), "each once");
        assert!(told > 0);
    }

    #[test]
    fn the_user_is_told_once_in_a_row() {
        let mut loops = Loops::default();
        let told: Vec<_> = [true, false, false, false, false, true, false, false, false]
            .map(|back| loops.note([&[1; 32]], back))
            .into_iter()
            .enumerate()
            .filter_map(|(n, told)| told.then_some(n))
            .collect();
        assert_eq!(told, [3, 8]);
        assert_eq!((loops.lost_in_a_row(), loops.all().lost), (3, 7));
    }

    #[test]
    fn so_many_servers_are_counted_and_no_more() {
        let mut loops = Loops::default();
        for n in 0..150u8 {
            loops.note([&[n; 32]], true);
        }
        assert_eq!((loops.by.len(), loops.all().sent), (MAX_SERVERS, 150));
        assert_eq!(loops.through(&[149; 32]), Passed::default());
    }
}
