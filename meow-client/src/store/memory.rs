//! A client store in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use meow_core::store::{ClientStore, MAX_SEARCH_WORDS, StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};

use super::tree::Tree;
use super::{too_many_words, words};

/// A [`ClientStore`] in memory, for tests and for applications that want no file. Clones share the content,
/// which is gone with the last of them; it is not encrypted.
///
/// Search knows letter case but keeps accents apart. `work` handed to [`ClientStore::write`] must not call the
/// same store again: it would wait for itself.
#[derive(Clone, Default)]
pub struct MemoryClientStore {
    /// Readers take the inner `Arc` and are not disturbed: a writer that finds it taken copies what it changes.
    content: Arc<Mutex<Arc<Content>>>,
}

#[derive(Clone, Default)]
struct Content {
    tables: BTreeMap<Table, Tree<Arc<[u8]>>>,
    texts: Tree<Text>,
    last_text: u64,
}

/// The words under a log key, and when they were indexed.
#[derive(Clone)]
struct Text {
    number: u64,
    words: Arc<[String]>,
}

impl MemoryClientStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl ClientStore for MemoryClientStore {
    fn read(&self, work: &mut dyn FnMut(&dyn StoreTxn) -> Result<()>) -> Result<()> {
        let content = Arc::clone(&self.content.lock().unwrap_or_else(PoisonError::into_inner));
        work(&Reading(&content))
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn StoreTxn) -> Result<()>) -> Result<()> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let mut txn = Writing { content: Arc::make_mut(&mut content), undo: Vec::new() };
        work(&mut txn)?;
        txn.undo.clear();
        Ok(())
    }

    /// Memory is as it was written.
    fn verify(&self) -> Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for MemoryClientStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryClientStore").finish_non_exhaustive()
    }
}

impl Content {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        Some(self.tables.get(&table)?.get(key)?.to_vec())
    }

    fn set(&mut self, table: Table, key: &[u8], value: Option<Arc<[u8]>>) -> Option<Arc<[u8]>> {
        let entries = self.tables.entry(table).or_default();
        match value {
            Some(value) => entries.insert(key, value),
            None => entries.remove(key),
        }
    }

    fn set_text(&mut self, key: &[u8], text: Option<Text>) -> Option<Text> {
        match text {
            Some(text) => self.texts.insert(key, text),
            None => self.texts.remove(key),
        }
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Some(rows) = self.tables.get(&table) else { return Vec::new() };
        let start = match after {
            Some(after) if !reverse && after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let matching = rows.entries(start).take_while(|(key, _)| key.starts_with(prefix));
        let copy = |(key, value): (&[u8], &Arc<[u8]>)| (key.to_vec(), value.to_vec());
        if reverse {
            let mut found: Vec<_> =
                matching.take_while(|(key, _)| after.is_none_or(|after| *key < after)).collect();
            found.reverse();
            found.into_iter().take(limit).map(copy).collect()
        } else {
            matching.take(limit).map(copy).collect()
        }
    }

    fn search(&self, query: &str, limit: usize) -> Result<Vec<Vec<u8>>> {
        let wanted = folded(query);
        if wanted.len() > MAX_SEARCH_WORDS {
            return Err(too_many_words());
        }
        let Some((start, whole)) = wanted.split_last() else { return Ok(Vec::new()) };
        let mut found: Vec<(u64, &[u8])> = self
            .texts
            .entries(Bound::Unbounded)
            .filter(|(_, text)| {
                text.words.iter().any(|word| word.starts_with(start))
                    && whole.iter().all(|word| text.words.contains(word))
            })
            .map(|(key, text)| (text.number, key))
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found.into_iter().take(limit).map(|(_, key)| key.to_vec()).collect())
    }
}

fn folded(text: &str) -> Vec<String> {
    words(text).map(str::to_lowercase).collect()
}

struct Reading<'c>(&'c Content);

fn read_only<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Bug, "a read transaction cannot change the store"))
}

impl StoreTxn for Reading<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(table, key))
    }

    fn put(&mut self, _: Table, _: &[u8], _: &[u8]) -> Result<()> {
        read_only()
    }

    fn delete(&mut self, _: Table, _: &[u8]) -> Result<()> {
        read_only()
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(self.0.scan(table, prefix, after, limit, reverse))
    }

    fn index_text(&mut self, _: &[u8], _: &str) -> Result<()> {
        read_only()
    }

    fn search_text(&self, query: &str, limit: usize) -> Result<Vec<Vec<u8>>> {
        self.0.search(query, limit)
    }
}

/// Changes in place. What is still in `undo` when it goes is taken back: `work` failed or panicked.
struct Writing<'c> {
    content: &'c mut Content,
    undo: Vec<Undo>,
}

enum Undo {
    Entry(Table, Vec<u8>, Option<Arc<[u8]>>),
    Text(Vec<u8>, Option<Text>),
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Entry(table, key, value) => drop(self.content.set(table, &key, value)),
                Undo::Text(key, text) => drop(self.content.set_text(&key, text)),
            }
        }
    }
}

impl StoreTxn for Writing<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.content.get(table, key))
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        let old = self.content.set(table, key, Some(value.into()));
        self.undo.push(Undo::Entry(table, key.to_vec(), old));
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<()> {
        let old = self.content.set(table, key, None);
        self.undo.push(Undo::Entry(table, key.to_vec(), old));
        Ok(())
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(self.content.scan(table, prefix, after, limit, reverse))
    }

    fn index_text(&mut self, key: &[u8], text: &str) -> Result<()> {
        let text = (!text.is_empty()).then(|| {
            // Not taken back: the numbers only order the texts.
            self.content.last_text += 1;
            Text { number: self.content.last_text, words: folded(text).into() }
        });
        let old = self.content.set_text(key, text);
        self.undo.push(Undo::Text(key.to_vec(), old));
        Ok(())
    }

    fn search_text(&self, query: &str, limit: usize) -> Result<Vec<Vec<u8>>> {
        self.content.search(query, limit)
    }
}
