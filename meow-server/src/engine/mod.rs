//! The machinery below the services: the one writer, the held pulls, the rates and shares.

mod budget;
mod held;
mod hops;
mod source;
mod writer;

pub(crate) use budget::{Budget, Room};
pub(crate) use held::{Held, HeldPulls, Place};
pub(crate) use hops::{Hop, Hops, Share, Shares};
pub(crate) use source::Source;
pub(crate) use writer::{WriteError, Writer};
