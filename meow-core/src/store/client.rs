//! The client's store: ordered tables of bytes, changed in atomic transactions, with a full-text index.

use crate::Result;

/// The tables of a client store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Table {
    /// Settings and counters of the whole store, by name.
    Meta,
    /// Servers, by fingerprint.
    Servers,
    /// Contacts, by contact id.
    Contacts,
    /// Contact ids, by name.
    Names,
    /// Messages of both directions, by contact id and position.
    Log,
    /// What waits to be sent, by order.
    Outbox,
    /// Events not yet confirmed by the application, by number.
    Events,
    /// Pulled items already processed or set aside, by contact id and item hash.
    Items,
    /// Pull counters and positions, by mailbox and server.
    Mailboxes,
    /// Recovery keys, by index.
    Recovery,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 10] = [
        Self::Meta,
        Self::Servers,
        Self::Contacts,
        Self::Names,
        Self::Log,
        Self::Outbox,
        Self::Events,
        Self::Items,
        Self::Mailboxes,
        Self::Recovery,
    ];

    /// A fixed name in lower case, for implementations that need one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Servers => "servers",
            Self::Contacts => "contacts",
            Self::Names => "names",
            Self::Log => "log",
            Self::Outbox => "outbox",
            Self::Events => "events",
            Self::Items => "items",
            Self::Mailboxes => "mailboxes",
            Self::Recovery => "recovery",
        }
    }
}

/// The words that one search can have.
pub const MAX_SEARCH_WORDS: usize = 64;

/// One open transaction.
///
/// When a call fails the transaction is lost: return the error, so that nothing of it is kept.
pub trait StoreTxn {
    /// The value of a key.
    ///
    /// # Errors
    /// `Damaged` for a store whose bytes do not hold, `System` for I/O.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Sets a value. Refused with kind `Bug` in a read transaction.
    ///
    /// # Errors
    /// As [`StoreTxn::get`].
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()>;

    /// Removes a key, if it is there.
    ///
    /// # Errors
    /// As [`StoreTxn::put`].
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<()>;

    /// Up to `limit` entries whose key starts with `prefix` and is greater than `after` (when given), in
    /// bytewise order; `reverse` starts from the end, and `after` then means "less than".
    ///
    /// # Errors
    /// As [`StoreTxn::get`].
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Makes a text findable under this key of [`Table::Log`], replacing what was; an empty text removes it.
    ///
    /// # Errors
    /// As [`StoreTxn::put`].
    fn index_text(&mut self, key: &[u8], text: &str) -> Result<()>;

    /// Keys of [`Table::Log`] whose text holds all words of the query (or words that start with the last
    /// one), newest indexed first, at most `limit`.
    ///
    /// Words are runs of letters and digits; letter case does not matter. Anything else in a query only
    /// separates, and a query without words finds nothing.
    ///
    /// # Errors
    /// As [`StoreTxn::get`], and `Usage` for more than [`MAX_SEARCH_WORDS`].
    fn search_text(&self, query: &str, limit: usize) -> Result<Vec<Vec<u8>>>;
}

/// A durable client store. Several processes may hold the same one.
///
/// All methods block; callers on an async runtime move them to a blocking thread. `work` must not start
/// another transaction of the same store inside a write: it would wait for itself.
pub trait ClientStore: Send + Sync + 'static {
    /// Runs `work` with a view that does not change meanwhile.
    ///
    /// # Errors
    /// What `work` returns, or `Damaged` or `System`.
    fn read(&self, work: &mut dyn FnMut(&dyn StoreTxn) -> Result<()>) -> Result<()>;

    /// Runs `work` alone among all writers, and makes its changes durable as one before returning. When `work`
    /// fails nothing is changed. `work` runs once.
    ///
    /// # Errors
    /// What `work` returns, or `Damaged` or `System`.
    fn write(&self, work: &mut dyn FnMut(&mut dyn StoreTxn) -> Result<()>) -> Result<()>;

    /// Reads everything that is kept and checks that it holds. Takes time in proportion to the store.
    ///
    /// # Errors
    /// `Damaged` if anything does not hold, `System` for I/O.
    fn verify(&self) -> Result<()>;
}
