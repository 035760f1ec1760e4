//! The embedded mailbox store, from outside: the public suite, damage, crashes, bounds, and a model.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test that cannot set up has failed; what the modules share is public to nobody else"
)]

mod bounds;
mod conformance;
mod crash;
mod damage;
mod model;
mod segments;
mod support;
