//! Frames in a stream: each a 32-bit big-endian length, then that many bytes.

use bytes::{Buf as _, Bytes, BytesMut};
use meow_core::transport::Frame;

use crate::error::UdpError;

const LENGTH: usize = 4;

/// Puts frames together from what a stream brings. Memory is taken for what came, not for what a length announces.
pub(crate) struct Reader {
    max_frame: usize,
    /// The frame that came in one piece, as nearly all do.
    whole: Option<Frame>,
    rest: BytesMut,
}

impl Reader {
    pub(crate) fn new(max_frame: usize) -> Self {
        Self { max_frame, whole: None, rest: BytesMut::new() }
    }

    /// Takes what came, once [`next`](Self::next) has no more frames. It is copied: a piece would keep all that came
    /// with it in memory.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        if self.rest.is_empty()
            && self.whole.is_none()
            && let Some((length, frame)) = piece.split_first_chunk()
            && self.length(*length).is_ok_and(|length| length == frame.len())
        {
            self.whole = Some(Bytes::copy_from_slice(frame));
            return;
        }
        self.rest.extend_from_slice(piece);
    }

    /// The next frame that is complete, copied: cut out of what came, it would keep all of that in memory.
    ///
    /// # Errors
    /// For a length that breaks the binding.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, UdpError> {
        if let Some(frame) = self.whole.take() {
            return Ok(Some(frame));
        }
        let Some((length, after)) = self.rest.split_first_chunk() else { return Ok(None) };
        let length = self.length(*length)?;
        if after.len() < length {
            return Ok(None);
        }
        let frame = after.get(..length).map(Bytes::copy_from_slice);
        self.rest.advance(LENGTH + length);
        if self.rest.is_empty() {
            self.rest = BytesMut::new();
        }
        Ok(frame)
    }

    /// Bytes that wait for the rest of their frame.
    pub(crate) fn kept(&self) -> usize {
        self.rest.len()
    }

    /// Whether nothing is left of a frame that is not complete.
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_none() && self.rest.is_empty()
    }

    fn length(&self, bytes: [u8; LENGTH]) -> Result<usize, UdpError> {
        let length = usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| UdpError::TooLong)?;
        match length {
            0 => Err(UdpError::Empty),
            _ if length > self.max_frame => Err(UdpError::TooLong),
            _ => Ok(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(frames: &[&[u8]]) -> Vec<u8> {
        let mut all = Vec::new();
        for frame in frames {
            all.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
            all.extend(*frame);
        }
        all
    }

    #[test]
    fn frames_come_out_however_they_are_cut() {
        let frames: [&[u8]; 4] = [b"one", b"2", &[3; 100], b"four"];
        let all = framed(&frames);
        for size in 1..=all.len() {
            let (mut reader, mut got) = (Reader::new(100), Vec::new());
            for piece in all.chunks(size) {
                reader.push(piece);
                while let Some(frame) = reader.next().unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, frames, "pieces of {size}");
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a21_a_small_frame_keeps_no_large_buffer() {
        let mut reader = Reader::new(1 << 16);
        let (small, large) = ([7; 10], vec![8; 1 << 16]);
        reader.push(&framed(&[&large, &small, &large]));
        for frame in [&large[..], &small, &large] {
            let next = reader.next().unwrap().unwrap();
            assert!(next == frame && next.is_unique(), "{} bytes share their memory", frame.len());
        }
        assert!(reader.is_empty() && reader.rest.capacity() == 0);
    }

    #[test]
    fn a_length_that_is_wrong_is_refused_before_its_bytes_come() {
        for (bytes, wrong) in [([0, 0, 0, 0], "empty"), ([0, 0, 0, 101], "framing"), ([255; 4], "framing")] {
            let mut reader = Reader::new(100);
            reader.push(&bytes);
            let e = reader.next().unwrap_err();
            assert!(e.to_string().contains(wrong), "{e}");
        }
        let mut reader = Reader::new(100);
        reader.push(&[0, 0, 0, 100, 7]);
        assert!(reader.next().unwrap().is_none() && !reader.is_empty());
        assert!(reader.rest.capacity() < 100, "a length takes no memory");
    }
}
