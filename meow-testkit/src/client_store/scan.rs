//! Ranges of entries.

use meow_core::Result;
use meow_core::store::{ClientStore, Table};

use super::{Entries, look, put};

const KEYS: [&[u8]; 9] =
    [b"", b"a", b"a\0", b"a\xff", b"a\xff\xff", b"a\xff\xff\0", b"b", b"\xff", b"\xff\xff\xff"];

fn filled<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<S> {
    let store = open()?;
    for key in KEYS.iter().rev() {
        put(&store, Table::Log, &[(key, key)])?;
    }
    put(&store, Table::Outbox, &[(b"a", b"of another table")])?;
    Ok(store)
}

fn keys(found: Entries) -> Vec<Vec<u8>> {
    found
        .into_iter()
        .map(|(key, value)| {
            assert_eq!(key, value, "a scan brings each key's own value");
            key
        })
        .collect()
}

/// A scan brings the entries with the prefix and no other, in bytewise order, both ways.
///
/// # Errors
/// Of the store.
pub fn scans_keep_to_the_prefix<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = filled(open)?;
    for prefix in KEYS.into_iter().chain([b"c".as_slice(), b"a\xff\xff\xff", b"\xff\xff"]) {
        let mut expected: Vec<_> =
            KEYS.iter().filter(|key| key.starts_with(prefix)).map(|key| key.to_vec()).collect();
        let scan = |reverse| look(&store, |txn| txn.scan(Table::Log, prefix, None, usize::MAX, reverse));
        assert_eq!(keys(scan(false)?), expected, "{prefix:?}");
        expected.reverse();
        assert_eq!(keys(scan(true)?), expected, "{prefix:?} in reverse");
    }
    Ok(())
}

/// Pages of one entry, each `after` the one before, bring everything once; `after` need not exist, nor have
/// the prefix.
///
/// # Errors
/// Of the store.
pub fn scans_follow_after<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = filled(open)?;
    for reverse in [false, true] {
        let mut paged = Vec::new();
        loop {
            let after = paged.last().cloned();
            let page = keys(look(&store, |txn| txn.scan(Table::Log, b"a", after.as_deref(), 1, reverse))?);
            assert!(page.len() <= 1, "no more than the limit");
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        let whole = keys(look(&store, |txn| txn.scan(Table::Log, b"a", None, 100, reverse))?);
        assert_eq!(paged, whole);
    }
    let scan = |prefix: &[u8], after: &[u8], limit, reverse| {
        look(&store, |txn| txn.scan(Table::Log, prefix, Some(after), limit, reverse)).map(keys)
    };
    assert_eq!(scan(b"", b"a\x01", 2, false)?, [b"a\xff".to_vec(), b"a\xff\xff".to_vec()]);
    assert_eq!(scan(b"", b"a\x01", 2, true)?, [b"a\0".to_vec(), b"a".to_vec()]);
    assert_eq!(scan(b"b", b"", 9, false)?, [b"b".to_vec()], "after a key before the prefix");
    assert_eq!(scan(b"b", b"c", 9, false)?, Vec::<Vec<u8>>::new(), "after a key behind the prefix");
    assert_eq!(scan(b"b", b"c", 9, true)?, [b"b".to_vec()]);
    assert_eq!(scan(b"", b"", 1, true)?, Vec::<Vec<u8>>::new(), "nothing is less than the empty key");
    assert_eq!(scan(b"", b"", 0, false)?, Vec::<Vec<u8>>::new(), "a limit of none");
    Ok(())
}

/// Every combination of prefix, `after` and limit over short keys brings what a sorted list would.
///
/// # Errors
/// Of the store.
pub fn scans_match_a_sorted_list<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = filled(open)?;
    let bounds: Vec<&[u8]> = KEYS.into_iter().chain([b"a\x01".as_slice(), b"\xfe"]).collect();
    store.read(&mut |txn| {
        for prefix in &bounds {
            for after in bounds.iter().copied().map(Some).chain([None]) {
                for reverse in [false, true] {
                    let mut expected: Vec<_> = KEYS
                        .iter()
                        .filter(|key| key.starts_with(prefix))
                        .filter(|key| after.is_none_or(|a| if reverse { **key < a } else { **key > a }))
                        .map(|key| key.to_vec())
                        .collect();
                    if reverse {
                        expected.reverse();
                    }
                    for limit in [1, 2, 100] {
                        let found = keys(txn.scan(Table::Log, prefix, after, limit, reverse)?);
                        let expected: Vec<_> = expected.iter().take(limit).cloned().collect();
                        assert_eq!(found, expected, "{prefix:?} {after:?} {limit} {reverse}");
                    }
                }
            }
        }
        Ok(())
    })
}
