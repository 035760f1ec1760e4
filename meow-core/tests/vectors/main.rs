//! Makes the test vectors of `docs/vectors` again and compares: a changed byte is a changed protocol.
//!
//! `MEOW_WRITE_VECTORS=1 cargo test -p meow-core --test vectors` writes them anew, which goes with a line in
//! CHANGELOG.md. A section is a module with one test that fills a [`harness::Section`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod cards;
mod derivations;
mod direct;
mod harness;
mod identity;
mod lanes;
mod matriochka;
mod messages;
mod onion_by_spec;
mod openings;
mod ratchet;
mod requests;
mod segments;
mod sessions;
mod thin;
mod wire;
