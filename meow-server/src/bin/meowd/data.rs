//! The data folder: one relay at a time, its identity, its store, and the reference of its last start.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use meow_core::crypto::SystemRandom;
use meow_core::lane::ServerReference;
use meow_core::{Error, ErrorKind, Result};
use meow_server::ServerIdentity;
use meow_server::store::{SqliteMailboxStore, StoreOptions};

/// The folder where no other is named.
pub(crate) const DEFAULT: &str = "/var/lib/meowd";

const LOCK: &str = "meowd.lock";
const STORE: &str = "mail.db";
const TAGS: &str = "seen.tags";
const REFERENCE: &str = "reference";

/// A data folder.
pub(crate) struct Data {
    dir: PathBuf,
}

impl Data {
    pub(crate) fn at(dir: Option<PathBuf>) -> Self {
        Self { dir: dir.unwrap_or_else(|| DEFAULT.into()) }
    }

    /// Makes the folder if it is not there, for its owner only.
    pub(crate) fn create(&self) -> Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.dir).map_err(|e| {
            let text =
                format!("cannot make the data folder {}: choose another with --data", self.dir.display());
            Error::new(ErrorKind::System, text).with_source(e)
        })
    }

    /// Where the airtime of radios is kept: here, or where all programs keep it that share one.
    pub(crate) fn airtime(&self) -> PathBuf {
        let shared = std::env::var_os("MEOW_AIRTIME").filter(|folder| !folder.is_empty());
        shared.map_or_else(|| self.dir.join("airtime"), PathBuf::from)
    }

    /// Takes the folder for one relay, as long as the value lives.
    ///
    /// # Errors
    /// `AlreadyUsed` when another relay has it.
    pub(crate) fn lock(&self) -> Result<File> {
        let system = |e: io::Error| {
            let text = format!("cannot use the data folder {}: check its permissions", self.dir.display());
            Error::new(ErrorKind::System, text).with_source(e)
        };
        let file = private().truncate(false).open(self.dir.join(LOCK)).map_err(system)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                let text = format!(
                    "another meowd runs on the data folder {}: stop it first, or choose another folder with --data",
                    self.dir.display()
                );
                Err(Error::new(ErrorKind::AlreadyUsed, text))
            }
            Err(TryLockError::Error(e)) => Err(system(e)),
        }
    }

    /// Whether a relay runs on the folder now.
    pub(crate) fn in_use(&self) -> Result<bool> {
        match self.lock() {
            Ok(_) => Ok(false),
            Err(e) if e.kind() == ErrorKind::AlreadyUsed => Ok(true),
            Err(e) => Err(e),
        }
    }

    /// The identity, made on the first start.
    pub(crate) fn identity_or_new(&self) -> Result<ServerIdentity> {
        let fresh = !self.dir.join(STORE).exists();
        if fresh && self.dir.join(REFERENCE).exists() {
            tracing::warn!(
                "the mailbox store of this relay is gone, and an empty one is begun: its mail is lost"
            );
        }
        if fresh { ServerIdentity::open_or_create(&self.dir, &mut SystemRandom) } else { self.identity() }
    }

    /// The identity of a relay that was started before.
    pub(crate) fn identity(&self) -> Result<ServerIdentity> {
        ServerIdentity::open(&self.dir, &mut SystemRandom).map_err(|e| match e.kind() {
            ErrorKind::NotFound if self.dir.join(STORE).exists() => {
                let text =
                    "server.key is missing, but there is a store: put the key file back from your backup";
                Error::new(ErrorKind::Damaged, text)
            }
            ErrorKind::NotFound => {
                let text =
                    format!("no relay was ever started on {}: meowd run makes its key", self.dir.display());
                Error::new(ErrorKind::NotFound, text)
            }
            _ => e,
        })
    }

    /// Opens the store, and makes it where there is none.
    pub(crate) fn store(&self, identity: &ServerIdentity) -> Result<SqliteMailboxStore> {
        SqliteMailboxStore::open(&self.dir.join(STORE), &identity.store_key(), StoreOptions::default())
    }

    /// Opens the store for a command, also beside a relay that runs.
    pub(crate) fn store_beside(&self, identity: &ServerIdentity) -> Result<SqliteMailboxStore> {
        let path = self.dir.join(STORE);
        SqliteMailboxStore::open_beside(&path, &identity.store_key(), StoreOptions::default())
    }

    /// Notes the reference under which the relay was last started.
    pub(crate) fn note_reference(&self, reference: &ServerReference) -> Result<()> {
        let (path, fresh) = (self.dir.join(REFERENCE), self.dir.join("reference.new"));
        let write = || {
            let mut file = private().truncate(true).open(&fresh)?;
            writeln!(file, "{reference}")?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().map_err(|e| {
            Error::new(ErrorKind::System, "cannot write the file reference in the data folder").with_source(e)
        })
    }

    /// The reference of the last start, or `None` where there was none under this key.
    pub(crate) fn reference(&self, identity: &ServerIdentity) -> Result<Option<ServerReference>> {
        let text = match fs::read_to_string(self.dir.join(REFERENCE)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                let text = "cannot read the file reference in the data folder";
                return Err(Error::new(ErrorKind::System, text).with_source(e));
            }
        };
        let reference: ServerReference = text.parse().map_err(|e| {
            let text =
                "the file reference in the data folder is damaged: delete it and start the relay again";
            Error::new(ErrorKind::Damaged, text).with_source(e)
        })?;
        Ok(Some(reference).filter(|reference| reference.fingerprint == *identity.fingerprint()))
    }

    /// The file of onion packets that were seen.
    pub(crate) fn tags(&self) -> PathBuf {
        self.dir.join(TAGS)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// How files of the folder are made: for their owner only.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
