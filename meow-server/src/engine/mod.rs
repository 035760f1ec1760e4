//! The machinery below the services: the one writer, the held pulls, the rates.

mod held;
mod hops;
mod writer;

pub(crate) use held::{Held, HeldPulls, Place};
pub(crate) use hops::{Hop, Hops, key as source_key};
pub(crate) use writer::{WriteError, Writer};
