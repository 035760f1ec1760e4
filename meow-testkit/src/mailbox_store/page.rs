//! Reading in pages.

use meow_core::Result;
use meow_core::store::{DepositOutcome, MailboxStore};

use super::{NOW, deposit, lkp, open_mailbox, put};

/// A page ends before the first item that does not fit its bytes, says how long that is, and never skips it for
/// a smaller one behind.
///
/// # Errors
/// Of the store.
pub fn pages_by_bytes<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    for (n, len) in [(1, 100), (2, 200), (3, 5_000), (4, 10)] {
        assert_eq!(put(&store, deposit(1, n, &vec![1; len]))?, DepositOutcome::Stored);
    }
    let page = |after, bytes, per_item| store.items(&lkp(1), after, 100, bytes, per_item, NOW);
    let numbers = |page: &meow_core::store::Page| page.items.iter().map(|i| i.number).collect::<Vec<_>>();

    let exact = page(0, 300, 0)?;
    assert_eq!((numbers(&exact), exact.more, exact.next_len), (vec![1, 2], true, Some(5_000)));
    let short = page(0, 299, 0)?;
    assert_eq!((numbers(&short), short.more, short.next_len), (vec![1], true, Some(200)));
    let with_overhead = page(0, 319, 10)?;
    assert_eq!((numbers(&with_overhead), with_overhead.next_len), (vec![1], Some(200)));
    assert_eq!(numbers(&page(0, 320, 10)?), [1, 2]);
    let none = page(2, 4_999, 0)?;
    assert_eq!((numbers(&none), none.more, none.next_len), (vec![], true, Some(5_000)));
    let last = page(2, 5_010, 0)?;
    assert_eq!((numbers(&last), last.more, last.next_len), (vec![3, 4], false, None));
    let past = page(4, 5_010, 0)?;
    assert_eq!((numbers(&past), past.more, past.next_len), (vec![], false, None));
    assert_eq!(numbers(&page(u64::MAX, 5_010, 0)?), []);
    Ok(())
}

/// A page holds at most so many items, and following pages join without gap or overlap.
///
/// # Errors
/// Of the store.
pub fn pages_by_items<S: MailboxStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    open_mailbox(&store, 1)?;
    for n in 1..=25 {
        assert_eq!(put(&store, deposit(1, n, &n.to_be_bytes()))?, DepositOutcome::Stored);
    }
    let mut after = 0;
    let mut read = Vec::new();
    loop {
        let page = store.items(&lkp(1), after, 10, usize::MAX, 0, NOW)?;
        assert!(page.items.len() <= 10);
        assert_eq!(page.more, page.next_len.is_some(), "both tell that an item was left out");
        read.extend(page.items.iter().map(|item| (item.number, item.item.clone())));
        after = page.items.last().map_or(u64::MAX, |item| item.number);
        if !page.more {
            break;
        }
    }
    let all: Vec<_> = (1..=25u32).map(|n| (u64::from(n), n.to_be_bytes().to_vec())).collect();
    assert_eq!(read, all);
    let nothing = store.items(&lkp(1), 0, 0, usize::MAX, 0, NOW)?;
    assert!(nothing.items.is_empty() && nothing.more);
    Ok(())
}
