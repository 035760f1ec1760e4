#![doc = include_str!("../README.md")]

pub mod crypto;
pub mod error;
pub mod transport;
pub mod wire;

pub use error::{Error, ErrorKind, Result, Retry};
