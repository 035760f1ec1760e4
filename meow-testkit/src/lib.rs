//! Conformance suites and simulated networks for Meow transports and stores.
