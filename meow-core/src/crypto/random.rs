//! Randomness is passed in, and a source that fails is an error.

use zeroize::Zeroize;

use super::{CryptoError, HashLabel, hash};

/// A source of random bytes.
pub trait Random: Send {
    /// Fills the buffer.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`]; the caller must not go on with what the buffer holds.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CryptoError>;
}

/// The operating system's source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        getrandom::fill(buffer).map_err(|_| CryptoError::NoRandomness)
    }
}

/// A repeatable source for simulations and test vectors; never for keys that protect anything.
#[derive(Clone, Debug)]
pub struct SeededRandom {
    seed: [u8; 32],
    counter: u64,
}

impl SeededRandom {
    /// The stream of this number.
    pub fn new(seed: u64) -> Self {
        Self { seed: hash(HashLabel::TestSeed, &[&seed.to_le_bytes()]), counter: 0 }
    }
}

impl Random for SeededRandom {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        for chunk in buffer.chunks_mut(32) {
            let block = hash(HashLabel::TestSeed, &[&self.seed, &self.counter.to_le_bytes()]);
            self.counter += 1;
            chunk.iter_mut().zip(block).for_each(|(out, b)| *out = b);
        }
        Ok(())
    }
}

/// Lends pre-drawn bytes to libraries that want an infallible generator: the drawing, which can fail,
/// happens before, with an error.
pub(super) struct Drawn<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Drawn<N> {
    pub(super) fn from(random: &mut dyn Random) -> Result<Self, CryptoError> {
        let mut bytes = [0u8; N];
        random.fill(&mut bytes)?;
        Ok(Self { bytes, used: 0 })
    }

    /// True when the library asked for more than was drawn; what it made must then be thrown away.
    pub(super) fn overdrawn(&self) -> bool {
        self.used > N
    }
}

impl<const N: usize> Drop for Drawn<N> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl<const N: usize> rand_core::TryRng for Drawn<N> {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut b = [0u8; 4];
        self.try_fill_bytes(&mut b)?;
        Ok(u32::from_le_bytes(b))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut b = [0u8; 8];
        self.try_fill_bytes(&mut b)?;
        Ok(u64::from_le_bytes(b))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        let rest = self.bytes.get(self.used..).unwrap_or_default();
        out.fill(0);
        out.iter_mut().zip(rest).for_each(|(o, b)| *o = *b);
        self.used = self.used.saturating_add(out.len());
        Ok(())
    }
}
impl<const N: usize> rand_core::TryCryptoRng for Drawn<N> {}
