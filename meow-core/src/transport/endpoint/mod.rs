//! Where a link goes: a parsed and normalised URL (docs/spec/endpoint.md).

mod error;
mod options;
mod parse;
mod percent;
#[cfg(test)]
mod tests;

pub use error::EndpointError;
pub use options::Options;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Longest URL in bytes, both as written and in the normal form.
pub const MAX_URL: usize = 2048;

/// The port that a scheme means when the URL names none.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "mqtt" => Some(1883),
        "mqtts" => Some(8883),
        _ => None,
    }
}

/// The host of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name in lower case, international ones in their `xn--` form.
    Name(String),
    /// An address. An IPv4 address mapped into IPv6 is held as the IPv4 address that it is.
    Ip(IpAddr),
}

impl Host {
    fn from_ip(address: IpAddr) -> Self {
        Self::Ip(address.to_canonical())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// The user and password of an endpoint, percent-decoded. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: Option<Zeroizing<String>>,
}

impl Credentials {
    /// The user; may be empty.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password, if the URL had a colon after the user.
    pub fn password(&self) -> Option<&str> {
        self.password.as_ref().map(|text| text.as_str())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// A parsed endpoint URL in its normal form: equal endpoints are equal here, however they were written.
///
/// The host is in lower case and addresses are recognised for every scheme, a port that the scheme means anyway
/// is left out, options are sorted, percent-encodings are spelled in one way. `serial://dev/ttyS0` and
/// `serial:///dev/ttyS0` are the same device.
///
/// `Display` and `Debug` leave user and password out. [`expose`](Self::expose) and serde give the whole URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: String,
    credentials: Option<Credentials>,
    host: Option<Host>,
    /// `None` if it is the scheme's default.
    port: Option<u16>,
    /// Percent-encoded; starts with a slash.
    path: String,
    /// Percent-decoded.
    options: BTreeMap<String, String>,
    /// Not part of the URL.
    server: Option<[u8; 32]>,
}

impl Endpoint {
    /// The scheme, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host; none for schemes that name a place in the local file system.
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// The port that the URL names, or else the scheme's default, where it has one.
    pub fn port(&self) -> Option<u16> {
        self.port.or_else(|| default_port(&self.scheme))
    }

    /// Host and port as they stand in the URL, without credentials: `[::1]:8080`, `example.org`.
    pub fn authority(&self) -> String {
        match (&self.host, self.port) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_string(),
            (None, _) => String::new(),
        }
    }

    /// The path, percent-encoded, with its leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path, decoded, with its leading slash.
    pub fn path_text(&self) -> Cow<'_, str> {
        if !self.path.contains('%') {
            return Cow::Borrowed(&self.path);
        }
        // What parsed decodes.
        percent::decode(&self.path, "path").map_or(Cow::Borrowed(&self.path), Cow::Owned)
    }

    /// The path of a device or file, decoded: `/dev/ttyS0`. None if the endpoint has a host.
    pub fn device_path(&self) -> Option<Cow<'_, str>> {
        if self.host.is_some() {
            return None;
        }
        Some(self.path_text())
    }

    /// User and password, if the URL has them.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The options, to be taken one by one.
    pub fn options(&self) -> Options<'_> {
        Options::new(&self.scheme, &self.options)
    }

    /// The same endpoint at another port. Has no effect where there is no host.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        if self.host.is_some() {
            self.port = Some(port).filter(|port| Some(*port) != default_port(&self.scheme));
        }
        self
    }

    /// The same endpoint at another host. Has no effect where there is none.
    #[must_use]
    pub fn with_ip(mut self, address: IpAddr) -> Self {
        if self.host.is_some() {
            self.host = Some(Host::from_ip(address));
        }
        self
    }

    /// The same endpoint, dialled to reach the server of this Skp fingerprint. Transports whose links cannot be opened
    /// without it (mqtt) look here; the others leave the comparison to whoever dials. It is part of what endpoints are
    /// compared by, but not of the URL: neither shown nor stored.
    #[must_use]
    pub fn with_server(mut self, fingerprint: [u8; 32]) -> Self {
        self.server = Some(fingerprint);
        self
    }

    /// The fingerprint of the server that a link shall lead to, where the dialler has said so.
    pub fn server(&self) -> Option<&[u8; 32]> {
        self.server.as_ref()
    }

    /// The same endpoint without user and password: what may be handed to others.
    #[must_use]
    pub fn without_credentials(mut self) -> Self {
        self.credentials = None;
        self
    }

    /// The whole URL, user and password included: to store it, never to show it.
    pub fn expose(&self) -> Zeroizing<String> {
        // Room for the longest normal form, so that growing leaves no copies of the password behind.
        let mut out = Zeroizing::new(String::with_capacity(MAX_URL));
        self.write(&mut out, true);
        out
    }

    fn write(&self, out: &mut String, with_credentials: bool) {
        out.push_str(&self.scheme);
        out.push_str("://");
        if let Some(credentials) = self.credentials.as_ref().filter(|_| with_credentials) {
            percent::encode(&credentials.user, out);
            if let Some(password) = &credentials.password {
                out.push(':');
                percent::encode(password, out);
            }
            out.push('@');
        }
        out.push_str(&self.authority());
        out.push_str(&self.path);
        for (index, (key, value)) in self.options.iter().enumerate() {
            out.push(if index == 0 { '?' } else { '&' });
            out.push_str(key);
            out.push('=');
            percent::encode(value, out);
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        parse::endpoint(text)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = String::new();
        self.write(&mut shown, false);
        f.write_str(&shown)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The credentials stay out: equal endpoints still hash alike.
        (&self.scheme, &self.host, self.port, &self.path, &self.options).hash(state);
    }
}

/// Writes the whole URL, user and password included.
impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.expose())
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        text.parse().map_err(serde::de::Error::custom)
    }
}
