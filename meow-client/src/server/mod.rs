//! Asking servers: which URL, which key, one sealed round trip.

mod ask;
mod reach;

pub(crate) use ask::{Ask, Servers, refused};
use reach::exchange;
