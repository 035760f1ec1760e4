//! Where a link goes: a parsed and normalised URL.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// Why a URL is no endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The text is no URL at all.
    #[error("not a URL: {0}; write it like http://host:port or serial://dev/ttyS0")]
    Syntax(url::ParseError),
    /// The URL is well-formed but is not usable as an endpoint.
    #[error("{0}")]
    Unusable(&'static str),
}

/// A parsed endpoint URL. `Display` and `Debug` hide the user and password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    url: Url,
}

impl Endpoint {
    /// The scheme, in lower case.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// The parsed URL with everything in it, credentials too: for transports, never for logs.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(s: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(s).map_err(EndpointError::Syntax)?;
        Ok(Self { url })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.clone();
        // Fails only for URLs that cannot carry credentials at all.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        f.write_str(shown.as_str())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}
