//! How a command ends: exit codes, and errors on standard error.

use std::io::{self, Write};
use std::process::ExitCode;

use meow::{Endpoint, Error, ErrorKind};
use serde::Serialize;

use crate::text::one_line;

/// The exit codes. They are part of the interface: see `docs/guide/cli.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed in another way than those below.
    Failed = 1,
    /// Wrong usage; nothing was done.
    Usage = 2,
    /// Safe in the queue, but not (yet) as far as was asked for.
    Queued = 3,
    /// The password opens nothing here.
    WrongSecret = 4,
    /// No such identity, contact, message, server or file.
    NotFound = 5,
    /// A server cannot be reached.
    Unreachable = 6,
    /// Refused: by a server, by a limit, or because a card or a name is used up.
    Refused = 7,
    /// Data that is damaged, or of a newer version: store, card, answer.
    Damaged = 8,
    /// Another server answers than the one asked for.
    WrongPeer = 9,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage | ErrorKind::UnknownScheme => Self::Usage,
            ErrorKind::WrongSecret => Self::WrongSecret,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Unreachable => Self::Unreachable,
            ErrorKind::WrongPeer => Self::WrongPeer,
            ErrorKind::Refused | ErrorKind::Limit | ErrorKind::Expired | ErrorKind::AlreadyUsed => {
                Self::Refused
            }
            ErrorKind::Malformed | ErrorKind::Damaged | ErrorKind::NewerVersion => Self::Damaged,
            _ => Self::Failed,
        }
    }
}

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something to tell the user.
    Error(Error),
    /// Nobody reads standard output any more, as after `meow log bob | head`.
    OutputClosed,
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Error(e)
    }
}

/// An error on standard error, with `--json`.
#[derive(Serialize)]
struct ErrorRecord<'a> {
    error: &'static str,
    message: &'a str,
}

impl Failure {
    /// Tells the user, and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> Exit {
        match self {
            Self::Error(e) => {
                complain(e.kind(), &e.to_string(), json);
                e.kind().into()
            }
            Self::OutputClosed => Exit::Failed,
        }
    }
}

/// One line, or one object, on standard error.
pub(crate) fn complain(kind: ErrorKind, message: &str, json: bool) {
    let message = one_line(message);
    let line = if json {
        // A record of two strings always encodes.
        serde_json::to_string(&ErrorRecord { error: kind.name(), message: &message }).unwrap_or_default()
    } else {
        format!("meow: {message}")
    };
    // With standard error closed there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Something that the user is to know though it is no error, on standard error. For what has no place in a record's text: a
/// record in JSON has a field for it.
pub(crate) fn remark(message: &str) {
    // With standard error closed there is nobody left to tell.
    let _ = writeln!(io::stderr(), "meow: {}", one_line(message));
}

/// Where this device can be dialled, with `--json`.
#[derive(Serialize)]
struct ListeningRecord {
    listening: String,
}

/// Where this device can be dialled, on standard error: one line, or one object.
pub(crate) fn listening(at: &Endpoint, json: bool) {
    let record = ListeningRecord { listening: at.to_string() };
    if json {
        // A record of a string always encodes. With standard error closed there is nobody left to tell.
        let _ = writeln!(io::stderr(), "{}", serde_json::to_string(&record).unwrap_or_default());
    } else {
        remark(&format!("listening at {}", record.listening));
    }
}

/// An error of kind `System`: what failed, and the system's word for it.
pub(crate) fn system(what: &str, e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::System,
    };
    Error::new(kind, format!("{what}: {e}")).with_source(e)
}

/// An error of kind `Usage`.
pub(crate) fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}
