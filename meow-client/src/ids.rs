//! Names for messages inside one client.

use std::fmt;
use std::str::FromStr;

use meow_core::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

/// A message in this client's log, in either direction. Shown as `m17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId(pub u64);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.0)
    }
}

impl FromStr for MessageId {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self, Error> {
        s.strip_prefix('m').and_then(|n| n.parse().ok()).map(Self).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "a message id looks like m17; `meow log NAME` lists them")
        })
    }
}
