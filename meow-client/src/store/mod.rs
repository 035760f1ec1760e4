//! Where a client keeps what it knows.
//!
//! The contract is [`meow_core::store::ClientStore`]. Here are two implementations: [`MemoryClientStore`],
//! which forgets everything with its last handle, and (feature `sqlite`) `SqliteClientStore`: one encrypted
//! file. An application with a database of its own implements the trait and runs the suite of
//! `meow-testkit` against it.

use meow_core::store::MAX_SEARCH_WORDS;
use meow_core::{Error, ErrorKind};

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tree;

pub use memory::MemoryClientStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteClientStore;

fn too_many_words() -> Error {
    Error::new(ErrorKind::Usage, format!("a search takes at most {MAX_SEARCH_WORDS} words: leave some out"))
}

/// The words of a text or query: runs of letters and digits, with the accents that follow a letter.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && !('\u{300}'..='\u{36f}').contains(&c))
        .filter(|word| word.contains(char::is_alphanumeric))
}
