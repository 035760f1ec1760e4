//! From SQLite's result codes to our error kinds.

use meow_core::{Error, ErrorKind, Retry};
use rusqlite::ErrorCode;

/// What SQLite answered. Only codes and SQLite's own fixed text for them: its messages may quote a statement,
/// and with it a key or a search.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreFault {
    #[error("SQLite: {text} (code {code})", text = rusqlite::ffi::code_to_str(*code))]
    Code { code: i32 },
    #[error("a row has another shape than the schema says")]
    Shape,
    #[error("the database library was called wrongly")]
    Call,
}

/// The public error for a failed call.
pub(super) fn fault(e: rusqlite::Error) -> Error {
    let code = match e {
        rusqlite::Error::SqliteFailure(code, _) | rusqlite::Error::SqlInputError { error: code, .. } => code,
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows => return damaged().with_source(StoreFault::Shape),
        _ => {
            return Error::new(ErrorKind::Bug, "the store failed in a way that nobody thought of")
                .with_source(StoreFault::Call);
        }
    };
    use ErrorCode as C;
    match code.code {
        C::NotADatabase | C::DatabaseCorrupt => damaged(),
        // SQLCipher reports a page that does not verify as the unspecific error.
        C::Unknown if code.extended_code == rusqlite::ffi::SQLITE_ERROR => damaged(),
        C::DatabaseBusy | C::DatabaseLocked | C::FileLockingProtocolFailed => {
            Error::new(ErrorKind::System, "another process keeps the store busy: try again when it is done")
                .with_retry(Retry::After(1))
        }
        C::DiskFull => {
            Error::new(ErrorKind::System, "the disk is full: make room and try again; nothing was changed")
        }
        C::ReadOnly | C::CannotOpen | C::PermissionDenied => Error::new(
            ErrorKind::System,
            "the store's file or folder cannot be written: check its permissions and that the disk is not read-only",
        ),
        C::SystemIoFailure => Error::new(ErrorKind::System, "reading or writing the store's file failed"),
        C::OutOfMemory => Error::new(ErrorKind::System, "there is not enough memory for the store"),
        C::TooBig => Error::new(ErrorKind::Limit, "an entry is too large for the store"),
        _ => Error::new(ErrorKind::Bug, "the store failed in a way that nobody thought of"),
    }
    .with_source(StoreFault::Code { code: code.extended_code })
}

/// Bytes that do not hold.
pub(super) fn damaged() -> Error {
    Error::new(ErrorKind::Damaged, "the store is damaged: restore a backup; its files are left as they are")
}
