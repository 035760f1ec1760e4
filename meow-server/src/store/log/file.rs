//! Reading and writing at a place of a file that several threads share.

use std::fs::File;
use std::io::Result;

/// Fills the buffer from this place on.
#[cfg(unix)]
pub(super) fn read(file: &File, buffer: &mut [u8], at: u64) -> Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

/// Writes all of it from this place on.
#[cfg(unix)]
pub(super) fn write(file: &File, bytes: &[u8], at: u64) -> Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

/// Fills the buffer from this place on.
#[cfg(windows)]
pub(super) fn read(file: &File, mut buffer: &mut [u8], mut at: u64) -> Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, at)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => {
                buffer = buffer.get_mut(n..).unwrap_or_default();
                at += n as u64;
            }
        }
    }
    Ok(())
}

/// Writes all of it from this place on.
#[cfg(windows)]
pub(super) fn write(file: &File, mut bytes: &[u8], mut at: u64) -> Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, at)? {
            0 => return Err(std::io::ErrorKind::WriteZero.into()),
            n => {
                bytes = bytes.get(n..).unwrap_or_default();
                at += n as u64;
            }
        }
    }
    Ok(())
}
