//! The engine against a real relay, over `memory:` links.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod away;
mod chains;
mod copies;
mod cover;
mod crash;
mod direct;
mod forbidden;
mod grounded;
mod hostile;
mod lying;
mod moving;
mod radio;
mod restored;
mod rollback;
mod sessions;
mod spares;
mod story;
mod support;
mod tap;
mod wire;
