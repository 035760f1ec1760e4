#![doc = include_str!("../README.md")]

pub mod client_store;
pub mod mailbox_store;
#[cfg(feature = "mqtt")]
pub mod mqtt;
pub mod transport;
