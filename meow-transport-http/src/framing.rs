//! Frames in an HTTP body: each a 32-bit big-endian length, then that many bytes (docs/spec/transport-http.md).
//!
//! Pure code: no I/O, no clock. The decoder takes chunks as they come and hands out frames without copying
//! wherever a frame lies within one chunk.

use bytes::{Bytes, BytesMut};

/// Bytes before each frame.
pub const HEADER: usize = 4;

/// What one exchange may carry in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest frame in bytes (default 33,792: the largest sealed packet and 1 KiB of slack).
    pub max_frame: usize,
    /// Most frames in one body (default 1,024).
    pub max_frames: usize,
    /// Largest body in bytes, frame headers included (default 1 MiB).
    pub max_body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_frame: 32 * 1024 + 1024, max_frames: 1024, max_body: 1024 * 1024 }
    }
}

/// Why a body is no sequence of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// A frame of length zero.
    #[error("an empty frame")]
    Empty,
    /// A frame longer than allowed; nothing was allocated for it.
    #[error("a frame of {0} bytes, more than allowed")]
    FrameTooLong(u32),
    /// More frames than allowed.
    #[error("more frames than allowed")]
    TooManyFrames,
    /// A body longer than allowed.
    #[error("a body longer than allowed")]
    BodyTooLong,
    /// The body ended inside a frame.
    #[error("the body ends inside a frame")]
    Truncated,
}

/// Reads frames out of the chunks of a body.
///
/// Feed it with [`push`](Self::push), drain it with [`next_frame`](Self::next_frame), and say
/// [`end`](Self::end) when the body is over. Holds at most one unfinished frame beside the last chunk. After an
/// error it stays in error.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// Bytes not looked at yet.
    chunk: Bytes,
    /// The beginning of a frame that continues in the next chunk, header included.
    partial: BytesMut,
    frames: usize,
    body: usize,
    failed: Option<FramingError>,
}

impl Decoder {
    /// A decoder at the start of a body.
    pub fn new(limits: Limits) -> Self {
        Self { limits, chunk: Bytes::new(), partial: BytesMut::new(), frames: 0, body: 0, failed: None }
    }

    /// Takes the next chunk of the body.
    ///
    /// # Errors
    /// [`FramingError::BodyTooLong`] if the body outgrows its limit.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), FramingError> {
        self.check()?;
        self.body = self.body.saturating_add(chunk.len());
        if self.body > self.limits.max_body {
            return Err(self.fail(FramingError::BodyTooLong));
        }
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.chunk.len() + chunk.len());
            joined.extend_from_slice(&self.chunk);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
        Ok(())
    }

    /// The next whole frame, or `None` if it has not arrived yet.
    ///
    /// # Errors
    /// Any [`FramingError`] but `Truncated`. Lengths are checked before memory is taken.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FramingError> {
        self.check()?;
        if self.partial.is_empty() {
            let Some(header) = self.chunk.first_chunk::<HEADER>() else {
                self.keep_rest();
                return Ok(None);
            };
            let length = self.length(*header)?;
            if self.chunk.len() < HEADER + length {
                self.partial.reserve(HEADER + length);
                self.keep_rest();
                return Ok(None);
            }
            let mut frame = self.chunk.split_to(HEADER + length);
            self.frames += 1;
            return Ok(Some(frame.split_off(HEADER)));
        }
        self.fill_partial(HEADER);
        let Some(header) = self.partial.first_chunk::<HEADER>() else { return Ok(None) };
        let length = self.length(*header)?;
        self.partial.reserve((HEADER + length).saturating_sub(self.partial.len()));
        self.fill_partial(HEADER + length);
        if self.partial.len() < HEADER + length {
            return Ok(None);
        }
        self.frames += 1;
        Ok(Some(std::mem::take(&mut self.partial).freeze().split_off(HEADER)))
    }

    /// Whether everything that was pushed has been handed out, so that the body may end here.
    pub fn at_boundary(&self) -> bool {
        self.failed.is_none() && self.chunk.is_empty() && self.partial.is_empty()
    }

    /// Says that the body is over.
    ///
    /// # Errors
    /// [`FramingError::Truncated`] if it ends inside a frame, or the error met before.
    pub fn end(&mut self) -> Result<(), FramingError> {
        self.check()?;
        if self.at_boundary() { Ok(()) } else { Err(self.fail(FramingError::Truncated)) }
    }

    /// The length in a header, checked.
    fn length(&mut self, header: [u8; HEADER]) -> Result<usize, FramingError> {
        let length = u32::from_be_bytes(header);
        if length == 0 {
            return Err(self.fail(FramingError::Empty));
        }
        if self.frames >= self.limits.max_frames {
            return Err(self.fail(FramingError::TooManyFrames));
        }
        match usize::try_from(length) {
            Ok(bytes) if bytes <= self.limits.max_frame => Ok(bytes),
            _ => Err(self.fail(FramingError::FrameTooLong(length))),
        }
    }

    /// Moves bytes from the chunk until `partial` has `want` bytes, or the chunk is empty.
    fn fill_partial(&mut self, want: usize) {
        let missing = want.saturating_sub(self.partial.len()).min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk.split_to(missing));
    }

    fn keep_rest(&mut self) {
        self.partial.extend_from_slice(&std::mem::take(&mut self.chunk));
    }

    fn check(&self) -> Result<(), FramingError> {
        self.failed.map_or(Ok(()), Err)
    }

    fn fail(&mut self, e: FramingError) -> FramingError {
        self.failed = Some(e);
        self.chunk = Bytes::new();
        self.partial = BytesMut::new();
        e
    }
}

