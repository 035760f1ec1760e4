#![doc = include_str!("../README.md")]

pub mod client_store;
pub mod mailbox_store;
pub mod transport;
