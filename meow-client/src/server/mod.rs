//! Asking servers: which URL, which key, one sealed round trip.

mod ask;
mod carry;
mod choose;
mod reach;
mod told;

pub(crate) use ask::{Ask, Servers, refused};
