//! The master secret and the 24 words that stand for it.

use std::fmt;

use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

use super::root::Root;
use crate::crypto::{CryptoError, KeyLabel, Random, Secret, SigningKey, derive_key};
use crate::{Error, ErrorKind};

/// How many words stand for the master.
pub const WORDS: usize = 24;

/// Why words are not a master. Says where to look, and never repeats a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordsError {
    /// Not 24 words.
    #[error("there are {0} words instead of {WORDS}: type all of them, in order, with spaces between")]
    Count(usize),
    /// A word that is not in the list, counted from 1.
    #[error("word {0} is not in the English list: check its spelling against your notes")]
    Unknown(usize),
    /// Each word is in the list, but they do not belong together.
    #[error(
        "the words do not belong together: one is wrong or two changed places; check them against your notes"
    )]
    Checksum,
}

impl From<WordsError> for Error {
    fn from(e: WordsError) -> Self {
        Error::new(ErrorKind::WrongSecret, e.to_string()).with_source(e)
    }
}

/// The master M: everything else comes from it. Shown once as words, then forgotten by the device; wiped
/// when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Master {
    secret: Secret,
    words: Mnemonic,
}

impl Master {
    /// A fresh master.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn generate(random: &mut dyn Random) -> Result<Self, CryptoError> {
        let secret = Secret::generate(random)?;
        let words =
            Mnemonic::from_entropy_in(Language::English, secret.expose()).map_err(|_| CryptoError::Length)?;
        Ok(Self { secret, words })
    }

    /// Reads 24 English words (BIP-39) in either case, with any white space between.
    ///
    /// # Errors
    /// Any [`WordsError`].
    pub fn parse(words: &str) -> Result<Self, WordsError> {
        let lower = Zeroizing::new(words.to_lowercase());
        let joined = Zeroizing::new(lower.split_whitespace().collect::<Vec<_>>().join(" "));
        let count = lower.split_whitespace().count();
        if count != WORDS {
            return Err(WordsError::Count(count));
        }
        let words = Mnemonic::parse_in_normalized(Language::English, &joined).map_err(|e| match e {
            bip39::Error::UnknownWord(index) => WordsError::Unknown(index + 1),
            bip39::Error::BadWordCount(n) => WordsError::Count(n),
            _ => WordsError::Checksum,
        })?;
        let (entropy, _) = words.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        let secret = entropy.first_chunk::<32>().ok_or(WordsError::Checksum)?;
        Ok(Self { secret: Secret::new(*secret), words })
    }

    /// The 24 words, separated by single spaces.
    pub fn words(&self) -> Zeroizing<String> {
        Zeroizing::new(self.words.to_string())
    }

    /// The root of a generation, which starts at 0.
    pub fn root(&self, generation: u32) -> Root {
        let secret = derive_key(KeyLabel::Root, &[], self.secret.expose(), &[&generation.to_be_bytes()]);
        Root::new(secret, generation)
    }

    /// The private recovery key with this number.
    pub fn recovery_key(&self, number: u32) -> SigningKey {
        let seed = derive_key(KeyLabel::Recovery, &[], self.secret.expose(), &[&number.to_be_bytes()]);
        SigningKey::from_seed(seed.expose())
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master(..)")
    }
}
