#![doc = include_str!("../README.md")]

pub mod crypto;
pub mod error;
pub mod request;
pub mod store;
pub mod transport;
pub mod wire;

pub use error::{Error, ErrorKind, Result, Retry};
