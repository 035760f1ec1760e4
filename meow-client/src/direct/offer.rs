//! What both sides say of being reached without a server.

use meow_core::Result;
use meow_core::crypto::Secret;
use meow_core::direct::DirectOffer;
use meow_core::identity::ContactId;
use meow_core::store::{StoreTxn, Table};
use serde::{Deserialize, Serialize};

use crate::records::{load, save};

/// What is known of reaching one contact directly.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DirectRecord {
    /// The contact's newest offer.
    pub(crate) theirs: Option<Secret>,
    /// The sequence of the statement that brought it.
    pub(crate) theirs_at: u64,
}

/// Prefix of the notes on reaching contacts directly.
pub(crate) const DIRECT: &[u8] = b"direct:";

/// Key of a contact's [`DirectRecord`].
pub(crate) fn direct_key(id: &ContactId) -> Vec<u8> {
    [DIRECT, id.as_bytes()].concat()
}

/// Notes what a contact offers. The newest statement counts, in whatever order they come.
pub(crate) fn note_offer(txn: &mut dyn StoreTxn, id: &ContactId, seq: u64, offer: DirectOffer) -> Result<()> {
    let mut record: DirectRecord = load(txn, Table::Meta, &direct_key(id))?.unwrap_or_default();
    if seq < record.theirs_at {
        return Ok(());
    }
    (record.theirs, record.theirs_at) = (offer.secret, seq);
    save(txn, Table::Meta, &direct_key(id), &record)
}