/// Writes frames into a body.
#[derive(Debug)]
pub struct Encoder {
    limits: Limits,
    buffer: BytesMut,
    /// Where the body begins in the buffer.
    start: usize,
    frames: usize,
}

impl Encoder {
    /// An empty body.
    pub fn new(limits: Limits) -> Self {
        Self::behind(BytesMut::new(), limits)
    }

    /// An empty body behind what a buffer holds already.
    pub fn behind(buffer: BytesMut, limits: Limits) -> Self {
        Self { limits, start: buffer.len(), buffer, frames: 0 }
    }

    /// What this body may carry.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Appends a frame. On an error the body is as it was.
    ///
    /// # Errors
    /// [`FramingError::Empty`], [`FramingError::FrameTooLong`], [`FramingError::TooManyFrames`],
    /// [`FramingError::BodyTooLong`].
    pub fn push(&mut self, frame: &[u8]) -> Result<(), FramingError> {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        if frame.is_empty() {
            return Err(FramingError::Empty);
        }
        if frame.len() > self.limits.max_frame || length == u32::MAX {
            return Err(FramingError::FrameTooLong(length));
        }
        if self.frames >= self.limits.max_frames {
            return Err(FramingError::TooManyFrames);
        }
        if self.buffer.len() - self.start + HEADER + frame.len() > self.limits.max_body {
            return Err(FramingError::BodyTooLong);
        }
        self.buffer.reserve(HEADER + frame.len());
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(frame);
        self.frames += 1;
        Ok(())
    }

    /// The body so far; the encoder is empty again.
    pub fn take(&mut self) -> Bytes {
        self.frames = 0;
        std::mem::take(&mut self.buffer).split_off(std::mem::take(&mut self.start)).freeze()
    }

