//! Cover traffic (spec, chapter "Cover traffic"): when the policy of a contact says so, what is sent to it leaves at moments
//! that are drawn, and something leaves at each; and packets go in loops through chains.
//!
//! `plan` keeps the moments in the store, `driver` waits for them, `moment` sends at one, `looped` sends a loop.

mod driver;
mod looped;
mod moment;
mod plan;

pub(crate) use driver::Running;
pub(crate) use moment::{at_moments, for_a_moment, loops_count, stands_still};
pub(crate) use plan::{COVER, LOOPED, LOOPS, PLANS, loops_of, plan};
