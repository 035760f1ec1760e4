//! The privacy policy of one contact: which ways a message may take, and what the contact learns.

use serde::{Deserialize, Serialize};

use crate::wire::List;

/// A way for messages to a contact. Ways that later parts bring are added here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Route {
    /// Straight to the contact's mailbox server, which sees this device's address.
    Server,
}

/// Whether messages carry a signature that a third party could check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authenticity {
    /// Each message is signed by the lane key.
    Signed,
    /// Authenticated by the ratchet alone, once the contact agrees: 64 bytes less, and no transferable proof.
    Deniable,
}

/// In which form messages are sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Thin when this device reaches the contact's servers over thin links only, whole otherwise.
    #[default]
    ByLink,
    /// Thin wherever it fits, for a contact that is itself behind a radio: the time of a text may be left out.
    Thin,
    /// Whole, whatever the links.
    Whole,
}

/// What the contact is told about its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    /// That they were decrypted here.
    pub decrypted: bool,
    /// That they were shown.
    pub read: bool,
}

/// The policy of one contact. Nothing is ever downgraded silently: where no route of the list works, the
/// message waits and the user is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Allowed ways, the preferred one first.
    pub routes: List<Route, 8>,
    /// Signed or deniable.
    pub authenticity: Authenticity,
    /// Receipts.
    pub receipts: Receipts,
    /// Thin or whole.
    pub form: Form,
}

impl Default for Policy {
    /// By server, signed, with receipts for decrypted messages and none for read ones, in the form that the links ask for.
    fn default() -> Self {
        Self {
            routes: List::take([Route::Server]),
            authenticity: Authenticity::Signed,
            receipts: Receipts { decrypted: true, read: false },
            form: Form::ByLink,
        }
    }
}
