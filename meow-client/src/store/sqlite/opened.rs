//! Which stores this process has open.
//!
//! POSIX drops all locks that a process holds on a file when the process closes *any* descriptor of it.
//! SQLite locks the shared-memory file, and the look at an interrupted log (`journal`) opens and closes that
//! same file; so this is only done while no other handle of this process has the store open. One that does has
//! recovered the log already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use meow_core::Result;

use super::journal;
use crate::files::fault;

/// Handles by the store's real path. Locks belong to the process, so this does too.
static OPEN: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

/// One handle of this process. Must outlive the handle's connections.
#[derive(Debug)]
pub(super) struct Opened(PathBuf);

impl Opened {
    /// Counts a handle; the first one looks for damage in the log.
    pub(super) fn new(store: &Path) -> Result<Self> {
        let path = store.canonicalize().map_err(fault)?;
        let mut open = all();
        if !open.contains_key(&path) {
            journal::check(&path)?;
        }
        *open.entry(path.clone()).or_default() += 1;
        Ok(Self(path))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut open = all();
        if let Some(handles) = open.get_mut(&self.0) {
            *handles -= 1;
            if *handles == 0 {
                open.remove(&self.0);
            }
        }
    }
}

fn all() -> MutexGuard<'static, BTreeMap<PathBuf, usize>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}
