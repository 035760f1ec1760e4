//! For authors of transports.

pub mod conformance;
pub mod medium;
