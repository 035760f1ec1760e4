//! Size classes of sealed packets on fat links, and padding to them (spec, chapter "Sizes").

use super::WireError;

/// The lengths that sealed packets can have on fat links, in bytes.
pub const SIZE_CLASSES: [usize; 5] = [256, 512, 2048, 8192, 32768];

/// The smallest class that holds `len` bytes, or `None` beyond the largest.
pub fn padded_len(len: usize) -> Option<usize> {
    SIZE_CLASSES.into_iter().find(|class| len <= *class)
}

/// Pads to exactly `to` bytes: one 0x80, then zeros (ISO/IEC 7816-4).
///
/// # Errors
/// [`WireError::TooLong`] when the bytes and the marker do not fit.
pub fn pad(bytes: &mut Vec<u8>, to: usize) -> Result<(), WireError> {
    if bytes.len() >= to {
        return Err(WireError::TooLong);
    }
    bytes.push(0x80);
    bytes.resize(to, 0);
    Ok(())
}

/// Takes the padding off again.
///
/// # Errors
/// [`WireError::Invalid`] when there is no marker.
pub fn unpad(bytes: &[u8]) -> Result<&[u8], WireError> {
    let end = bytes.iter().rposition(|b| *b != 0).ok_or(WireError::Invalid)?;
    match (bytes.get(end), bytes.get(..end)) {
        (Some(0x80), Some(content)) => Ok(content),
        _ => Err(WireError::Invalid),
    }
}
