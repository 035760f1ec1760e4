//! The kinds of request that services serve.

use meow_core::request::RequestKind;

/// A kind of request, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each kind is documented at its structure in meow_core::request")]
pub enum Kind {
    Register,
    Deposit,
    Pull,
    Acknowledge,
    Close,
    BlobPut,
    BlobGet,
    Present,
    PresenceGet,
    Knock,
}

impl Kind {
    /// The kind of a request; `None` for one that this version does not know.
    pub fn of(request: &RequestKind) -> Option<Self> {
        Some(match request {
            RequestKind::Register(_) => Self::Register,
            RequestKind::Deposit(_) => Self::Deposit,
            RequestKind::Pull(_) => Self::Pull,
            RequestKind::Acknowledge(_) => Self::Acknowledge,
            RequestKind::Close(_) => Self::Close,
            RequestKind::BlobPut(_) => Self::BlobPut,
            RequestKind::BlobGet(_) => Self::BlobGet,
            RequestKind::Present(_) => Self::Present,
            RequestKind::PresenceGet(_) => Self::PresenceGet,
            RequestKind::Knock(_) => Self::Knock,
            _ => return None,
        })
    }
}
