//! Conformance suites and simulated networks for Meow transports and stores.

pub mod client_store;
pub mod mailbox_store;
pub mod transport;
