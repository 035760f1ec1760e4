//! Which ids may be in the table `seen`: a Bloom filter in memory, so that a new deposit need not look there, where each look
//! opens another page.
//!
//! It is filled by some rows with each batch, so opening a store stays cheap; until it is full, and for what it takes for
//! known, the table is asked. Ids that are forgotten stay in it, so it is made anew, beside the old one, after so many.

use std::hash::{BuildHasher as _, RandomState};

use super::StoreError;
use super::sql::Sql;

/// Bits at first, and at most: 32 KiB, 2 MiB.
const LEAST: usize = 1 << 18;
const MOST: usize = 1 << 24;
/// Bits for each id; with four probes, one new id in 80 is taken for known.
const BITS: usize = 10;
const PROBES: u32 = 4;
/// Rows that are read with one batch.
const STEP: usize = 256;

pub(super) struct Known {
    /// Drawn anew by each process: nobody can choose ids that fill it.
    keys: RandomState,
    /// Holds the whole table.
    whole: Option<Filter>,
    /// The one that is being filled, and up to which row.
    next: Option<(Filter, i64, [u8; 16])>,
}

struct Filter {
    words: Vec<u64>,
    added: usize,
}

impl Filter {
    fn new(bits: usize) -> Self {
        Self { words: vec![0; bits / 64], added: 0 }
    }

    fn bits(&self) -> usize {
        self.words.len() * 64
    }

    fn places(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (step, last) = (hash.rotate_left(32) | 1, self.words.len() - 1);
        // As many words as a power of two: upper bits choose the word, lower ones the bit.
        (1..=u64::from(PROBES)).map(move |probe| {
            let at = hash.wrapping_add(step.wrapping_mul(probe));
            ((at >> 40) as usize & last, 1 << (at >> 34 & 63))
        })
    }

    fn has(&self, hash: u64) -> bool {
        self.places(hash).all(|(word, bit)| self.words.get(word).is_none_or(|bits| bits & bit != 0))
    }

    fn add(&mut self, hash: u64) {
        for (word, bit) in self.places(hash) {
            if let Some(bits) = self.words.get_mut(word) {
                *bits |= bit;
            }
        }
        self.added += 1;
    }
}

impl Known {
    pub(super) fn new() -> Self {
        Self { keys: RandomState::new(), whole: None, next: Some((Filter::new(LEAST), 0, [0; 16])) }
    }

    /// Whether the table may have this id.
    pub(super) fn may_have(&self, slot: i64, id: &[u8; 16]) -> bool {
        self.whole.as_ref().is_none_or(|filter| filter.has(self.keys.hash_one((slot, id))))
    }

    /// Notes an id that goes into the table.
    pub(super) fn add(&mut self, slot: i64, id: &[u8; 16]) {
        let hash = self.keys.hash_one((slot, id));
        let next = self.next.as_mut().map(|(filter, ..)| filter);
        self.whole.as_mut().into_iter().chain(next).for_each(|filter| filter.add(hash));
    }

    /// Reads some rows of the table, if there are any left; begins anew, and larger, when many were added. Where the table cannot
    /// be read, what there is stays as it is.
    pub(super) fn step(&mut self, sql: &Sql<'_>) -> Result<(), StoreError> {
        if let Some((filter, slot, id)) = self.next.take() {
            return self.fill(sql, filter, slot, id);
        }
        if let Some(filter) = self.whole.as_mut().filter(|filter| filter.added > filter.bits() / BITS) {
            filter.added = 0;
            self.next = Some((Filter::new((2 * filter.bits()).min(MOST)), 0, [0; 16]));
        }
        Ok(())
    }

    fn fill(
        &mut self,
        sql: &Sql<'_>,
        mut filter: Filter,
        mut slot: i64,
        mut id: [u8; 16],
    ) -> Result<(), StoreError> {
        let mut rows = 0;
        let query = "SELECT slot, id FROM seen WHERE (slot, id) > (?1, ?2) ORDER BY slot, id LIMIT ?3";
        sql.each(query, (slot, id, STEP as i64), |row| {
            (slot, id) = (row.get(0)?, row.get(1)?);
            filter.add(self.keys.hash_one((slot, &id)));
            rows += 1;
            Ok(true)
        })?;
        if rows < STEP {
            self.whole = Some(filter);
        } else {
            self.next = Some((filter, slot, id));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;
    use std::sync::atomic::AtomicU64;

    fn id(number: u64) -> [u8; 16] {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        id
    }

    #[test]
    fn what_is_in_the_table_may_be_there_and_little_else() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE seen (slot INTEGER, id BLOB, PRIMARY KEY (slot, id)) WITHOUT ROWID")
            .unwrap();
        let operations = AtomicU64::new(0);
        let sql = Sql::new(&connection, &operations);
        let insert = |slot: i64, number| {
            sql.run("INSERT INTO seen VALUES (?1, ?2)", (slot, id(number))).unwrap();
        };
        (0..1000).for_each(|n| insert(n as i64 % 3 + 1, n));
        let mut known = Known::new();
        assert!(known.may_have(9, &id(5000)), "not before it is full");
        known.step(&sql).unwrap();
        // Behind and before where it is filled up to: the one is read, the other told.
        insert(3, 2000);
        insert(1, 2001);
        known.add(1, &id(2001));
        (0..5).for_each(|_| known.step(&sql).unwrap());
        assert!((0..1000).all(|n| known.may_have(n as i64 % 3 + 1, &id(n))));
        assert!(known.may_have(3, &id(2000)) && known.may_have(1, &id(2001)));
        let wrong = (0..10_000).filter(|n| known.may_have(4, &id(*n))).count();
        assert!(wrong < 10, "{wrong}");

        // Made anew, and larger; what was forgotten meanwhile is gone from it.
        (0..40_000).for_each(|n| known.add(5, &id(n)));
        for _ in 0..3 {
            known.step(&sql).unwrap();
            assert!(
                (0..1000).all(|n| known.may_have(n as i64 % 3 + 1, &id(n))),
                "the old one serves meanwhile"
            );
        }
        known.add(6, &id(1));
        (0..4).for_each(|_| known.step(&sql).unwrap());
        let filter = known.whole.as_ref().unwrap();
        assert!(filter.bits() == 2 * LEAST && filter.added < 1100 && known.may_have(6, &id(1)));
        assert!((0..1000).all(|n| known.may_have(n as i64 % 3 + 1, &id(n))));
        let wrong = (0..10_000).filter(|n| known.may_have(5, &id(*n))).count();
        assert!(wrong < 10, "{wrong}");
    }

    #[test]
    fn a_table_that_cannot_be_read_is_asked_each_time() {
        let connection = Connection::open_in_memory().unwrap();
        let operations = AtomicU64::new(0);
        let sql = Sql::new(&connection, &operations);
        let mut known = Known::new();
        assert!(known.step(&sql).is_err());
        assert!(known.step(&sql).is_ok() && known.may_have(1, &id(1)));
    }
}
