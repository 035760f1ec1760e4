//! Onion packets through chains of hops: every number of hops, every class, and what must not work against them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod attacks;
mod chain;
mod classifier;
mod routes;
mod shape;
mod timing;
mod traffic;
