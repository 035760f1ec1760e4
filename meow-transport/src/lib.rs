#![doc = include_str!("../README.md")]

mod fault;
mod memory;
mod registry;
mod retry;
mod timeout;

pub use fault::{FaultInjection, Faults};
pub use memory::Memory;
pub use registry::Transports;
pub use retry::WithRetry;
pub use timeout::WithTimeout;
