#![doc = include_str!("../README.md")]

mod builder;
mod client;
mod clock;
mod contacts;
mod event;
mod fetch;
mod files;
pub mod home;
mod ids;
mod keys;
mod log;
mod mailbox;
mod outbox;
mod random;
mod receive;
mod records;
mod recover;
mod rotation;
mod run;
mod server;
mod servers;
pub mod store;
mod unlock;
mod upkeep;

pub use builder::{ClientBuilder, OpenStore, Words};
pub use client::Client;
pub use clock::{Clock, SystemClock};
pub use contacts::{ContactInfo, MAX_NAME, NewCard};
pub use event::{Event, EventKind};
pub use ids::MessageId;
pub use keys::KeyStorage;
pub use log::Message;
pub use meow_core::contact::Status;
pub use run::SyncReport;
pub use servers::OwnServer;
pub use unlock::{KeyProvider, Unlock};
