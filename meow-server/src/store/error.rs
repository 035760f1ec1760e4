//! What can go wrong in the store, and what it means at the boundary.

use meow_core::{Error, ErrorKind, Retry};
use rusqlite::ErrorCode;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite or the file system below it.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A file operation beside SQLite (the copy before a migration).
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No page of the file opens with this key.
    #[error("no page of the file verifies under this key")]
    WrongKey,
    /// Some pages verify under this key and others do not.
    #[error("{bad} of {all} pages do not verify")]
    DamagedPages {
        /// Pages that do not verify.
        bad: u64,
        /// Pages in the file.
        all: u64,
    },
    /// A log beside the tables is not what was written.
    #[error("the log of the store is damaged")]
    DamagedLog,
    /// An item or a batch beyond what the file can hold.
    #[error("an item is too long")]
    TooLong,
    /// The source of randomness failed.
    #[error("the source of randomness failed")]
    NoRandomness,
    /// A row that this program would never write.
    #[error("a stored row does not hold: {0}")]
    BadRow(&'static str),
    /// The file is of a newer program.
    #[error("the file has version {found}, this program knows {known}")]
    Newer {
        /// The file's schema version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// Another process has the file open.
    #[error("another process uses the file")]
    InUse,
    /// The file system cannot hold a write-ahead log.
    #[error("the file system does not support a write-ahead log")]
    NoLog,
    /// A kind of write that this store does not know.
    #[error("unknown kind of write")]
    UnknownWrite,
    /// No reading connection was made.
    #[error("no reading connection")]
    NoReaders,
    /// The file is an encrypted database of something else.
    #[error("the file is not a mailbox store")]
    Foreign,
}

impl StoreError {
    /// Whether stored bytes did not hold.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(e) => Self::is_bad_page(e),
            Self::DamagedPages { .. } | Self::DamagedLog | Self::BadRow(_) => true,
            _ => false,
        }
    }

    /// SQLCipher hands a page whose MAC does not hold to SQLite as "out of memory", or as error 1 without a place
    /// in the SQL text. (A real lack of memory ends a Rust program elsewhere.)
    pub(super) fn is_bad_page(e: &rusqlite::Error) -> bool {
        use ErrorCode::{DatabaseCorrupt, NotADatabase, OutOfMemory};
        match e {
            rusqlite::Error::SqliteFailure(e, _) => {
                e.extended_code == 1 || matches!(e.code, DatabaseCorrupt | NotADatabase | OutOfMemory)
            }
            rusqlite::Error::IntegralValueOutOfRange(..) | rusqlite::Error::InvalidColumnType(..) => true,
            _ => false,
        }
    }
}

const IN_USE: &str = "the mailbox store is in use by another process: stop that one first";
const UNFORESEEN: &str = "the mailbox store failed in an unforeseen way: report it";
const DAMAGED: &str = "the mailbox store is damaged and was left as it is: stop the relay, keep a copy of the \
                       file, and restore a backup";

impl From<StoreError> for Error {
    fn from(e: StoreError) -> Self {
        let error = match &e {
            StoreError::Sqlite(inner) => of_sqlite(inner),
            StoreError::InUse => Error::new(ErrorKind::System, IN_USE).with_retry(Retry::After(10)),
            StoreError::NoLog => Error::new(
                ErrorKind::System,
                "the mailbox store needs a file system with locks and shared memory: choose a local disk",
            ),
            StoreError::UnknownWrite | StoreError::NoReaders | StoreError::TooLong => {
                Error::new(ErrorKind::Bug, UNFORESEEN)
            }
            StoreError::NoRandomness => Error::new(
                ErrorKind::System,
                "the system's source of randomness failed; nothing confirmed was lost",
            ),
            StoreError::Io(_) => Error::new(
                ErrorKind::System,
                "a file beside the mailbox store cannot be written; nothing confirmed was lost: check space and \
                 permissions",
            ),
            StoreError::WrongKey => Error::new(
                ErrorKind::WrongSecret,
                "the key does not open the mailbox store: use the key file that it was made with",
            ),
            StoreError::Foreign => {
                Error::new(ErrorKind::Usage, "the file is not a mailbox store: choose another path")
            }
            StoreError::DamagedPages { .. } | StoreError::DamagedLog | StoreError::BadRow(_) => {
                Error::new(ErrorKind::Damaged, DAMAGED)
            }
            StoreError::Newer { .. } => Error::new(
                ErrorKind::NewerVersion,
                "the mailbox store was written by a newer version of this program: update it, or put back the \
                 copy that was kept before the migration",
            ),
        };
        error.with_source(e)
    }
}

fn of_sqlite(e: &rusqlite::Error) -> Error {
    let system = |text: &str| Error::new(ErrorKind::System, text).with_retry(Retry::After(10));
    match e.sqlite_error_code() {
        _ if StoreError::is_bad_page(e) => Error::new(ErrorKind::Damaged, DAMAGED),
        Some(ErrorCode::DiskFull) => system(
            "the disk is full, or the store reached its size limit; nothing confirmed was lost: free space",
        ),
        Some(ErrorCode::SystemIoFailure) => {
            system("the disk failed to read or write; nothing confirmed was lost: check space and the device")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => system(
            "the mailbox store cannot be written: check permissions, and that the disk is not read-only",
        ),
        Some(ErrorCode::CannotOpen) => {
            system("the mailbox store cannot be opened: check that its folder exists and can be written")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => system(IN_USE),
        _ => Error::new(ErrorKind::Bug, UNFORESEEN),
    }
}
