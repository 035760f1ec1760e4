//! The device's keys at rest, and the short moments when the root is in memory.

use std::sync::Arc;

use meow_core::crypto::{PasswordCost, Random};
use meow_core::identity::{self, KeyFile, Root, Ukp};
use meow_core::{Error, ErrorKind, Result};

use crate::home::Home;
use crate::unlock::Unlock;

/// Where the key file is kept.
pub trait KeyStorage: Send + Sync + 'static {
    /// The bytes of the key file, or `None` before the first [`save`](Self::save).
    ///
    /// # Errors
    /// Kind `System` when it cannot be read.
    fn load(&self) -> Result<Option<Vec<u8>>>;

    /// Replaces the key file, atomically and durably.
    ///
    /// # Errors
    /// Kind `System` when it cannot be written; the old one is then still there.
    fn save(&self, bytes: &[u8]) -> Result<()>;
}

impl KeyStorage for Home {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        self.load_keys()
    }
    fn save(&self, bytes: &[u8]) -> Result<()> {
        self.save_keys(bytes)
    }
}

/// The key file behind its storage.
pub(crate) struct KeyVault {
    storage: Arc<dyn KeyStorage>,
}

impl KeyVault {
    pub(crate) fn new(storage: Arc<dyn KeyStorage>) -> Self {
        Self { storage }
    }

    pub(crate) fn exists(&self) -> Result<bool> {
        Ok(self.storage.load()?.is_some())
    }

    fn file(&self) -> Result<KeyFile> {
        let bytes = self.storage.load()?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no identity here yet; make one with `meow init`")
        })?;
        Ok(KeyFile::decode(&bytes)?)
    }

    /// Locks a new root and keeps it.
    pub(crate) fn create(
        &self,
        unlock: &Unlock,
        cost: PasswordCost,
        root: &Root,
        random: &mut dyn Random,
    ) -> Result<()> {
        let file = unlock.with(|lock| Ok(KeyFile::create(lock, cost, root, random)?))?;
        self.storage.save(&file.encode()?)
    }

    /// The user key, which opens everyday data.
    pub(crate) fn ukp(&self, unlock: &Unlock) -> Result<Ukp> {
        let file = self.file()?;
        unlock.with(|lock| Ok(file.unlock(lock)?.ukp()?))
    }

    /// The root, for one signature or a few: drop it at once.
    pub(crate) fn root(&self, unlock: &Unlock) -> Result<Root> {
        let file = self.file()?;
        unlock.with(|lock| Ok(file.unlock(lock)?.root()?))
    }

    /// Locks the same keys under something else.
    pub(crate) fn relock(
        &self,
        old: &Unlock,
        new: &Unlock,
        cost: PasswordCost,
        random: &mut dyn Random,
    ) -> Result<()> {
        let file = self.file()?;
        let locked = old.with(|old| new.with(|new| Ok(file.relock(old, new, cost, random)?)))?;
        self.storage.save(&locked.encode()?)
    }
}

impl Unlock {
    /// Lends the secret in the form that key files take.
    fn with<T>(&self, work: impl FnOnce(identity::Unlock<'_>) -> Result<T>) -> Result<T> {
        match self {
            Self::Password(p) => work(identity::Unlock::Password(p.as_bytes())),
            Self::Provider(p) => work(identity::Unlock::Key(&p.key()?)),
        }
    }
}
