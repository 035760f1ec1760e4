//! Two contacts without a server in between (spec, chapter "Presence and direct"): where one of them may be found, sealed
//! for the other; how both prove on a fresh link that they are of this relation; the frames of such a link.
//!
//! Everything here hangs on one secret that a contact has sent over the ratchet ([`DirectOffer`]): whoever does not know
//! it learns nothing, and is recognised by one MAC. No I/O and no clock.

mod frame;
mod link;
mod offer;
mod reach;
#[cfg(test)]
mod tests;

pub use frame::DirectFrame;
pub use link::{
    Dialling, DirectBinding, DirectLink, FAT_HELLO, Hello, THIN_HELLO, answer_hello, is_hello_size,
};
pub use offer::DirectOffer;
pub use reach::{MAX_REACH_URL, REACH, Reach, ReachFor, ReachUse};
