//! The program `meowd`, as a process: its command line, its signals, its files, and how it dies.
#![cfg(all(unix, feature = "daemon"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod crash;
mod disk;
mod hops;
mod process;
mod rates;
mod silent;
