//! Why a text is no usable endpoint.

use super::MAX_URL;

/// Why a text is no endpoint, or why a transport cannot use one.
///
/// No variant repeats the URL: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The text is no `scheme://...` URL.
    #[error("not a URL: write it like http://host:port or serial://dev/ttyS0")]
    Syntax,
    /// The text, or its normalised form, is longer than [`MAX_URL`] bytes.
    #[error("the URL is too long: at most {MAX_URL} bytes are allowed")]
    TooLong,
    /// A space, a control character or another character that a URL must not hold.
    #[error("the {0} of the URL holds a character that is not allowed there; percent-encode it")]
    Character(&'static str),
    /// A `%` that no two hexadecimal digits follow, or that hides a control character or bad UTF-8.
    #[error("the {0} of the URL holds a bad percent-encoding")]
    Encoding(&'static str),
    /// A `#fragment`: server references have one, endpoints have none.
    #[error("an endpoint has no #fragment; a server reference does")]
    Fragment,
    /// The `user:password@` part is empty, ambiguous or not allowed for this scheme.
    #[error("bad user:password@ part: {0}")]
    Credentials(&'static str),
    /// The host is missing or malformed.
    #[error("bad host: {0}")]
    Host(&'static str),
    /// The port is malformed, or stands where none can.
    #[error("bad port: {0}")]
    Port(&'static str),
    /// The path is malformed.
    #[error("bad path: {0}")]
    Path(&'static str),
    /// The `?options` part is no list of `key=value` joined by `&`.
    #[error("options are written ?key=value&key=value, keys in lower case")]
    Options,
    /// An option that stands more than once.
    #[error("option {0:?} stands more than once")]
    DuplicateOption(String),
    /// An option whose value does not parse.
    #[error("option {name:?}: {problem}")]
    OptionValue {
        /// The option's name.
        name: String,
        /// What is wrong with its value.
        problem: String,
    },
    /// An option that the transport does not know.
    #[error("unknown option {name:?} for {scheme}; known: {known}")]
    UnknownOption {
        /// The option's name.
        name: String,
        /// The endpoint's scheme.
        scheme: String,
        /// The options that the transport knows, joined by commas, or `none`.
        known: String,
    },
}
