//! Ways to mailbox servers, as a contact's policy orders them: straight, or through a chain of other servers (spec,
//! chapter "Matriochka").
//!
//! `ways` are those that a policy allows, `passage` is one of them that it has to allow yet; `hops` is what the user says of
//! servers, `catalog` what servers say of themselves and of each other, `known` both together, `place` who may belong
//! together; `path` draws a chain, `chain` sends a request along one, `failed` remembers those that brought no answer,
//! `explain` tells the user, with what `cost`, `wire` and `day` reckon and `warn` finds weak; `round` goes along one and
//! back for its own sake.

mod catalog;
mod chain;
mod cost;
mod day;
mod explain;
mod failed;
mod hops;
mod known;
mod passage;
mod path;
mod place;
mod round;
mod warn;
mod ways;
mod wire;

pub(crate) use catalog::Directory;
pub(crate) use chain::longest_hold;
pub use cost::RouteCost;
pub use day::DayCost;
pub use explain::{HopShown, RouteReport};
pub use hops::{HopMarks, KnownHop};
pub(crate) use passage::Passage;
pub(crate) use path::below;
pub use warn::ChainWarning;
pub(crate) use ways::{Under, Ways, no_way};
