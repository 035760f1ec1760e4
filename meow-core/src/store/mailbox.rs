//! The server's store: mailboxes, their items and blobs.
//!
//! Writes are handed over in batches so that one sync confirms many (group commit). Each write says what
//! it checks; the store checks and changes atomically, so that two connections cannot race.

use crate::Result;

/// The facts of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The Lkp.
    pub mailbox: [u8; 32],
    /// Hash of the deposit token.
    pub token_hash: [u8; 32],
    /// Hash of the close key.
    pub close_hash: [u8; 32],
    /// The request's counter.
    pub counter: u64,
    /// Who pays for a mailbox that does not exist yet.
    pub charge: Charge,
}

/// The right by which a new mailbox is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The operator lets this asker make mailboxes.
    Free,
    /// One use of the invitation with this hash.
    Invite([u8; 32]),
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// The mailbox exists, with this token.
    Done,
    /// The invitation is unknown, expired or used up.
    NotInvited,
    /// The counter was not higher than this one.
    Stale(u64),
    /// The mailbox was closed for good.
    Closed,
}

/// A deposit to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeposit {
    /// The Lkp.
    pub mailbox: [u8; 32],
    /// Hash of the token that was shown.
    pub token_hash: [u8; 32],
    /// The depositor's idempotency id.
    pub id: [u8; 16],
    /// When the item can go, in Unix seconds.
    pub expires: u64,
    /// The sealed item.
    pub item: Vec<u8>,
}

/// What became of a deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepositOutcome {
    /// Stored, now or before.
    Stored,
    /// No such mailbox, or the token does not match.
    Denied,
    /// A quota is reached; nothing was dropped.
    Full,
}

/// One stored item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredItem {
    /// Rises with arrival within one mailbox, from 1, and is never used again.
    pub number: u64,
    /// The sealed item.
    pub item: Vec<u8>,
}

/// What became of a counted request (pull, acknowledge).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullOutcome {
    /// The counter is taken, and what was acknowledged is gone.
    Done,
    /// No such mailbox.
    Denied,
    /// The counter was not higher than this one.
    Stale(u64),
}

/// Who asks to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseBy {
    /// The Lkp itself.
    Lookup,
    /// A close key whose hash must be the registered one.
    Key([u8; 32]),
}

/// A blob to park.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRecord {
    /// The Lkp.
    pub mailbox: [u8; 32],
    /// The blob's name.
    pub name: [u8; 16],
    /// The request's counter.
    pub counter: u64,
    /// When the blob can go, in Unix seconds.
    pub expires: u64,
    /// The sealed content.
    pub content: Vec<u8>,
}

/// One change of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// Answered by a [`RegisterOutcome`].
    Register(Registration),
    /// Answered by a [`DepositOutcome`].
    Deposit(NewDeposit),
    /// Takes a counter and deletes items up to a number. Answered by a [`PullOutcome`].
    Acknowledge {
        /// The Lkp.
        mailbox: [u8; 32],
        /// The request's counter.
        counter: u64,
        /// Items up to this number can go.
        upto: u64,
    },
    /// Removes a mailbox for good. Closing again is done again. Answered by a [`PullOutcome`].
    Close {
        /// The Lkp.
        mailbox: [u8; 32],
        /// The request's counter.
        counter: u64,
        /// Who asks.
        by: CloseBy,
    },
    /// Parks a blob; a full one takes no counter. Answered by a [`DepositOutcome`] or, for a stale counter, a [`PullOutcome`].
    Blob(BlobRecord),
}

/// What became of a [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Of a registration.
    Register(RegisterOutcome),
    /// Of a deposit or blob.
    Deposit(DepositOutcome),
    /// Of a counted request.
    Pull(PullOutcome),
}

/// How much one mailbox, and the whole store, can hold. Checked with every deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Items in one mailbox; as many blobs can be parked beside them.
    pub mailbox_items: u64,
    /// Bytes in one mailbox, blobs included.
    pub mailbox_bytes: u64,
    /// Bytes of all mailboxes together.
    pub total_bytes: u64,
}

/// Items of one mailbox, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// As many as the limits allow.
    pub items: Vec<StoredItem>,
    /// Others follow; then `next_len` tells of the first.
    pub more: bool,
    /// Length in bytes of the first item that was left out, for its length or for the number of items.
    pub next_len: Option<usize>,
}

/// What a store holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Open mailboxes.
    pub mailboxes: u64,
    /// Items in them.
    pub items: u64,
    /// Bytes of items and blobs.
    pub bytes: u64,
}

/// A durable store of mailboxes. All methods block; a relay calls them from its own writer and reader
/// threads. Lookups of what exists and what does not do the same number of operations.
pub trait MailboxStore: Send + Sync + 'static {
    /// Applies the writes in order and returns one outcome for each, all durable. When this fails, none
    /// was applied.
    ///
    /// # Errors
    /// `Damaged` for bytes that do not hold, `System` for I/O (disk full, read-only).
    fn commit(&self, batch: &[Write], quota: &Quota, now: u64) -> Result<Vec<WriteOutcome>>;

    /// Items numbered above `after` that have not expired: at most `max_items`, and at most `max_bytes` when
    /// each costs its length and `per_item` more. An empty page for a mailbox that does not exist.
    ///
    /// # Errors
    /// As [`MailboxStore::commit`].
    fn items(
        &self,
        mailbox: &[u8; 32],
        after: u64,
        max_items: usize,
        max_bytes: usize,
        per_item: usize,
        now: u64,
    ) -> Result<Page>;

    /// A parked blob that has not expired, if the token matches.
    ///
    /// # Errors
    /// As [`MailboxStore::commit`].
    fn blob(
        &self,
        mailbox: &[u8; 32],
        token_hash: &[u8; 32],
        name: &[u8; 16],
        now: u64,
    ) -> Result<Option<Vec<u8>>>;

    /// Makes an invitation good for so many mailboxes until so many Unix seconds.
    ///
    /// # Errors
    /// As [`MailboxStore::commit`].
    fn add_invite(&self, hash: &[u8; 32], uses: u32, expires: u64) -> Result<()>;

    /// Deletes what has expired, at most `limit` rows at once, and returns how many.
    ///
    /// # Errors
    /// As [`MailboxStore::commit`].
    fn expire(&self, now: u64, limit: usize) -> Result<usize>;

    /// What the store holds.
    ///
    /// # Errors
    /// As [`MailboxStore::commit`].
    fn stats(&self) -> Result<StoreStats>;
}
