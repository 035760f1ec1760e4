//! Where a client keeps what it knows.
//!
//! The contract is [`meow_core::store::ClientStore`]. Here are two implementations: [`MemoryClientStore`],
//! which forgets everything with its last handle, and (feature `sqlite`) `SqliteClientStore`: one encrypted
//! file. An application with a database of its own implements the trait and runs the suite of
//! `meow-testkit` against it.

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use memory::MemoryClientStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteClientStore;
