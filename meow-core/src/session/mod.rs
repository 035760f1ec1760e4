//! Packets of a session, the second sealer of the one envelope (spec, chapter "Sessions"): symmetric keys take the
//! place of the public-key work of a sealed request. Not here: how a session is opened, who may open one, and which
//! counters were used.

mod item;
mod keys;
#[cfg(test)]
mod tests;

pub use keys::{
    Direction, SESSION_OVERHEAD, SESSION_TAG, SessionKeys, THIN_SESSION_OVERHEAD, Tag, session_tag,
};
