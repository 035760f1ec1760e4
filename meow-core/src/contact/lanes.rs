//! Lane lists at rest.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::event::ContactError;
use crate::lane::{SignedLaneList, VerifiedLaneList};
use crate::wire::{Blob, Wire};

/// A verified lane list. Read back from the own store it stays in bytes until it is needed: to check its
/// signature at every load would cost more than the message that is loaded for.
#[derive(Clone)]
pub(super) enum Lanes {
    Verified(Box<VerifiedLaneList>),
    Stored(Stored),
}

/// The form in a store, which is sealed as a whole.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    epoch: u32,
    list: Blob<{ SignedLaneList::MAX }>,
}

impl Lanes {
    pub(super) fn epoch(&self) -> u32 {
        match self {
            Self::Verified(lanes) => lanes.list().epoch,
            Self::Stored(stored) => stored.epoch,
        }
    }

    /// The list.
    ///
    /// # Errors
    /// [`ContactError::Wire`], [`ContactError::Lanes`] for a damaged store.
    pub(super) fn verified(&self) -> Result<VerifiedLaneList, ContactError> {
        match self {
            Self::Verified(lanes) => Ok((**lanes).clone()),
            Self::Stored(stored) => Ok(SignedLaneList::from_wire(&stored.list)?.verify()?),
        }
    }
}

impl From<VerifiedLaneList> for Lanes {
    fn from(lanes: VerifiedLaneList) -> Self {
        Self::Verified(Box::new(lanes))
    }
}

impl Serialize for Lanes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        match self {
            Self::Stored(stored) => stored.serialize(s),
            Self::Verified(lanes) => {
                let bytes = lanes.signed().to_wire().map_err(S::Error::custom)?;
                let list = Blob::new(bytes).map_err(|_| S::Error::custom("too long"))?;
                Stored { epoch: lanes.list().epoch, list }.serialize(s)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Lanes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Stored::deserialize(d).map(Self::Stored)
    }
}
