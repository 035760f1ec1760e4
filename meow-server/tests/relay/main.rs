//! The relay as a library, over `memory:` and over HTTP on loopback.

#[path = "../support/mod.rs"]
mod support;

mod lifecycle;
mod setup;
