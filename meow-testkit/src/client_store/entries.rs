//! Single entries.

use meow_core::Result;
use meow_core::store::{ClientStore, Table};

use super::{everything, put, value};

/// Values come back as they were put, are replaced and removed, and are there after reopening.
///
/// # Errors
/// Of the store.
pub fn entries_are_kept<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    assert_eq!(value(&store, Table::Meta, b"a")?, None);
    let large = vec![0xa5; 300_000];
    put(&store, Table::Meta, &[(b"a", b"1"), (b"b", b""), (b"", b"empty key"), (b"large", &large)])?;
    put(&store, Table::Meta, &[(b"a", b"2"), (b"\0\xff", b"\xff\0\xfe")])?;
    store.write(&mut |txn| {
        txn.put(Table::Meta, b"gone", b"soon")?;
        txn.delete(Table::Meta, b"never there")
    })?;
    store.write(&mut |txn| txn.delete(Table::Meta, b"gone"))?;
    drop(store);
    let store = open()?;
    assert_eq!(value(&store, Table::Meta, b"a")?, Some(b"2".to_vec()));
    assert_eq!(value(&store, Table::Meta, b"b")?, Some(Vec::new()), "an empty value is a value");
    assert_eq!(value(&store, Table::Meta, b"")?, Some(b"empty key".to_vec()));
    assert_eq!(value(&store, Table::Meta, b"\0\xff")?, Some(b"\xff\0\xfe".to_vec()));
    assert_eq!(value(&store, Table::Meta, b"large")?, Some(large));
    assert_eq!(value(&store, Table::Meta, b"gone")?, None);
    assert_eq!(value(&store, Table::Meta, b"A")?, None, "keys are bytes, not text");
    Ok(())
}

/// The same key in every table is another entry.
///
/// # Errors
/// Of the store.
pub fn tables_are_apart<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    for table in Table::ALL {
        put(&store, table, &[(b"key", table.name().as_bytes())])?;
    }
    store.write(&mut |txn| txn.delete(Table::Outbox, b"key"))?;
    for table in Table::ALL {
        let expected = (table != Table::Outbox).then(|| table.name().as_bytes().to_vec());
        assert_eq!(value(&store, table, b"key")?, expected, "{table:?}");
    }
    Ok(())
}

/// Some thousands of entries in one transaction, and most of them deleted in another.
///
/// # Errors
/// Of the store.
pub fn many_entries<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    store.write(&mut |txn| {
        (0..5_000_u32).rev().try_for_each(|n| txn.put(Table::Items, &n.to_be_bytes(), &n.to_le_bytes()))
    })?;
    store.write(&mut |txn| {
        (0..5_000_u32).filter(|n| n % 10 != 0).try_for_each(|n| txn.delete(Table::Items, &n.to_be_bytes()))
    })?;
    drop(store);
    let expected: Vec<_> = (0..5_000_u32)
        .filter(|n| n % 10 == 0)
        .map(|n| (n.to_be_bytes().to_vec(), n.to_le_bytes().to_vec()))
        .collect();
    assert_eq!(everything(&open()?, Table::Items)?, expected);
    Ok(())
}
