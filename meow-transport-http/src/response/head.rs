//! The head of a response, and how it frames the body.

use std::mem::MaybeUninit;

use http::StatusCode;
use httparse::{Header, ParserConfig};

use super::{Next, ResponseError, syntax, within};
use crate::OCTETS;

/// Most header lines.
pub(super) const MAX_LINES: usize = 100;

/// What counts in the head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The final status, 200 to 999.
    pub status: StatusCode,
    /// `retry-after`, where it states seconds.
    pub retry_after: Option<u32>,
    /// Whether there is one content type, that of frames.
    pub octets: bool,
    /// Whether there is a content encoding, whatever it is.
    pub encoded: bool,
}

/// How a head says where its body ends.
#[derive(Default)]
pub(super) struct Framing {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    old: bool,
}

impl Framing {
    /// What follows the head, and whether the connection can be kept after that.
    pub(super) fn body(&self, status: StatusCode) -> Result<(Next, bool), ResponseError> {
        let keeps = !self.close && !self.old;
        match (self.length, self.chunked) {
            _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => {
                Ok((Next::Nothing, keeps))
            }
            (Some(_), true) => Err(ResponseError::Length),
            (None, true) if self.old => Err(ResponseError::Length),
            (None, true) => Ok((Next::ChunkLine, keeps)),
            (Some(0), false) => Ok((Next::Nothing, keeps)),
            (Some(length), false) => Ok((Next::Counted(length), keeps)),
            (None, false) => Ok((Next::Unbounded, false)),
        }
    }
}

/// One head at the beginning of these bytes: its length, what it says, and how it frames the body.
pub(super) fn parse(arrived: &[u8]) -> Result<Option<(usize, Head, Framing)>, ResponseError> {
    let mut lines = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_LINES];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, arrived, &mut lines)
        .map_err(syntax)?;
    let Some(used) = within(parsed, |used| *used, arrived)? else { return Ok(None) };
    let status =
        response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(ResponseError::Syntax)?;
    let mut head = Head { status, retry_after: None, octets: false, encoded: false };
    let mut framing = Framing { old: response.version != Some(1), ..Framing::default() };
    let mut typed = false;
    for Header { name, value } in response.headers.iter() {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            10 if is("connection") => {
                let mut words = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                framing.close |= words.any(|word| word.eq_ignore_ascii_case(b"close"));
            }
            11 if is("retry-after") => head.retry_after = number(value).and_then(|n| u32::try_from(n).ok()),
            12 if is("content-type") => {
                head.octets = !typed && *value == OCTETS.as_bytes();
                typed = true;
            }
            14 if is("content-length") => {
                let length = number(value).filter(|_| framing.length.is_none());
                framing.length = Some(length.ok_or(ResponseError::Length)?);
            }
            16 if is("content-encoding") => head.encoded = true,
            17 if is("transfer-encoding") => {
                if framing.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ResponseError::Length);
                }
                framing.chunked = true;
            }
            _ => {}
        }
    }
    Ok(Some((used, head, framing)))
}

/// Digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}
