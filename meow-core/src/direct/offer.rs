//! The offer to be reached directly.

use serde::{Deserialize, Serialize};

use crate::crypto::Secret;

/// What a contact says of being reached without a server. The newest one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectOffer {
    /// Opens the presence of the one who says it, and lets the other one dial; `None`: not any more.
    pub secret: Option<Secret>,
}
