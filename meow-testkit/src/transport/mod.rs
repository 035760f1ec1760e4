//! For authors of transports.

pub mod conformance;
