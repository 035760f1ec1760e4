//! A small client, made of the public parts of `meow-core` only.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test program uses its own share of this")]

pub mod client;
pub mod onion;
pub mod store;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

pub use client::{Client, Owner};
pub use store::MemStore;

/// A port that is free, below those that the system gives to outgoing connections: those of tests that run beside this
/// one could take it before it is listened at.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = NEXT
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(7)
            .wrapping_add(std::process::id().wrapping_mul(131));
        let port = 10_000 + u16::try_from(n % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
