//! A wide block: LIONESS (Anderson and Biham, "Two practical and provably secure block ciphers: BEAR and LION",
//! 1996, section 6) on ChaCha20 and keyed BLAKE2b, as the Sphinx packets of Katzenpost and Nym compose it. Beside
//! it the two small tools of an onion header: a key stream and a short MAC.

use blake2::Blake2bMac;
use blake2::digest::consts::U32;
use blake2::digest::{KeyInit, Mac};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

use super::{CryptoError, Secret};

/// The shortest block that can be encrypted, in bytes: the left half has 32.
pub const WIDE_LEAST: usize = 33;

const LEFT: usize = 32;

/// Keys of the four rounds of one wide block: `K1 [32] | K2 [64] | K3 [32] | K4 [64]`. Wiped when dropped.
pub struct WideKey {
    k1: Zeroizing<[u8; LEFT]>,
    k2: Zeroizing<[u8; 64]>,
    k3: Zeroizing<[u8; LEFT]>,
    k4: Zeroizing<[u8; 64]>,
}

impl WideKey {
    /// The round keys of a 32-byte key that is used for nothing else: its first 192 bytes of [`key_stream`].
    pub fn expand(key: &Secret) -> Self {
        let mut this = Self {
            k1: Zeroizing::new([0; LEFT]),
            k2: Zeroizing::new([0; 64]),
            k3: Zeroizing::new([0; LEFT]),
            k4: Zeroizing::new([0; 64]),
        };
        let mut stream = cipher(key.expose());
        stream.apply_keystream(&mut *this.k1);
        stream.apply_keystream(&mut *this.k2);
        stream.apply_keystream(&mut *this.k3);
        stream.apply_keystream(&mut *this.k4);
        this
    }

    /// Encrypts a whole block in place: each bit of the output depends on each bit of the input.
    ///
    /// # Errors
    /// [`CryptoError::Length`] for a block shorter than [`WIDE_LEAST`].
    pub fn encrypt(&self, block: &mut [u8]) -> Result<(), CryptoError> {
        let (left, right) = halves(block)?;
        stream_round(left, &self.k1, right);
        hash_round(right, &self.k2, left);
        stream_round(left, &self.k3, right);
        hash_round(right, &self.k4, left);
        Ok(())
    }

    /// Undoes [`WideKey::encrypt`].
    ///
    /// # Errors
    /// [`CryptoError::Length`] for a block shorter than [`WIDE_LEAST`].
    pub fn decrypt(&self, block: &mut [u8]) -> Result<(), CryptoError> {
        let (left, right) = halves(block)?;
        hash_round(right, &self.k4, left);
        stream_round(left, &self.k3, right);
        hash_round(right, &self.k2, left);
        stream_round(left, &self.k1, right);
        Ok(())
    }
}

impl std::fmt::Debug for WideKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WideKey(..)")
    }
}

fn halves(block: &mut [u8]) -> Result<(&mut [u8; LEFT], &mut [u8]), CryptoError> {
    match block.split_first_chunk_mut::<LEFT>() {
        Some((left, right)) if !right.is_empty() => Ok((left, right)),
        _ => Err(CryptoError::Length),
    }
}

/// `R = R xor ChaCha20(L xor K)`.
fn stream_round(left: &[u8; LEFT], key: &[u8; LEFT], right: &mut [u8]) {
    let mut mixed = Zeroizing::new(*left);
    mixed.iter_mut().zip(key).for_each(|(m, k)| *m ^= k);
    cipher(&mixed).apply_keystream(right);
}

/// `L = L xor BLAKE2b(K, R)`.
fn hash_round(right: &[u8], key: &[u8; 64], left: &mut [u8; LEFT]) {
    let mut mac = Blake2bMac::<U32>::new(&(*key).into());
    mac.update(right);
    let digest = mac.finalize().into_bytes();
    left.iter_mut().zip(digest).for_each(|(l, d)| *l ^= d);
}

/// A key serves one stream, so the nonce is zero.
fn cipher(key: &[u8; 32]) -> ChaCha20 {
    ChaCha20::new(&(*key).into(), &[0; 12].into())
}

/// Adds (xor) the ChaCha20 key stream (RFC 8439, nonce and counter zero) of a key that is used once.
pub fn key_stream(key: &Secret, data: &mut [u8]) {
    cipher(key.expose()).apply_keystream(data);
}

/// HMAC-SHA256 cut to its first 16 bytes (RFC 2104, section 5). The parts are joined without framing: their lengths
/// must be fixed for a key.
pub fn short_mac(key: &Secret, parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = super::derive::hmac(key);
    parts.iter().for_each(|part| mac.update(part));
    let whole = mac.finalize().into_bytes();
    std::array::from_fn(|i| whole.get(i).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7) as u8).collect()
    }

    #[test]
    fn agrees_with_another_implementation_of_the_construction() {
        use lioness_rs::KeyInit as _;
        use lioness_rs::Lioness;
        let key = Secret::new([5; 32]);
        let mut raw = [0u8; 192];
        key_stream(&key, &mut raw);
        let peer = Lioness::<ChaCha20, Blake2bMac<U32>>::new_from_slice(&raw).unwrap();
        for len in [33, 64, 200, 1658, 32_378] {
            let (mut ours, mut theirs) = (block(len), block(len));
            WideKey::expand(&key).encrypt(&mut ours).unwrap();
            peer.encrypt_block(&mut theirs).unwrap();
            assert_eq!(ours, theirs, "{len}");
            WideKey::expand(&key).decrypt(&mut ours).unwrap();
            assert_eq!(ours, block(len), "{len}");
        }
    }

    #[test]
    fn any_changed_bit_turns_the_whole_block_into_noise() {
        let key = WideKey::expand(&Secret::new([6; 32]));
        let mut sealed = block(1658);
        key.encrypt(&mut sealed).unwrap();
        for at in [0, 31, 32, 33, 800, 1657] {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            key.decrypt(&mut bad).unwrap();
            let same = bad.iter().zip(block(1658)).filter(|(a, b)| **a == *b).count();
            assert!(same < 40, "byte {at}: {same} bytes survive");
        }
    }

    #[test]
    fn a_block_without_a_right_half_is_refused() {
        let key = WideKey::expand(&Secret::new([6; 32]));
        for len in [0, 31, 32] {
            assert_eq!(key.encrypt(&mut block(len)), Err(CryptoError::Length));
            assert_eq!(key.decrypt(&mut block(len)), Err(CryptoError::Length));
        }
        assert_eq!(format!("{key:?}"), "WideKey(..)");
    }
}
