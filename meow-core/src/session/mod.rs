//! Packets of a session, the second sealer of the one envelope (spec, chapter "Sessions"): symmetric keys take the
//! place of the public-key work of a sealed request. A session is opened by a sealed request, for one mailbox and one
//! role. Not here: which counters were used.

mod item;
mod keys;
mod open;
mod request;
#[cfg(test)]
mod tests;

pub use keys::{
    Direction, SESSION_OVERHEAD, SESSION_TAG, SessionKeys, THIN_SESSION_OVERHEAD, Tag, session_tag,
};
pub use open::{SessionBinding, ShareSecret, grant_session};
pub use request::{ITEM_DEPOSIT, SessionKind, SessionRequest, SessionRole, session_room};
