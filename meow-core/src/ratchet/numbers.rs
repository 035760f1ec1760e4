//! Numbers of the message layer that a thin message leaves out.

use serde::{Deserialize, Serialize};

/// What numbers a message has in its conversation, beside its place in a chain. As long as every message of a
/// chain counts one further from the chain's first, a thin one does not carry them: both sides know them, and
/// they are part of its associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// The sender's sequence.
    pub seq: u64,
    /// The sender's lane-list epoch.
    pub epoch: u32,
}

impl Numbers {
    /// Those of message `n` of a chain whose first message has these.
    pub(super) fn at(self, n: u32) -> Option<Self> {
        Some(Self { seq: self.seq.checked_add(u64::from(n))?, ..self })
    }

    /// Those of the first message of a chain whose message `n` has these.
    pub(super) fn first(self, n: u32) -> Option<Self> {
        Some(Self { seq: self.seq.checked_sub(u64::from(n))?, ..self })
    }
}
