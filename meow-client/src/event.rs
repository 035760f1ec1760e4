//! What an application is told, in order, until it confirms.

use meow_core::delivery::Delivery;
use meow_core::message::Content;
use serde::{Deserialize, Serialize};

use crate::ids::MessageId;

/// Something that happened. Delivered again after a crash until confirmed with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one per event of this store.
    pub number: u64,
    /// When it happened here, in Unix milliseconds.
    pub at_ms: u64,
    /// The contact's name at that time.
    pub contact: String,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// A message arrived and is stored.
    Message {
        /// Where it stands in the log.
        id: MessageId,
        /// What it says.
        content: Content,
    },
    /// The contact took our card and said this with it. Unconfirmed: anybody who saw the card could have.
    Greeting(String),
    /// Keys are confirmed both ways: messages flow. Unverified until the safety code is compared.
    Established,
    /// A message of ours went up the ladder.
    Delivery {
        /// Which message.
        id: MessageId,
        /// Where it stands now.
        delivery: Delivery,
    },
    /// A message of ours does not get on.
    Stalled {
        /// Which message.
        id: MessageId,
        /// Why, and what to do.
        reason: String,
    },
    /// Messages of the contact are missing: these sequences, both ends included.
    Missing {
        /// The first one.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// A missing message has come after all.
    Found {
        /// Its sequence.
        seq: u64,
    },
    /// The contact reports having seen something else than what we sent: a server, or somebody with a copy
    /// of one side's keys, interferes.
    Fork,
    /// Something in the mailbox does not open with the keys of this contact.
    Unreadable,
    /// The keys with this contact are being made anew, since this store was older than its server
    /// remembers (a restored copy).
    RolledBack,
    /// The keys with this contact were made anew.
    Renewed,
    /// Messages to the contact are sealed in the thin form from now on, or no longer. As long as only thin ones pass between
    /// both, what protects them against a quantum computer is the handshake alone.
    Thin {
        /// Thin from now on.
        on: bool,
    },
    /// Our own server had lost our mailbox and opened it again. Keys are made anew, so that the contact sends again
    /// what was lost with it.
    MailboxReopened {
        /// Which server.
        server: String,
    },
    /// Our mailbox was closed, or its server does not take it again. Where a server of ours takes another, the
    /// contact is told of it.
    MailboxGone {
        /// Which server.
        server: String,
    },
    /// A server of ours stays silent, and another one has taken its place for this contact, who is told of it.
    MailboxMoved {
        /// The server that is silent.
        from: String,
        /// The one in its place.
        to: String,
    },
    /// A server of ours that keeps mail of this contact stays silent, and there is no other to take its place: add one. Said
    /// once for each silence.
    ServerSilent {
        /// Which server.
        server: String,
    },
    /// The contact had keys made anew four times within an hour: further wishes are answered as the hour passes. Messages
    /// to it wait meanwhile. It may be broken, or mean ill. Said once in a row of them.
    RenewalsHeld,
    /// So many loops in a row, packets to ourselves through chains of this contact's policy, did not come back: a server of
    /// the chains may drop what it gets. `explain_route` says how many were lost of those through each.
    LoopsLost {
        /// Lost since the last one that came back.
        in_a_row: u32,
    },
}
