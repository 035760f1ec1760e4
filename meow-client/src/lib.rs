#![doc = include_str!("../README.md")]

mod files;
pub mod store;
