//! For authors of transports.

pub mod air;
pub mod conformance;
pub mod here;
#[cfg(unix)]
pub mod line;
pub mod medium;
pub mod names;
pub mod port;
