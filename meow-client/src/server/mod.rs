//! Asking servers: which URL, which key or session, one sealed round trip.

mod ask;
mod carry;
mod choose;
mod exchange;
mod reach;
mod sealed;
mod silence;
mod through;
mod told;

pub(crate) use ask::{Answered, Ask, Servers, To, refused};
pub(crate) use reach::{Always, MayLeave};
pub(crate) use sealed::{Room, Seal, Session, session_len};
pub(crate) use through::{NotCarried, NotHow};
pub(crate) use told::counter_of_own;
