//! The safety code: sixty digits that both people see, and that differ when somebody stands between them.

use std::fmt;

use crate::crypto::{KeyLabel, VerifyKey, derive};

/// Number of groups of five digits.
const GROUPS: usize = 12;

/// Twelve groups of five digits, about 199 bits, from both Ckps and the transcript of the card's opening
/// (spec, chapter "Lanes and cards"). Devices never change it. `Display` writes the groups separated by
/// spaces; `Debug` shows nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SafetyCode([u32; GROUPS]);

impl SafetyCode {
    /// The code of two people, the same whichever of them computes it.
    pub fn new(transcript: &[u8; 32], one: &VerifyKey, other: &VerifyKey) -> Self {
        let (low, high) = if one.as_bytes() <= other.as_bytes() { (one, other) } else { (other, one) };
        let bytes: [u8; GROUPS * 4] =
            derive(KeyLabel::SafetyCode, &[], transcript, &[low.as_bytes(), high.as_bytes()]);
        let mut groups = [0u32; GROUPS];
        let (words, _) = bytes.as_chunks::<4>();
        groups.iter_mut().zip(words).for_each(|(g, w)| *g = u32::from_be_bytes(*w) % 100_000);
        Self(groups)
    }
}

impl fmt::Display for SafetyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{group:05}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SafetyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SafetyCode(..)")
    }
}
