//! The full-text index.

use meow_core::store::ClientStore;
use meow_core::{ErrorKind, Result};

use super::look;

fn index(store: &impl ClientStore, texts: &[(&[u8], &str)]) -> Result<()> {
    store.write(&mut |txn| texts.iter().try_for_each(|(key, text)| txn.index_text(key, text)))
}

fn find(store: &impl ClientStore, query: &str) -> Result<Vec<String>> {
    let keys = look(store, |txn| txn.search_text(query, 100))?;
    Ok(keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect())
}

const NONE: [&str; 0] = [];

/// All words must be there, in any order; the last may be a beginning; newest first; letter case is all one.
///
/// # Errors
/// Of the store.
pub fn search_finds_words<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    index(
        &store,
        &[
            (b"1", "The cat sat on the mat."),
            (b"2", "A dog, a cat and a catalogue"),
            (b"3", "Кошка ела РЫБУ в 2026"),
        ],
    )?;
    drop(store);
    let store = open()?;
    assert_eq!(find(&store, "cat")?, ["2", "1"]);
    assert_eq!(find(&store, "CAT the")?, ["1"]);
    assert_eq!(find(&store, "mat, cat")?, ["1"]);
    assert_eq!(find(&store, "cat catal")?, ["2"]);
    assert_eq!(find(&store, "ca")?, ["2", "1"], "the last word may be a beginning");
    assert_eq!(find(&store, "ca mat")?, NONE, "only the last word may be");
    assert_eq!(find(&store, "at")?, NONE, "a beginning, not any part");
    assert_eq!(find(&store, "рыбу 20")?, ["3"]);
    assert_eq!(find(&store, "cat bird")?, NONE);
    assert_eq!(look(&store, |txn| txn.search_text("cat", 1))?, [b"2".to_vec()], "at most the limit");
    assert_eq!(look(&store, |txn| txn.search_text("cat", 0))?, Vec::<Vec<u8>>::new());
    Ok(())
}

/// An index entry is replaced and removed with nothing left behind.
///
/// # Errors
/// Of the store.
pub fn search_follows_changes<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    index(&store, &[(b"1", "first secret"), (b"2", "second")])?;
    index(&store, &[(b"1", "first revealed")])?;
    assert_eq!(find(&store, "secret")?, NONE);
    assert_eq!(find(&store, "revealed")?, ["1"]);
    assert_eq!(find(&store, "f")?, ["1"]);
    index(&store, &[(b"1", ""), (b"9", "")])?;
    assert_eq!(find(&store, "first")?, NONE);
    assert_eq!(find(&store, "second")?, ["2"]);
    index(&store, &[(b"3", "second to none"), (b"2", "second again")])?;
    assert_eq!(find(&store, "second")?, ["2", "3"], "newest indexed first");
    Ok(())
}

/// No text and no query is an error or a command, whatever the index is built with.
///
/// # Errors
/// Of the store.
pub fn search_takes_any_text<S: ClientStore>(open: impl Fn() -> Result<S>) -> Result<()> {
    let store = open()?;
    let long = "meow ".repeat(20_000);
    let texts: [(&[u8], &str); 5] = [
        (b"1", "say \"hello\" OR 'goodbye'; DROP TABLE log --"),
        (b"2", "\0 \u{1F431} \u{202E} \u{FFFF}"),
        (b"3", &long),
        (b"4", "state-of-the-art text:value a* ^b (c) {d} +e NEAR(f g, 2)"),
        (b"\0\xff", "key of any bytes"),
    ];
    index(&store, &texts)?;
    for query in ["", " ", "\"", "\"\"", "'", "*", "(", ")", "-", "^", ":", "+", "{", "\0", "\u{1F431}", "--"]
    {
        assert_eq!(find(&store, query)?, NONE, "{query:?} holds no word");
    }
    assert_eq!(find(&store, "hello OR goodbye")?, ["1"]);
    assert_eq!(find(&store, "hello AND goodbye")?, NONE, "there is no word `and`");
    assert_eq!(find(&store, "NOT hello")?, NONE);
    assert_eq!(find(&store, "\"hello")?, ["1"]);
    assert_eq!(find(&store, "hello\" OR \"meow")?, NONE, "a quote ends nothing");
    assert_eq!(find(&store, "text:value")?, ["4"]);
    assert_eq!(find(&store, "(c) {d")?, ["4"]);
    assert_eq!(find(&store, "near(f")?, ["4"]);
    assert_eq!(find(&store, "art-of.state")?, ["4"], "signs only separate");
    assert_eq!(find(&store, "meow me")?, ["3"]);
    assert_eq!(look(&store, |txn| txn.search_text("any byt", 9))?, [b"\0\xff".to_vec()]);
    let many = find(&store, &"meow ".repeat(65)).map_err(|e| e.kind());
    assert_eq!(many, Err(ErrorKind::Usage), "more than 64 words");
    assert_eq!(find(&store, &"meow ".repeat(64))?, ["3"]);
    Ok(())
}
