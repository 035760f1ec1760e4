//! The folder of one device: where its keys and its store lie, and who may look into it.
//!
//! | name | content |
//! |---|---|
//! | `home` | `meow home 1`: the layout's version |
//! | `keys.meow` | the key file (spec, chapter "Identity"); written last, so a folder that has it is complete |
//! | `store.db`, `store.db-*`, `store.db.*` | the store |
//! | `lock` | held while an identity is being made |
//! | `unfinished-N` | a store whose making was interrupted, moved out of the way |

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use meow_core::{Error, ErrorKind, Result};

use crate::files::{self, fault};

const VERSION: u32 = 1;
/// Longer than any key file.
const MAX_KEYS: u64 = 4096;

/// The folder of one device. Any number of processes may use it at once.
///
/// The folder belongs to its user alone (on Unix: owner and mode 0700); one that others can look into is
/// refused, not repaired.
#[derive(Debug)]
pub struct Home {
    directory: PathBuf,
    /// Held from the making of the store until the keys are saved.
    making: Mutex<Option<File>>,
}

impl Home {
    /// Names a folder. It need not exist, and nothing is touched before the first use.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), making: Mutex::new(None) }
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The bytes of the key file, `None` while there is no identity.
    ///
    /// # Errors
    /// `System` if it cannot be read or the folder is open to others, `NewerVersion` or `Damaged` for another
    /// layout than this program knows.
    pub fn load_keys(&self) -> Result<Option<Vec<u8>>> {
        if !files::exists(&self.directory)? {
            return Ok(None);
        }
        check_private(&self.directory)?;
        let keys = files::read_small(&self.keys(), MAX_KEYS)?;
        if keys.is_some() {
            self.check_version()?;
        }
        Ok(keys)
    }

    /// Replaces the key file, atomically and durably. The first call completes the making of an identity.
    ///
    /// # Errors
    /// `System` if it cannot be written: the old file is then still there.
    pub fn save_keys(&self, bytes: &[u8]) -> Result<()> {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if making.is_none() && !files::exists(&self.keys())? {
            *making = Some(self.begin()?);
        }
        check_private(&self.directory)?;
        files::write_atomically(&self.keys(), bytes)?;
        *making = None;
        Ok(())
    }

    /// Makes the folder and an empty store in it, for an identity whose keys are saved next. What an
    /// interrupted attempt left is moved to a folder `unfinished-N`.
    ///
    /// # Errors
    /// `AlreadyUsed` if there is an identity here, or another process is just making one; `System`.
    #[cfg(feature = "sqlite")]
    pub fn create_store(&self, key: &meow_core::crypto::Secret) -> Result<crate::store::SqliteClientStore> {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if making.is_none() {
            *making = Some(self.begin()?);
        }
        self.set_aside()?;
        crate::store::SqliteClientStore::create(&self.store(), key)
    }

    /// Opens the store of an identity.
    ///
    /// # Errors
    /// Those of [`SqliteClientStore::open`](crate::store::SqliteClientStore::open); a missing store beside a
    /// key file is `Damaged`.
    #[cfg(feature = "sqlite")]
    pub fn open_store(&self, key: &meow_core::crypto::Secret) -> Result<crate::store::SqliteClientStore> {
        check_private(&self.directory)?;
        self.check_version()?;
        crate::store::SqliteClientStore::open(&self.store(), key).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::new(
                ErrorKind::Damaged,
                "the file store.db is missing from the identity's folder: restore a backup",
            ),
            _ => e,
        })
    }

    fn keys(&self) -> PathBuf {
        self.directory.join("keys.meow")
    }

    #[cfg(feature = "sqlite")]
    fn store(&self) -> PathBuf {
        self.directory.join("store.db")
    }

    /// Takes an empty or half-made folder for a new identity. The lock is free again when the value goes.
    fn begin(&self) -> Result<File> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let missing: Vec<_> = self.directory.ancestors().take_while(|folder| !folder.exists()).collect();
        builder.create(&self.directory).map_err(fault)?;
        for folder in missing {
            files::sync_parent(folder)?;
        }
        if fs::read_dir(&self.directory).map_err(fault)?.next().is_none() {
            make_private(&self.directory)?;
        }
        check_private(&self.directory)?;

        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(self.directory.join("lock")).map_err(fault)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(
                    ErrorKind::AlreadyUsed,
                    "another program is just making an identity in this folder",
                ));
            }
            Err(TryLockError::Error(e)) => return Err(fault(e)),
        }
        if files::exists(&self.keys())? {
            return Err(Error::new(
                ErrorKind::AlreadyUsed,
                "there is an identity in this folder already: choose another folder for a second one",
            ));
        }
        files::write_atomically(&self.marker(), format!("meow home {VERSION}\n").as_bytes())?;
        Ok(lock)
    }

    /// Moves the store of an interrupted attempt away. It is not deleted: where the key file was lost later,
    /// it is somebody's store, which the 24 words still open.
    #[cfg(feature = "sqlite")]
    fn set_aside(&self) -> Result<()> {
        let mut rest = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            if entry.file_name().to_string_lossy().starts_with("store.db") {
                rest.push(entry);
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        let folder = (1_u32..)
            .map(|n| self.directory.join(format!("unfinished-{n}")))
            .find(|folder| !folder.exists())
            .ok_or_else(|| Error::new(ErrorKind::Limit, "there are too many unfinished stores here"))?;
        fs::create_dir(&folder).map_err(fault)?;
        for entry in rest {
            fs::rename(entry.path(), folder.join(entry.file_name())).map_err(fault)?;
        }
        files::sync_parent(&folder)
    }

    fn marker(&self) -> PathBuf {
        self.directory.join("home")
    }

    fn check_version(&self) -> Result<()> {
        let text = files::read_small(&self.marker(), 64)?.unwrap_or_default();
        let version = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.strip_prefix("meow home ")?.strip_suffix('\n')?.parse::<u32>().ok());
        match version {
            Some(VERSION) => Ok(()),
            Some(newer) if newer > VERSION => Err(Error::new(
                ErrorKind::NewerVersion,
                "this folder was made by a newer version of this program: update it",
            )),
            _ => Err(Error::new(
                ErrorKind::Damaged,
                "the file `home` in the identity's folder is missing or damaged: restore it from a backup",
            )),
        }
    }
}

/// Refuses a folder of somebody else, root's use of a user's folder included: it would leave files that the
/// user cannot write.
#[cfg(unix)]
fn check_private(directory: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let about = fs::metadata(directory).map_err(fault)?;
    if about.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::new(
            ErrorKind::System,
            "the identity's folder belongs to another user: work as that user, or choose another folder",
        ));
    }
    if about.mode() & 0o077 != 0 {
        return Err(Error::new(
            ErrorKind::System,
            "other users of this machine can look into the identity's folder: run `chmod 700` on it",
        ));
    }
    Ok(())
}

#[cfg(unix)]
fn make_private(directory: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(fault)
}

/// Elsewhere the user's profile folder keeps others out.
#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn make_private(_: &Path) -> Result<()> {
    Ok(())
}
