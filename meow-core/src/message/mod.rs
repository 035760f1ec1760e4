//! What a ratchet message holds: a body with sequence, digest and signature around a typed content (spec,
//! chapter "Messages").

mod body;
mod content;
mod control;
mod thin;

pub use body::{Body, Parties, Seen, item_size};
pub use content::{Content, ContentError, Data, MAX_CONTENT, MAX_DATA, MAX_TEXT};
pub use control::{Confirm, Prekeys, Receipt};
pub use thin::{seen_is_short, thin_item_size};
