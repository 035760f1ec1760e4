//! The one error type that crosses crate boundaries.
//!
//! Modules keep narrow enums of their own; at the boundary they become an opaque [`Error`] with a
//! [`kind`](Error::kind), a [`retry`](Error::retry) hint and a source. No error text holds keys, peers,
//! passwords or the user part of a URL.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong, as far as a caller can act on it.
///
/// Each kind's doc states the usual cause and the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument, option, URL or command is malformed. Remedy: correct it; nothing was changed.
    Usage,
    /// A URL scheme that no registered transport serves. Remedy: use a listed scheme or enable its feature.
    UnknownScheme,
    /// The other side cannot be reached. Remedy: check the network and the address; try again later.
    Unreachable,
    /// The other side proved another identity than the one asked for. Remedy: check the server reference;
    /// do not go on.
    WrongPeer,
    /// The other side answered, and refused: no right, bad token, not invited. Remedy: ask its operator.
    Refused,
    /// A limit is reached: full mailbox, frame too large, too many requests. Remedy: wait, or send less.
    Limit,
    /// The password, words or key do not open this. Remedy: try another; nothing was changed.
    WrongSecret,
    /// Bytes that do not decode, verify or decrypt. Remedy: get them again from their source.
    Malformed,
    /// A card, key or invitation that is past its time. Remedy: ask for a new one.
    Expired,
    /// Something single-use that was used before, or a name that is taken. Remedy: ask for a new one, or
    /// choose another name.
    AlreadyUsed,
    /// No such contact, server, message or file. Remedy: list what exists.
    NotFound,
    /// Stored data is damaged. Remedy: restore a backup; the damaged file is left as it is.
    Damaged,
    /// Stored data, or a peer, is of a newer version. Remedy: update this program.
    NewerVersion,
    /// The other side's clock, or this one, is off. Remedy: set the clock.
    Clock,
    /// The operating system failed us: disk full, no permission, no randomness. Remedy: see the source.
    System,
    /// A defect in this program. Remedy: report it.
    Bug,
}

impl ErrorKind {
    /// A short fixed name, for logs, JSON and exit codes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::UnknownScheme => "unknown_scheme",
            Self::Unreachable => "unreachable",
            Self::WrongPeer => "wrong_peer",
            Self::Refused => "refused",
            Self::Limit => "limit",
            Self::WrongSecret => "wrong_secret",
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::AlreadyUsed => "already_used",
            Self::NotFound => "not_found",
            Self::Damaged => "damaged",
            Self::NewerVersion => "newer_version",
            Self::Clock => "clock",
            Self::System => "system",
            Self::Bug => "bug",
        }
    }
}

/// Whether trying the same thing again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same call will fail again.
    Never,
    /// The same call may work at once (a lost connection, a changed key).
    Now,
    /// The same call may work after about so many seconds.
    After(u32),
}

/// The opaque error at every crate boundary of Meow.
pub struct Error {
    kind: ErrorKind,
    retry: Retry,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Shorthand for results with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind. The message says what happened and what to do, in one sentence, without
    /// secrets. Retry starts from the kind's usual value.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::Unreachable => Retry::After(5),
            ErrorKind::Limit => Retry::After(60),
            _ => Retry::Never,
        };
        Self { kind, retry, message: message.into(), source: None }
    }

    /// The same error with its cause attached.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error with another retry hint.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// What went wrong, as far as a caller can act on it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        self.retry
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| &**s as &(dyn StdError + 'static))
    }
}
