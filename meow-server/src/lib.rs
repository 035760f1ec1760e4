//! The Meow relay as a library.
#![doc = include_str!("../README.md")]

mod admission;
mod clock;
mod engine;
mod identity;
mod limits;
mod onion;
mod relay;
mod service;
mod session;
mod steady;
pub mod store;

pub use admission::Admission;
pub use clock::{Clock, SystemClock};
pub use identity::{SealingKeyInfo, ServerIdentity};
pub use limits::RelayLimits;
pub use onion::{Hop, HopCounts, HopLimits};
pub use relay::{Relay, RelayBuilder, RelayHandle};
pub use service::{Blobs, Caller, HeldPlace, HeldPull, Kind, Mail, Mailboxes, Offer, Presence, Service};
