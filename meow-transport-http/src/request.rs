//! Requests on the wire: a head that is the same for all requests to one endpoint but for the length, then frames.

use std::io::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::BytesMut;
use http::HeaderValue;
use http::uri::PathAndQuery;
use meow_core::transport::{Credentials, Endpoint};
use zeroize::Zeroizing;

use crate::error::HttpError;
use crate::framing::{Encoder, Limits};

/// The end of a head: the digits of the largest length, and an empty line.
const LENGTH: usize = 20 + 4;

/// What every request to one endpoint says beside its frames.
pub(crate) struct Target {
    /// The head up to where the length is stated.
    head: Zeroizing<Vec<u8>>,
}

impl Target {
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, HttpError> {
        let path = PathAndQuery::try_from(endpoint.path())
            .map_err(|_| HttpError::Endpoint("the path cannot be sent"))?;
        let host = HeaderValue::try_from(endpoint.authority())
            .map_err(|_| HttpError::Endpoint("the host cannot be sent"))?;
        let login = endpoint.credentials().map(basic).unwrap_or_default();
        let head: [&[u8]; 7] = [
            b"POST ",
            path.as_str().as_bytes(),
            b" HTTP/1.1\r\nhost: ",
            host.as_bytes(),
            b"\r\ncontent-type: application/octet-stream\r\n",
            &login,
            b"content-length: ",
        ];
        Ok(Self { head: Zeroizing::new(head.concat()) })
    }

    /// Begins a request: a body for frames, behind room for the head.
    pub(crate) fn begin(&self, mut buffer: BytesMut, limits: Limits) -> Encoder {
        buffer.resize(self.head.len() + LENGTH, 0);
        Encoder::behind(buffer, limits)
    }

    /// The request to send, and where it begins in its buffer: the head stands right before the body.
    pub(crate) fn finish(&self, encoder: Encoder) -> (BytesMut, usize) {
        let mut buffer = encoder.into_buffer();
        let body = self.head.len() + LENGTH;
        let length = buffer.len() - body;
        let digits = length.checked_ilog10().unwrap_or(0) as usize + 1;
        let start = LENGTH - digits - 4;
        buffer[start..][..self.head.len()].copy_from_slice(&self.head);
        // Cannot fail: the room was measured.
        let _ = write!(&mut buffer[start + self.head.len()..body], "{length}\r\n\r\n");
        (buffer, start)
    }
}

/// The line that names a user and password.
fn basic(credentials: &Credentials) -> Zeroizing<Vec<u8>> {
    let password = credentials.password().unwrap_or_default();
    let pair = Zeroizing::new(format!("{}:{password}", credentials.user()));
    Zeroizing::new(
        format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode(pair.as_bytes())).into_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str, frame: &[u8]) -> String {
        let target = Target::new(&url.parse().unwrap()).unwrap();
        let mut encoder = target.begin(BytesMut::new(), Limits::default());
        if !frame.is_empty() {
            encoder.push(frame).unwrap();
        }
        let (buffer, start) = target.finish(encoder);
        String::from_utf8_lossy(&buffer[start..]).into_owned()
    }

    #[test]
    fn the_request_of_the_spec() {
        let text = "POST /a/b HTTP/1.1\r\nhost: relay.example:81\r\n\
            content-type: application/octet-stream\r\ncontent-length: 7\r\n\r\n\0\0\0\u{3}abc";
        assert_eq!(request("http://relay.example:81/a/b", b"abc"), text);
        let text = "POST / HTTP/1.1\r\nhost: relay.example\r\ncontent-type: application/octet-stream\r\n\
            authorization: Basic am9lOnMzY3JldA==\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(request("http://joe:s3cret@relay.example/", b""), text);
    }

    #[test]
    fn lengths_of_any_number_of_digits() {
        for length in [1, 5, 6, 95, 96, 995, 996, 9_995, 9_996, 33_000] {
            let text = request("http://x/", &vec![b'a'; length]);
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with("POST / ") && head.ends_with(&format!("length: {}", length + 4)),
                "{head}"
            );
            assert!(body.ends_with(&"a".repeat(length)), "{length}");
        }
    }
}
