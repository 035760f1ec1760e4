//! An HTTP/1.1 response on the wire: its head, then its body piece by piece (docs/spec/transport-http.md).
//!
//! Pure code: no I/O, no clock. Stricter than HTTP wherever two readers could see different ends of the same response.

mod head;
#[cfg(test)]
mod tests;

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use httparse::Status;

use head::{MAX_LINES, parse};

pub use head::Head;

/// Most bytes of a head, of the line before a chunk, and of the trailers (16 KiB).
pub const MAX_HEAD: usize = 16 * 1024;
/// Longest line before a chunk that has no extension: 16 digits, CR LF.
const PLAIN_CHUNK_LINE: usize = 18;
/// Pieces of up to this many bytes are copied out of the buffer, which can then be used again.
const COPIED: usize = 4096;

/// Why bytes are no response that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// A head or trailers that do not parse.
    #[error("a line that is not HTTP")]
    Syntax,
    /// A head, a chunk's line or trailers over [`MAX_HEAD`] bytes or 100 lines, or as much in interim heads or chunk
    /// extensions together.
    #[error("a head longer than allowed")]
    HeadTooLong,
    /// The protocol was switched, which nobody asked for.
    #[error("a switch to another protocol")]
    Switch,
    /// A length that is stated twice or is no number, or a transfer encoding other than `chunked`.
    #[error("a length that can be read in two ways")]
    Length,
    /// A chunk that does not end where it says.
    #[error("a chunk of another length than it states")]
    Chunk,
    /// The connection ended before the response did.
    #[error("the connection ended before the response did")]
    Truncated,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Head,
    /// So many bytes, and then the end.
    Counted(u64),
    ChunkLine,
    /// So many bytes of a chunk.
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// Everything until the connection ends.
    Unbounded,
    Nothing,
}

/// Reads one response out of the bytes of a connection.
///
/// Ask for [`head`](Self::head) until it is there, then for [`piece`](Self::piece) until [`ended`](Self::ended); where
/// they have nothing, add bytes that arrived. Bytes after the response are left alone. Not to be used on after an error.
#[derive(Debug)]
pub struct Reader {
    next: Next,
    keeps: bool,
    /// How many bytes of interim heads and chunk extensions may still come: nothing else bounds them.
    idle_talk: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { next: Next::Head, keeps: false, idle_talk: MAX_HEAD }
    }
}

impl Reader {
    /// The head, once it is there. Interim responses (1xx) are passed over.
    ///
    /// # Errors
    /// `Syntax`, `HeadTooLong`, `Switch`, `Length`.
    pub fn head(&mut self, arrived: &mut BytesMut) -> Result<Option<Head>, ResponseError> {
        loop {
            let Some((used, head, framing)) = parse(arrived)? else { return Ok(None) };
            arrived.advance(used);
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(ResponseError::Switch);
            }
            if !head.status.is_informational() {
                (self.next, self.keeps) = framing.body(head.status)?;
                return Ok(Some(head));
            }
            self.bears(used)?;
        }
    }

    /// The next bytes of the body, or `None` if there are none for now or the body is over.
    ///
    /// # Errors
    /// `Syntax`, `HeadTooLong`, `Chunk`.
    pub fn piece(&mut self, arrived: &mut BytesMut) -> Result<Option<Bytes>, ResponseError> {
        loop {
            match self.next {
                Next::Head | Next::Nothing => return Ok(None),
                Next::Counted(0) => self.next = Next::Nothing,
                Next::Chunk(0) => self.next = Next::ChunkEnd,
                _ if arrived.is_empty() => return Ok(None),
                Next::Counted(left) => {
                    let piece = take(arrived, left);
                    self.next = match left - piece.len() as u64 {
                        0 => Next::Nothing,
                        left => Next::Counted(left),
                    };
                    return Ok(Some(piece));
                }
                Next::Chunk(left) => {
                    let piece = take(arrived, left);
                    self.next = Next::Chunk(left - piece.len() as u64);
                    return Ok(Some(piece));
                }
                Next::Unbounded => return Ok(Some(take(arrived, u64::MAX))),
                Next::ChunkLine => {
                    let parsed = httparse::parse_chunk_size(arrived).map_err(|_| ResponseError::Syntax)?;
                    let Some((used, size)) = within(parsed, |(used, _)| *used, arrived)? else {
                        return Ok(None);
                    };
                    // httparse reads a line without digits as zero, and lets extensions hold line ends.
                    let line = &arrived[..used - 2];
                    if !line.first().is_some_and(u8::is_ascii_hexdigit)
                        || line.iter().any(|b| matches!(b, b'\r' | b'\n'))
                    {
                        return Err(ResponseError::Syntax);
                    }
                    arrived.advance(used);
                    self.bears(used.saturating_sub(PLAIN_CHUNK_LINE))?;
                    self.next = if size == 0 { Next::Trailers } else { Next::Chunk(size) };
                }
                Next::ChunkEnd => {
                    let Some(end) = arrived.first_chunk::<2>() else { return Ok(None) };
                    if end != b"\r\n" {
                        return Err(ResponseError::Chunk);
                    }
                    arrived.advance(2);
                    self.next = Next::ChunkLine;
                }
                Next::Trailers => {
                    let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
                    let parsed = httparse::parse_headers(arrived, &mut lines).map_err(syntax)?;
                    let Some((used, _)) = within(parsed, |(used, _)| *used, arrived)? else {
                        return Ok(None);
                    };
                    arrived.advance(used);
                    self.next = Next::Nothing;
                }
            }
        }
    }

    /// Takes so many bytes off what may be said beside the response.
    fn bears(&mut self, bytes: usize) -> Result<(), ResponseError> {
        self.idle_talk = self.idle_talk.checked_sub(bytes).ok_or(ResponseError::HeadTooLong)?;
        Ok(())
    }

    /// Says that the connection has ended and everything that arrived was taken.
    ///
    /// # Errors
    /// `Truncated`, unless the response ends where its connection does.
    pub fn closed(&mut self) -> Result<(), ResponseError> {
        if !matches!(self.next, Next::Unbounded | Next::Nothing) {
            return Err(ResponseError::Truncated);
        }
        self.next = Next::Nothing;
        Ok(())
    }

    /// Whether the whole response was taken.
    pub fn ended(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }

    /// Whether the server lets the connection carry another exchange after this response.
    pub fn keeps(&self) -> bool {
        self.keeps
    }
}

/// Up to so many bytes from the front.
fn take(arrived: &mut BytesMut, most: u64) -> Bytes {
    let count = usize::try_from(most).unwrap_or(usize::MAX).min(arrived.len());
    if count > COPIED {
        return arrived.split_to(count).freeze();
    }
    let piece = Bytes::copy_from_slice(&arrived[..count]);
    arrived.advance(count);
    piece
}

/// What was parsed, once it is whole, unless it takes more bytes than allowed.
fn within<T>(parsed: Status<T>, used: fn(&T) -> usize, arrived: &[u8]) -> Result<Option<T>, ResponseError> {
    match parsed {
        Status::Complete(found) if used(&found) <= MAX_HEAD => Ok(Some(found)),
        Status::Partial if arrived.len() < MAX_HEAD => Ok(None),
        _ => Err(ResponseError::HeadTooLong),
    }
}

fn syntax(e: httparse::Error) -> ResponseError {
    match e {
        httparse::Error::TooManyHeaders => ResponseError::HeadTooLong,
        _ => ResponseError::Syntax,
    }
}
