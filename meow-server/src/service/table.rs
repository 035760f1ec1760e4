//! Which service answers what, and for how much: the one table that every request passes.

use std::collections::HashMap;
use std::sync::Arc;

use meow_core::{Error, ErrorKind, Result};

use super::{DynService, Kind};

/// The admission table.
pub(crate) struct Table {
    by_kind: HashMap<Kind, Entry>,
}

pub(crate) struct Entry {
    pub(crate) price: u32,
    pub(crate) service: Arc<dyn DynService>,
}

impl Table {
    /// # Errors
    /// `Usage` when two services serve one kind.
    pub(crate) fn new(services: Vec<Arc<dyn DynService>>) -> Result<Self> {
        let mut by_kind = HashMap::new();
        for service in services {
            for offer in service.offers() {
                let entry = Entry { price: offer.price.max(1), service: Arc::clone(&service) };
                if by_kind.insert(offer.kind, entry).is_some() {
                    let text = format!("two services of this relay serve {:?}; leave one out", offer.kind);
                    return Err(Error::new(ErrorKind::Usage, text));
                }
            }
        }
        Ok(Self { by_kind })
    }

    pub(crate) fn entry(&self, kind: Kind) -> Option<&Entry> {
        self.by_kind.get(&kind)
    }
}
