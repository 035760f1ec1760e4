//! The contact machine: everything between two people on one lane each, without I/O (spec, chapters "Opening"
//! and "Messages").
//!
//! A [`Contact`] is a value. Its methods take time and randomness, change it, and give an [`Output`]. The
//! driver makes the changed contact and the output durable together before it transmits anything; a retry sends
//! the same bytes. When that fails, it throws both away and the old contact is as good as before.

mod budget;
mod cover;
mod event;
mod lanes;
mod mode;
mod open;
mod receipts;
mod receive;
mod renew;
mod rotate;
mod send;
mod sequence;
mod state;
#[cfg(test)]
mod tests;

pub use event::{ContactError, ContactEvent, Outgoing, Output, Received, SendError};
pub use rotate::MailboxPlan;
pub use state::{Contact, Mailbox, Status};
