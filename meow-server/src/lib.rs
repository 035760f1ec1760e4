//! The Meow relay as a library.
#![doc = include_str!("../README.md")]

pub mod store;
