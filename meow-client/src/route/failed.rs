//! Which servers stood in chains that brought no answer: the next chains to the same place go by others.

use std::collections::VecDeque;
use std::time::Duration;

use meow_core::onion::HopId;
use tokio::time::Instant;

use super::path::Path;

/// How long a failure counts: a hop tries for so long to hand a packet over.
const COUNTS: Duration = Duration::from_secs(120);
/// Failures that are remembered.
const MOST: usize = 64;

/// The servers between of chains that brought no answer, by the mailbox server that they led to: one that answers nobody
/// speaks against the chains to it, not against those to others.
#[derive(Debug, Default)]
pub(super) struct Failed(VecDeque<Failure>);

#[derive(Debug)]
struct Failure {
    target: HopId,
    hop: HopId,
    at: Instant,
}

impl Failed {
    /// No answer came by this path. Which of its servers is to blame shows on no link: all between are noted.
    pub(super) fn note(&mut self, path: &Path) {
        let (Some((last, there)), Some((_, back))) = (path.there.split_last(), path.back.split_last()) else {
            return;
        };
        let at = Instant::now();
        self.0.retain(|failure| failure.at.elapsed() < COUNTS);
        for place in there.iter().skip(1).chain(back) {
            if self.0.len() == MOST {
                self.make_room();
            }
            self.0.push_back(Failure { target: last.id, hop: place.id, at });
        }
    }

    /// Forgets the oldest of the mailbox server with the most: one that answers nobody has nothing else forgotten.
    fn make_room(&mut self) {
        let of = |target: &HopId| self.0.iter().filter(|failure| failure.target == *target).count();
        let crowded = self.0.iter().map(|failure| failure.target).max_by_key(of);
        if let Some(oldest) = self.0.iter().position(|failure| Some(failure.target) == crowded) {
            self.0.remove(oldest);
        }
    }

    /// Those of chains to this server: who failed most often first, among equals who failed last.
    pub(super) fn of(&self, target: &HopId) -> Vec<HopId> {
        let counts = |f: &&Failure| f.target == *target && f.at.elapsed() < COUNTS;
        let mut all: Vec<(HopId, usize)> = Vec::new();
        for failure in self.0.iter().rev().filter(counts) {
            match all.iter_mut().find(|(hop, _)| *hop == failure.hop) {
                Some((_, times)) => *times += 1,
                None => all.push((failure.hop, 1)),
            }
        }
        // Keeps the order of equals.
        all.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        all.into_iter().map(|(hop, _)| hop).collect()
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::tests::{id, place};
    use super::*;

    fn path(there: &[u16], back: &[u16]) -> Path {
        let places = |ids: &[u16]| ids.iter().map(|n| place(*n, &[], "")).collect();
        Path { there: places(there), back: places(back) }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_for_their_target_for_two_minutes_and_are_few() {
        let mut failed = Failed::default();
        failed.note(&path(&[1, 2, 3, 9], &[4, 5, 1]));
        assert_eq!(failed.of(&id(9)), [5, 4, 3, 2].map(id), "those between, neither the first nor the last");
        assert_eq!(failed.of(&id(8)), []);
        tokio::time::advance(COUNTS / 2).await;
        failed.note(&path(&[1, 6, 9], &[7, 1]));
        assert_eq!(failed.of(&id(9)), [7, 6, 5, 4, 3, 2].map(id));
        tokio::time::advance(COUNTS / 2).await;
        assert_eq!(failed.of(&id(9)), [7, 6].map(id));
        failed.note(&path(&[1, 6, 9], &[3, 1]));
        assert_eq!(failed.of(&id(9)), [6, 3, 7].map(id), "who was there each time comes first");
        (0..200).for_each(|n| failed.note(&path(&[1, n, 8], &[n, 1])));
        // Two to another target count still, and two after them: they stay.
        assert_eq!((failed.0.len(), failed.of(&id(8)).len()), (MOST, (MOST - 4) / 2));
        assert_eq!(failed.of(&id(9)), [6, 3, 7].map(id));
        failed.note(&path(&[], &[]));
        failed.forget();
        assert_eq!(failed.of(&id(8)), []);
    }
}
