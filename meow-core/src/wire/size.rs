//! The table of sizes that sealed packets have, and padding to them (spec, chapter "Wire"). A row of it is fat, for
//! links where a packet may be large, or thin, for links where it has to fit one frame of a radio.

use super::WireError;

/// The lengths that sealed packets can have on fat links, in bytes.
pub const SIZE_CLASSES: [usize; 5] = [256, 512, 2048, 8192, 32768];

/// The lengths that sealed packets can have on thin links, in bytes. With the 4 bytes of framing that such a link adds they
/// are 64, 128 and 240 on the air. No fat class has one of these lengths, so a packet's length says its row.
pub const THIN_SIZES: [usize; 3] = [60, 124, 236];

/// What the framing of a thin link adds to a packet, in bytes.
pub const THIN_FRAMING: usize = 4;

/// The length that an index of the whole table stands for: 0 to 4 are [`SIZE_CLASSES`], 5 to 7 [`THIN_SIZES`].
pub fn size_of_class(index: u8) -> Option<usize> {
    SIZE_CLASSES.into_iter().chain(THIN_SIZES).nth(usize::from(index))
}

/// True for an index of the thin row of the table.
pub fn is_thin_class(index: u8) -> bool {
    (SIZE_CLASSES.len()..SIZE_CLASSES.len() + THIN_SIZES.len()).contains(&usize::from(index))
}

/// True for the length of a packet of the thin row.
pub fn is_thin(len: usize) -> bool {
    THIN_SIZES.contains(&len)
}

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
