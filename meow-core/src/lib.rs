#![doc = include_str!("../README.md")]

pub mod card;
pub mod contact;
pub mod cover;
pub mod crypto;
pub mod delivery;
pub mod direct;
pub mod error;
pub mod identity;
pub mod lane;
pub mod message;
pub mod onion;
pub mod opening;
pub mod policy;
pub mod ratchet;
pub mod request;
pub mod segment;
pub mod session;
pub mod store;
pub mod transport;
pub mod wire;

pub use error::{Error, ErrorKind, Result, Retry};
