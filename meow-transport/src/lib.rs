#![doc = include_str!("../README.md")]

mod fault;
mod memory;
mod registry;
mod retry;
mod segmented;
mod timeout;

pub use fault::{FaultInjection, Faults};
pub use memory::Memory;
pub use registry::Transports;
pub use retry::WithRetry;
pub use segmented::Segmented;
pub use timeout::WithTimeout;
