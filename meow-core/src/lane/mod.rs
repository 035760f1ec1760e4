//! Lanes: which devices speak for a contact, where their mailboxes are, and the signed, chained lists that
//! say so (spec, chapter "Lanes and cards").

mod chain;
mod entry;
mod list;
mod lookup;
mod server;
mod wrap;

pub use chain::MergedLanes;
pub use entry::{LaneEntry, LaneId, Revoked};
pub use list::{LaneError, LaneList, MAX_LANES, MAX_REVOKED, SignedLaneList, VerifiedLaneList};
pub use lookup::{Lookup, LookupSecrets, MAX_SERVERS, Place};
pub use server::{MAX_INVITE, MAX_URL, MAX_URLS, ServerRef, ServerReference, ServerReferenceError};
pub use wrap::{unwrap_item, wrap_item};
