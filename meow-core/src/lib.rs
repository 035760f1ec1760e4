#![doc = include_str!("../README.md")]

pub mod error;
pub mod transport;

pub use error::{Error, ErrorKind, Result, Retry};
