//! Strict percent-encoding (RFC 3986, sections 2.1 and 6.2.2): one spelling for each byte string.

use super::EndpointError;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// RFC 3986 `unreserved`: never encoded in the normal form.
fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 `pchar` and `/`: what may stand bare in a path.
fn path_char(byte: u8) -> bool {
    unreserved(byte) || matches!(byte, b'/' | b':' | b'@') || sub_delim(byte)
}

fn sub_delim(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

fn push_encoded(out: &mut String, byte: u8) {
    out.push('%');
    for nibble in [byte >> 4, byte & 15] {
        out.push(char::from(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0')));
    }
}

/// The bytes of `raw`, each with a flag that says whether it was percent-encoded.
fn bytes(raw: &str, part: &'static str) -> Result<Vec<(u8, bool)>, EndpointError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push((byte, false));
            continue;
        }
        let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16));
        match (digit(), digit()) {
            // Both are below 16, so the sum fits.
            (Some(high), Some(low)) => out.push(((high * 16 + low) as u8, true)),
            _ => return Err(EndpointError::Encoding(part)),
        }
    }
    Ok(out)
}

/// The text behind a percent-encoding. Control characters and bad UTF-8 are refused.
pub(super) fn decode(raw: &str, part: &'static str) -> Result<String, EndpointError> {
    let plain = bytes(raw, part)?.into_iter().map(|(byte, _)| byte).collect();
    let text = String::from_utf8(plain).map_err(|_| EndpointError::Encoding(part))?;
    if text.chars().any(char::is_control) {
        return Err(EndpointError::Encoding(part));
    }
    Ok(text)
}

/// Encodes everything but unreserved characters: for user, password and option values.
pub(super) fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if unreserved(byte) {
            out.push(char::from(byte));
        } else {
            push_encoded(out, byte);
        }
    }
}

/// Brings a path into its one normal spelling, without changing what it means.
pub(super) fn normalise_path(raw: &str) -> Result<String, EndpointError> {
    // Refuses control characters and bad UTF-8, however they are written.
    decode(raw, "path")?;
    let mut out = String::with_capacity(raw.len());
    for (byte, encoded) in bytes(raw, "path")? {
        match (encoded, byte) {
            (true, byte) if unreserved(byte) => out.push(char::from(byte)),
            (true, byte) => push_encoded(&mut out, byte),
            (false, byte) if path_char(byte) => out.push(char::from(byte)),
            (false, byte) if !byte.is_ascii() => push_encoded(&mut out, byte),
            (false, _) => return Err(EndpointError::Character("path")),
        }
    }
    if out.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(EndpointError::Path("the segments . and .. are not allowed"));
    }
    Ok(out)
}

/// Whether a byte may stand bare in user, password or option value.
pub(super) fn bare_text(byte: u8) -> bool {
    unreserved(byte)
        || sub_delim(byte)
        || !byte.is_ascii()
        || matches!(byte, b'%' | b':' | b'/' | b'@' | b'?')
}
