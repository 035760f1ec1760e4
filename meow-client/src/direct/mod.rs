//! Reaching contacts without a server, where the policy allows it (spec, chapter "Presence and direct").

mod offer;

pub(crate) use offer::{DIRECT, note_offer};
