//! Transactions: whole or not at all, and apart from each other.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Barrier};
use std::thread;

use meow_core::store::{ClientStore, Table};
use meow_core::{Error, ErrorKind, Result};

use super::{everything, look, put, value};

fn refused() -> Error {
    Error::new(ErrorKind::Limit, "the check's own error")
}

/// A write transaction reads what it has put, deleted and indexed.
///
/// # Errors
/// Of the store.
pub fn work_sees_its_own_changes<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    put(&store, Table::Log, &[(b"a", b"old"), (b"b", b"old")])?;
    let mut runs = 0;
    store.write(&mut |txn| {
        runs += 1;
        txn.put(Table::Log, b"a", b"new")?;
        txn.delete(Table::Log, b"b")?;
        txn.put(Table::Log, b"c", b"new")?;
        txn.index_text(b"c", "whiskers")?;
        assert_eq!(txn.get(Table::Log, b"a")?.as_deref(), Some(b"new".as_slice()));
        assert_eq!(txn.get(Table::Log, b"b")?, None);
        let found = txn.scan(Table::Log, b"", None, 9, false)?;
        assert_eq!(found, [(b"a".to_vec(), b"new".to_vec()), (b"c".to_vec(), b"new".to_vec())]);
        assert_eq!(txn.search_text("whiskers", 9)?, [b"c".to_vec()]);
        Ok(())
    })?;
    assert_eq!(runs, 1, "work runs once");
    Ok(())
}

/// Work that fails leaves no trace, its error comes back as it is, and the store goes on working.
///
/// # Errors
/// Of the store.
pub fn failed_work_changes_nothing<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    store.write(&mut |txn| {
        txn.put(Table::Log, b"kept", b"1")?;
        txn.index_text(b"kept", "purring")
    })?;
    let failed = store.write(&mut |txn| {
        txn.put(Table::Log, b"kept", b"2")?;
        txn.put(Table::Meta, b"new", b"2")?;
        txn.delete(Table::Log, b"kept")?;
        txn.index_text(b"kept", "hissing")?;
        txn.index_text(b"new", "hissing")?;
        Err(refused())
    });
    assert_eq!(failed.map_err(|e| e.kind()), Err(ErrorKind::Limit));
    assert_eq!(store.read(&mut |_| Err(refused())).map_err(|e| e.kind()), Err(ErrorKind::Limit));
    for store in [&store, &open()?] {
        assert_eq!(everything(store, Table::Log)?, [(b"kept".to_vec(), b"1".to_vec())]);
        assert_eq!(everything(store, Table::Meta)?, []);
        assert_eq!(look(store, |txn| txn.search_text("purring", 9))?, [b"kept".to_vec()]);
        assert_eq!(look(store, |txn| txn.search_text("hissing", 9))?, Vec::<Vec<u8>>::new());
        put(store, Table::Outbox, &[(b"goes", b"on")])?;
    }
    Ok(())
}

/// The same for work that panics: the panic goes through, its changes do not.
///
/// # Errors
/// Of the store.
pub fn panicked_work_changes_nothing<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    put(&store, Table::Log, &[(b"kept", b"1")])?;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        store.write(&mut |txn| {
            txn.put(Table::Log, b"kept", b"2")?;
            // Unlike `panic!`, this does not print a report that a reader would take for a failed test.
            resume_unwind(Box::new("the check's own panic"))
        })
    }));
    assert!(outcome.is_err(), "the panic goes through");
    assert_eq!(everything(&store, Table::Log)?, [(b"kept".to_vec(), b"1".to_vec())]);
    put(&store, Table::Log, &[(b"kept", b"3")])?;
    assert_eq!(value(&open()?, Table::Log, b"kept")?, Some(b"3".to_vec()));
    Ok(())
}

/// A read runs once and leaves the store as it was.
///
/// # Errors
/// Of the store.
pub fn reads_cannot_write<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    put(&store, Table::Log, &[(b"kept", b"1")])?;
    let mut runs = 0;
    store.read(&mut |txn| {
        runs += 1;
        assert_eq!(txn.get(Table::Log, b"kept")?, Some(b"1".to_vec()));
        Ok(())
    })?;
    assert_eq!(runs, 1, "work runs once");
    assert_eq!(everything(&store, Table::Log)?, [(b"kept".to_vec(), b"1".to_vec())]);
    Ok(())
}

/// What another handle commits meanwhile does not show in a read that has begun, and does in the next.
///
/// # Errors
/// Of the store.
pub fn readers_see_one_state<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let (reader, writer) = (open()?, open()?);
    put(&writer, Table::Log, &[(b"a", b"1"), (b"b", b"1")])?;
    reader.read(&mut |txn| {
        put(&writer, Table::Log, &[(b"a", b"2"), (b"b", b"2"), (b"c", b"2")])?;
        assert_eq!(txn.get(Table::Log, b"a")?, Some(b"1".to_vec()), "the state at the start");
        put(&writer, Table::Log, &[(b"b", b"3")])?;
        let seen = txn.scan(Table::Log, b"", None, 9, false)?;
        assert_eq!(seen, [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"1".to_vec())]);
        Ok(())
    })?;
    assert_eq!(value(&reader, Table::Log, b"b")?, Some(b"3".to_vec()));
    Ok(())
}

/// Two handles on one place have one content.
///
/// # Errors
/// Of the store.
pub fn handles_see_each_other<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let (one, two) = (open()?, open()?);
    put(&one, Table::Log, &[(b"a", b"1")])?;
    assert_eq!(value(&two, Table::Log, b"a")?, Some(b"1".to_vec()));
    two.write(&mut |txn| {
        txn.delete(Table::Log, b"a")?;
        txn.put(Table::Log, b"b", b"2")
    })?;
    assert_eq!(everything(&one, Table::Log)?, [(b"b".to_vec(), b"2".to_vec())]);
    drop(two);
    put(&one, Table::Log, &[(b"c", b"3")])?;
    assert_eq!(everything(&open()?, Table::Log)?.len(), 2);
    Ok(())
}

/// Threads over two handles read a counter and put it back one higher: none overwrites another's.
///
/// # Errors
/// Of the store.
pub fn no_update_is_lost<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    const EACH: u64 = 50;
    let stores = [Arc::new(open()?), Arc::new(open()?)];
    let start = Arc::new(Barrier::new(4));
    let workers: Vec<_> = (0..4_usize)
        .zip(stores.iter().cycle())
        .map(|(_, store)| {
            let (store, start) = (Arc::clone(store), Arc::clone(&start));
            thread::spawn(move || -> Result<()> {
                start.wait();
                (0..EACH).try_for_each(|_| {
                    store.write(&mut |txn| {
                        let next = number(txn.get(Table::Meta, b"counter")?) + 1;
                        txn.put(Table::Meta, b"counter", &next.to_be_bytes())
                    })
                })
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| Error::new(ErrorKind::Bug, "a writer panicked"))??;
    }
    assert_eq!(number(value(&open()?, Table::Meta, b"counter")?), 4 * EACH);
    Ok(())
}

fn number(bytes: Option<Vec<u8>>) -> u64 {
    bytes.unwrap_or_default().iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}