    /// The buffer with the body so far at its end.
    pub fn into_buffer(self) -> BytesMut {
        self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Limits {
        Limits { max_frame: 300, max_frames: 4, max_body: 1000 }
    }

    /// Pushes in chunks of this size, draining as it goes.
    fn decode(body: &[u8], chunk: usize) -> Result<Vec<Bytes>, FramingError> {
        let mut decoder = Decoder::new(small());
        let mut frames = Vec::new();
        for part in body.chunks(chunk) {
            decoder.push(Bytes::copy_from_slice(part))?;
            while let Some(frame) = decoder.next_frame()? {
                frames.push(frame);
            }
        }
        decoder.end().map(|()| frames)
    }

    #[test]
    fn frames_survive_any_chunking() {
        let frames = [vec![1; 1], vec![2; 300], vec![3; 7], vec![4; 299]];
        let mut encoder = Encoder::new(small());
        for frame in &frames {
            encoder.push(frame).unwrap();
        }
        let body = encoder.take();
        for chunk in 1..=body.len() {
            assert_eq!(decode(&body, chunk).unwrap(), frames, "chunks of {chunk}");
        }
        // Without draining in between, too.
        let mut decoder = Decoder::new(small());
        for part in body.chunks(100) {
            decoder.push(Bytes::copy_from_slice(part)).unwrap();
        }
        assert_eq!(std::iter::from_fn(|| decoder.next_frame().unwrap()).collect::<Vec<_>>(), frames);
    }

    #[test]
    fn the_example_of_the_spec_holds() {
        let mut encoder = Encoder::new(Limits::default());
        encoder.push(&[0x61]).unwrap();
        encoder.push(&[0x62, 0x63]).unwrap();
        assert_eq!(encoder.take()[..], [0, 0, 0, 1, 0x61, 0, 0, 0, 2, 0x62, 0x63]);
    }

    #[test]
    fn a_frame_within_one_chunk_is_not_copied() {
        let mut encoder = Encoder::new(small());
        encoder.push(b"hello").unwrap();
        let body = encoder.take();
        let inside = body.as_ptr() as usize + HEADER;
        let mut decoder = Decoder::new(small());
        decoder.push(body).unwrap();
        assert_eq!(decoder.next_frame().unwrap().unwrap().as_ptr() as usize, inside);
        assert!(decoder.at_boundary());
    }

    #[test]
    fn bad_bodies_are_refused_in_any_chunking() {
        use FramingError as E;
        let one = [0, 0, 0, 1, 7];
        for (body, error) in [
            (vec![0, 0, 0, 0], E::Empty),
            (vec![0, 0, 1, 45], E::FrameTooLong(301)),
            (vec![255; 4], E::FrameTooLong(u32::MAX)),
            (vec![0, 0, 0], E::Truncated),
            (vec![0, 0, 0, 2, 9], E::Truncated),
            (one.repeat(5), E::TooManyFrames),
            ([vec![0, 0, 1, 44], vec![1; 300]].concat().repeat(4), E::BodyTooLong),
        ] {
            for chunk in [1, 2, 3, 4, 5, 9999] {
                assert_eq!(decode(&body, chunk).unwrap_err(), error, "chunks of {chunk}");
            }
        }
    }

    #[test]
    fn an_error_stays() {
        let mut decoder = Decoder::new(small());
        decoder.push(Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 1, 7])).unwrap();
        assert_eq!(decoder.next_frame(), Err(FramingError::Empty));
        assert_eq!(decoder.next_frame(), Err(FramingError::Empty));
        assert_eq!(decoder.push(Bytes::from_static(b"x")), Err(FramingError::Empty));
        assert_eq!(decoder.end(), Err(FramingError::Empty));
    }

    #[test]
    fn the_encoder_keeps_its_limits_and_its_body() {
        let mut encoder = Encoder::new(small());
        encoder.push(b"a").unwrap();
        assert_eq!(encoder.push(b""), Err(FramingError::Empty));
        assert_eq!(encoder.push(&[0; 301]), Err(FramingError::FrameTooLong(301)));
        for _ in 0..3 {
            encoder.push(&[0; 300]).unwrap();
        }
        assert_eq!(encoder.push(b"b"), Err(FramingError::TooManyFrames));
        assert_eq!(encoder.take().len(), 5 + 3 * 304);
        for _ in 0..3 {
            encoder.push(&[0; 300]).unwrap();
        }
        assert_eq!(encoder.push(&[0; 100]), Err(FramingError::BodyTooLong));
        assert_eq!(encoder.take().len(), 3 * 304);
    }
}
