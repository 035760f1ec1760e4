//! Matriochka: the onion packet that carries a sealed request through a chain of servers (spec, chapter
//! "Matriochka"). A hop learns where a packet goes next and how long to wait before; the last one finds a request
//! sealed to itself, and a reply block that carries its answer back the same blind way.
//!
//! The header is Sphinx-shaped but not Sphinx: a fresh X25519 key lies in each slot, where Sphinx blinds one. No proof
//! of this variant has been published.

mod class;
mod delays;
mod error;
mod header;
mod keys;
mod open;
mod relayed;
mod reply;
mod seal;
mod slot;

pub use class::OnionClass;
pub use error::OnionError;
pub use keys::{HopKey, ReplayTag};
pub use open::{Delivery, Opened, Outcome};
pub use relayed::{is_relayed, mark_relayed, unmark_relayed};
pub use reply::{PendingReply, ReplyBlock};
pub use seal::{Step, seal, seal_with_reply};
pub use slot::{Delay, HopId, ReplySlot};

/// The most hops of one packet.
pub const MAX_HOPS: usize = 5;
/// Length of the header in bytes, the same for every class and number of hops.
pub const HEADER: usize = 388;
/// What stands before the header: suite byte and key hint.
pub const PREFIX: usize = 2;

const SLOT: usize = 68;
const SLOTS: usize = SLOT * MAX_HOPS;
const KEY: usize = 32;
const MAC: usize = 16;
/// Where the payload begins.
const PAYLOAD: usize = PREFIX + HEADER;
/// Zeros at the start of the innermost payload: what shows the last hop that nobody touched it.
const SEAL: usize = 16;

const _: () = assert!(HEADER == KEY + MAC + SLOTS);
