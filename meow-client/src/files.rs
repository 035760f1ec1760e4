//! Small file operations that either happen whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use meow_core::{Error, ErrorKind, Result};

/// The public error for a failed file operation. The path is the caller's to name.
pub(crate) fn fault(e: io::Error) -> Error {
    let text = match e.kind() {
        io::ErrorKind::PermissionDenied => "a file or folder cannot be accessed: check its permissions",
        io::ErrorKind::ReadOnlyFilesystem => "the disk is read-only: choose another folder",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: make room and try again"
        }
        _ => "reading or writing a file failed",
    };
    Error::new(ErrorKind::System, text).with_source(e)
}

/// Whether something has this name. Unlike `Path::exists`, a folder that cannot be searched is an error.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(fault)
}

/// The length of a file in bytes, `None` if there is none.
#[cfg(feature = "sqlite")]
pub(crate) fn length(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(about) => Ok(Some(about.len())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(fault(e)),
    }
}

/// Makes an empty file that only its owner can read.
pub(crate) fn create_private(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(fault)
}

/// Removes a file; that there is none is fine.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(fault(e)),
        _ => Ok(()),
    }
}

/// Reads a file that has at most `max` bytes; `None` if there is none. A longer one gives its first `max + 1`.
pub(crate) fn read_small(path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fault(e)),
    };
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(fault)?;
    Ok(Some(bytes))
}

/// Replaces a file's content: whoever reads it, also after a crash, sees the old content or the new.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let unfinished = temporary(path);
    let written = create_private(&unfinished)
        .and_then(|mut file| file.write_all(content).map_err(fault))
        .and_then(|()| rename_durably(&unfinished, path));
    if written.is_err() {
        // The error that matters is the first one.
        let _ = remove_if_there(&unfinished);
    }
    written
}

/// Syncs a file and gives it its name, replacing what had it. Durable on return.
pub(crate) fn rename_durably(from: &Path, to: &Path) -> Result<()> {
    OpenOptions::new().write(true).open(from).and_then(|file| file.sync_all()).map_err(fault)?;
    fs::rename(from, to).map_err(fault)?;
    sync_parent(to)
}

/// Makes the names in a file's folder durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    // Windows has no such call; there a rename is durable with the file system's journal.
    #[cfg(unix)]
    {
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(fault)?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// A name beside the path that no other process or call uses.
fn temporary(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut name = std::ffi::OsString::from(path);
    name.push(format!(".tmp-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    name.into()
}
