//! Text to [`Endpoint`]: one strict grammar for every scheme.
//!
//! A general URL parser treats "special" schemes in one way and ours in another: it keeps the host's case,
//! leaves IPv4 literals as names, drops tabs and turns backslashes round. Here every scheme gets the same
//! treatment, and what is not in the grammar is an error. Only the host goes through `url`, for its IDNA and its
//! reading of the odd spellings of IPv4 addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use zeroize::Zeroizing;

use super::{Credentials, Endpoint, EndpointError, Host, MAX_URL, default_port, percent};

/// Schemes that name a place in the local file system: what looks like a host is the path's first segment.
const PATH_SCHEMES: [&str; 2] = ["serial", "file"];
/// Schemes that make no sense without a host.
const HOST_SCHEMES: [&str; 6] = ["http", "https", "mqtt", "mqtts", "udp", "memory"];

const MAX_SCHEME: usize = 32;
const MAX_HOST: usize = 253;

pub(super) fn endpoint(text: &str) -> Result<Endpoint, EndpointError> {
    if text.len() > MAX_URL {
        return Err(EndpointError::TooLong);
    }
    let (scheme, rest) = text.split_once("://").ok_or(EndpointError::Syntax)?;
    let scheme = self::scheme(scheme)?;
    if rest.contains('#') {
        return Err(EndpointError::Fragment);
    }
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let options = query.map(options).transpose()?.unwrap_or_default();
    let endpoint = if PATH_SCHEMES.contains(&scheme.as_str()) {
        local(scheme, authority, path, options)?
    } else {
        remote(scheme, authority, path, options)?
    };
    // Encoding can make the normal form longer than what came in; it has to parse again.
    if endpoint.expose().len() > MAX_URL {
        return Err(EndpointError::TooLong);
    }
    Ok(endpoint)
}

fn scheme(raw: &str) -> Result<String, EndpointError> {
    let mut bytes = raw.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic());
    let others = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !first || !others || raw.len() > MAX_SCHEME {
        return Err(EndpointError::Syntax);
    }
    Ok(raw.to_ascii_lowercase())
}

/// A place in the file system: `serial://dev/ttyS0` and `serial:///dev/ttyS0` are the same.
fn local(
    scheme: String,
    authority: &str,
    path: &str,
    options: BTreeMap<String, String>,
) -> Result<Endpoint, EndpointError> {
    if authority.contains('@') {
        return Err(EndpointError::Credentials("this scheme has none"));
    }
    if authority.contains(':') {
        return Err(EndpointError::Port("this scheme has none"));
    }
    let joined = if authority.is_empty() { path.to_owned() } else { format!("/{authority}{path}") };
    let path = percent::normalise_path(&joined)?;
    if path.is_empty() || path == "/" {
        return Err(EndpointError::Path("name the file or device, as in serial:///dev/ttyS0"));
    }
    Ok(Endpoint { scheme, credentials: None, host: None, port: None, path, options, server: None })
}

fn remote(
    scheme: String,
    authority: &str,
    path: &str,
    options: BTreeMap<String, String>,
) -> Result<Endpoint, EndpointError> {
    let (userinfo, hostport) = match authority.split_once('@') {
        Some((userinfo, hostport)) => (Some(userinfo), hostport),
        None => (None, authority),
    };
    if hostport.contains('@') {
        return Err(EndpointError::Credentials("more than one @; write an @ inside it as %40"));
    }
    let credentials = userinfo.map(credentials).transpose()?;
    let (host, port) = match hostport.strip_prefix('[') {
        Some(rest) => {
            let (literal, port) = rest.split_once(']').ok_or(EndpointError::Host("a ] is missing"))?;
            let address = literal.parse().map_err(|_| EndpointError::Host("not an IPv6 address"))?;
            (Some(Host::from_ip(IpAddr::V6(address))), port)
        }
        None => {
            let at = hostport.find(':').unwrap_or(hostport.len());
            let (name, port) = hostport.split_at(at);
            (host(name)?, port)
        }
    };
    let port = self::port(port)?.filter(|port| Some(*port) != default_port(&scheme));
    if host.is_none() && (credentials.is_some() || port.is_some() || HOST_SCHEMES.contains(&scheme.as_str()))
    {
        return Err(EndpointError::Host("it is missing"));
    }
    let mut path = percent::normalise_path(path)?;
    if path.is_empty() {
        if host.is_none() {
            return Err(EndpointError::Host("it is missing"));
        }
        path.push('/');
    }
    Ok(Endpoint { scheme, credentials, host, port, path, options, server: None })
}

fn host(raw: &str) -> Result<Option<Host>, EndpointError> {
    if raw.is_empty() {
        return Ok(None);
    }
    if raw.bytes().any(|b| b == b'\\' || b == b'[' || b == b']' || b.is_ascii_control() || b == b' ') {
        return Err(EndpointError::Character("host"));
    }
    let parsed = url::Host::parse(raw)
        .map_err(|_| EndpointError::Host("neither a name nor an IPv4 address; IPv6 stands in [ ]"))?;
    Ok(Some(match parsed {
        url::Host::Domain(name) if name.is_empty() || name.len() > MAX_HOST => {
            return Err(EndpointError::Host("a name has 1 to 253 bytes"));
        }
        url::Host::Domain(name) => Host::Name(name),
        url::Host::Ipv4(address) => Host::from_ip(IpAddr::V4(address)),
        url::Host::Ipv6(address) => Host::from_ip(IpAddr::V6(address)),
    }))
}

/// `raw` is empty or starts with a colon.
fn port(raw: &str) -> Result<Option<u16>, EndpointError> {
    let Some(digits) = raw.strip_prefix(':') else {
        return if raw.is_empty() { Ok(None) } else { Err(EndpointError::Host("text after the ]")) };
    };
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(EndpointError::Port("a number from 0 to 65535 stands after the colon"));
    }
    digits.parse().map(Some).map_err(|_| EndpointError::Port("the largest is 65535"))
}

fn credentials(raw: &str) -> Result<Credentials, EndpointError> {
    if !raw.bytes().all(percent::bare_text) {
        return Err(EndpointError::Character("user:password@ part"));
    }
    let (user, password) = match raw.split_once(':') {
        Some((_, password)) if password.contains(':') => {
            return Err(EndpointError::Credentials("more than one colon; write a colon inside it as %3A"));
        }
        Some((user, password)) => (user, Some(password)),
        None => (raw, None),
    };
    let part = "user:password@ part";
    let user = percent::decode(user, part)?;
    let password = password.map(|text| percent::decode(text, part)).transpose()?.map(Zeroizing::new);
    if user.is_empty() && password.as_ref().is_none_or(|text| text.is_empty()) {
        return Err(EndpointError::Credentials("it is empty"));
    }
    Ok(Credentials { user, password })
}

fn options(raw: &str) -> Result<BTreeMap<String, String>, EndpointError> {
    let mut all = BTreeMap::new();
    for item in raw.split('&') {
        let (key, value) = item.split_once('=').ok_or(EndpointError::Options)?;
        let well_formed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        if key.is_empty() || !key.bytes().all(well_formed) {
            return Err(EndpointError::Options);
        }
        if !value.bytes().all(percent::bare_text) {
            return Err(EndpointError::Character("options"));
        }
        let value = percent::decode(value, "options")?;
        if all.insert(key.to_owned(), value).is_some() {
            return Err(EndpointError::DuplicateOption(key.to_owned()));
        }
    }
    Ok(all)
}
