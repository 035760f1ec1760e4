//! What this process knows of its sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::identity::ContactId;
use tokio::time::Instant;

use super::kept::of_contact;
use crate::server::Session;

/// How long a server that gave no session, or none that worked, is not asked for one; twice as long each time in a row.
const REST: Duration = Duration::from_secs(30);
/// A session that served so often was worth its opening.
const WORTH: u32 = 3;
/// The longest of these.
const LONGEST_REST: Duration = Duration::from_secs(60 * 60);

/// What this process knows of its sessions.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<Vec<u8>, Known>>);

#[derive(Default)]
pub(super) struct Known {
    /// Requests that went without a session.
    pub(super) asked: u32,
    /// The store was looked into.
    pub(super) looked: bool,
    pub(super) opening: bool,
    pub(super) session: Option<Arc<Session>>,
    /// How often this session or the one before served.
    served: u32,
    /// Openings and sessions in a row that were not worth it.
    failures: u32,
    rests_until: Option<Instant>,
}

impl Known {
    pub(super) fn served(&mut self) {
        self.served = self.served.saturating_add(1);
        if self.served >= WORTH {
            (self.failures, self.rests_until) = (0, None);
        }
    }

    /// The session is over. Servers forget, but one that does so all the time is asked less often.
    pub(super) fn ended(&mut self) {
        self.session = None;
        if std::mem::take(&mut self.served) < WORTH {
            self.failed();
        }
    }

    pub(super) fn failed(&mut self) {
        let rest = REST.saturating_mul(1 << self.failures.min(16)).min(LONGEST_REST);
        self.failures = self.failures.saturating_add(1);
        self.rests_until = Some(Instant::now() + rest);
    }

    pub(super) fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| until > Instant::now())
    }
}

impl Sessions {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Known>> {
        // Each entry is whole after every statement that holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the sessions for a contact.
    pub(crate) fn forget(&self, contact: &ContactId) {
        let prefix = of_contact(contact);
        self.lock().retain(|key, _| !key.starts_with(&prefix));
    }
}

/// Frees the place of an opening that ended, in whatever way.
pub(super) struct Opening<'a>(pub(super) &'a Sessions, pub(super) &'a [u8]);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if let Some(known) = self.0.lock().get_mut(self.1) {
            known.opening = false;
        }
    }
}
