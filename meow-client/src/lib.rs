#![doc = include_str!("../README.md")]

mod files;
pub mod home;
pub mod store;
