//! Identities, lanes and cards from outside the crate: what holds, and what must not work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod cards;
mod common;
mod decoders;
mod key_file;
mod labels;
mod lanes;
mod points;
mod randomness;
mod servers;
mod signatures;
mod words;
