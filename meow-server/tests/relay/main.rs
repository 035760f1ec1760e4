//! The relay as a library, over `memory:` and over HTTP on loopback.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod hop;
mod hop_dials;
mod lifecycle;
mod load;
mod presence;
mod sessions;
mod setup;
mod time;
