//! Conformance suites and simulated networks for Meow transports and stores.

pub mod mailbox_store;
