//! Cover traffic without I/O: when something leaves ([`Moments`]), whether loops come back ([`Loops`]), and at which
//! pauses ([`Pause`](crate::policy::Pause)). What leaves where nothing waits is for
//! [`Contact::cover`](crate::contact::Contact::cover) to say (spec, chapter "Cover traffic").

mod loops;
mod moments;

pub use loops::{Loops, Passed};
pub use moments::{Look, Moments};
