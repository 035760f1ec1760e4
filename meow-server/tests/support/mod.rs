//! A small client, made of the public parts of `meow-core` only.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test program uses its own share of this")]

pub mod client;
pub mod store;

pub use client::{Client, Owner};
pub use store::MemStore;
