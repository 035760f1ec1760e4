//! The file that keeps a device's keys under a password, or under a key from a provider (an OS keystore, a
//! vault).

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::root::{Root, Ukp};
use crate::crypto::{
    CryptoError, KeyLabel, PasswordCost, Random, Secret, derive_key, key_commitment, open_siv, password_key,
    seal_siv,
};
use crate::wire::{Fixed, Wire, WireError};
use crate::{Error, ErrorKind};

/// Version of the file's layout, its first byte.
const VERSION: u8 = 0;

/// The cost of a file under a provider's key: there is no password to guess.
const NO_COST: PasswordCost = PasswordCost { memory_kib: 0, passes: 0, lanes: 0 };

/// Why a key file cannot be made or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The password or key is not the one that the file was made with.
    #[error("the password or key is wrong: try again; nothing was changed")]
    WrongSecret,
    /// The file is under a password and a key was given, or the reverse.
    #[error(
        "the keys are locked in another way than was tried: a password where a key was given, or the reverse"
    )]
    OtherLock,
    /// The file is damaged.
    #[error(
        "the key file is damaged and was left as it is: restore it from a backup, or start from your 24 words"
    )]
    Damaged,
    /// The file has a layout that this program does not know.
    #[error("the key file was written by a newer version of Meow: update this program")]
    NewerVersion,
    /// Too little, or more work than this machine should be asked for.
    #[error("the password cost must be 64 MiB to 1 GiB of memory, 3 to 16 passes and 1 to 4 lanes")]
    Cost,
    /// No randomness, or no memory.
    #[error("the keys cannot be locked: {0}")]
    Crypto(#[from] CryptoError),
}

impl From<KeyFileError> for Error {
    fn from(e: KeyFileError) -> Self {
        let kind = match e {
            KeyFileError::WrongSecret | KeyFileError::OtherLock => ErrorKind::WrongSecret,
            KeyFileError::Damaged => ErrorKind::Damaged,
            KeyFileError::NewerVersion => ErrorKind::NewerVersion,
            KeyFileError::Cost => ErrorKind::Usage,
            KeyFileError::Crypto(inner) => return inner.into(),
        };
        Error::new(kind, e.to_string()).with_source(e)
    }
}

/// What a key file is locked with.
#[derive(Clone, Copy)]
pub enum Unlock<'a> {
    /// A password, through Argon2id.
    Password(&'a [u8]),
    /// 32 bytes from a provider, uniformly random.
    Key(&'a Secret),
}

impl fmt::Debug for Unlock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::Key(_) => "Key(..)",
        })
    }
}

/// What stands before the two wraps; all of it is their associated data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    version: u8,
    salt: Fixed<16>,
    cost: PasswordCost,
    generation: u32,
    commitment: Fixed<32>,
}

impl Wire for Head {
    const MAX: usize = 1 + 16 + 15 + 5 + 32;
}

/// The keys of a device at rest (spec, chapter "Identity"). Holds nothing readable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    head: Head,
    ukp: Fixed<48>,
    root: Fixed<48>,
}

impl Wire for KeyFile {
    const MAX: usize = Head::MAX + 2 * 48;
}

/// The password's work is done and its key is right: opens either key without doing it again. Dropping it
/// locks the file. Holds the key that opens the root: keep it as short as the root itself.
pub struct Unlocked<'a> {
    file: &'a KeyFile,
    key: Secret,
}

impl KeyFile {
    /// Locks a root and its user key. `cost` counts for a password only.
    ///
    /// # Errors
    /// [`KeyFileError::Cost`], [`KeyFileError::Crypto`] without randomness.
    pub fn create(
        lock: Unlock<'_>,
        cost: PasswordCost,
        root: &Root,
        random: &mut dyn Random,
    ) -> Result<Self, KeyFileError> {
        let mut salt = [0u8; 16];
        random.fill(&mut salt)?;
        let (key, cost) = match lock {
            Unlock::Password(_) if !cost.acceptable() => return Err(KeyFileError::Cost),
            Unlock::Password(p) => (password_key(p, &salt, cost)?, cost),
            Unlock::Key(k) => (k.clone(), NO_COST),
        };
        let commitment = Fixed(key_commitment(&key));
        let head =
            Head { version: VERSION, salt: Fixed(salt), cost, generation: root.generation(), commitment };
        let ad = head.to_wire().map_err(|_| KeyFileError::Damaged)?;
        let wrap = |label, secret: &Secret| -> Result<Fixed<48>, KeyFileError> {
            let sealed = seal_siv(&wrap_key(label, &head.salt, &key), &[0; 12], &ad, secret.expose())?;
            Ok(Fixed(sealed.try_into().map_err(|_| CryptoError::Length)?))
        };
        let ukp = wrap(KeyLabel::WrapUkp, root.ukp().seed())?;
        let root = wrap(KeyLabel::WrapRoot, root.secret())?;
        Ok(Self { head, ukp, root })
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// [`KeyFileError::Damaged`], which a file that was decoded or created never gives.
    pub fn encode(&self) -> Result<Vec<u8>, KeyFileError> {
        self.to_wire().map_err(|_| KeyFileError::Damaged)
    }

    /// Reads the bytes of a file. No work is done on the keys.
    ///
    /// # Errors
    /// [`KeyFileError::NewerVersion`], [`KeyFileError::Damaged`], and [`KeyFileError::Cost`] for a cost that
    /// no Meow wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyFileError> {
        if bytes.first().is_some_and(|v| *v > VERSION) {
            return Err(KeyFileError::NewerVersion);
        }
        let file = Self::from_wire(bytes).map_err(|_: WireError| KeyFileError::Damaged)?;
        if file.head.cost == NO_COST || file.head.cost.acceptable() {
            Ok(file)
        } else {
            Err(KeyFileError::Damaged)
        }
    }

    /// Whether a password locks the file, rather than a provider's key.
    pub fn needs_password(&self) -> bool {
        self.head.cost != NO_COST
    }

    /// The generation of the root within.
    pub fn generation(&self) -> u32 {
        self.head.generation
    }

    /// Does the password's work once, compares the commitment, and lends what opens the keys.
    ///
    /// # Errors
    /// [`KeyFileError::WrongSecret`], [`KeyFileError::OtherLock`].
    pub fn unlock(&self, with: Unlock<'_>) -> Result<Unlocked<'_>, KeyFileError> {
        let key = match (with, self.needs_password()) {
            (Unlock::Password(p), true) => password_key(p, &self.head.salt.0, self.head.cost)?,
            (Unlock::Key(k), false) => k.clone(),
            _ => return Err(KeyFileError::OtherLock),
        };
        // Secrets compare in constant time.
        if Secret::new(key_commitment(&key)) != Secret::new(self.head.commitment.0) {
            return Err(KeyFileError::WrongSecret);
        }
        Ok(Unlocked { file: self, key })
    }

    /// The same keys under another password or key, with a new salt. The old file must then be overwritten:
    /// it still opens with what it was made with.
    ///
    /// # Errors
    /// Those of [`unlock`](Self::unlock), [`Unlocked::root`] and [`create`](Self::create).
    pub fn relock(
        &self,
        old: Unlock<'_>,
        new: Unlock<'_>,
        cost: PasswordCost,
        random: &mut dyn Random,
    ) -> Result<Self, KeyFileError> {
        let root = self.unlock(old)?.root()?;
        Self::create(new, cost, &root, random)
    }
}

impl Unlocked<'_> {
    /// The user key: opens the store and everyday data.
    ///
    /// # Errors
    /// [`KeyFileError::Damaged`].
    pub fn ukp(&self) -> Result<Ukp, KeyFileError> {
        Ok(Ukp::new(self.open(KeyLabel::WrapUkp, &self.file.ukp)?))
    }

    /// The root, for as long as something is signed: drop it after.
    ///
    /// # Errors
    /// [`KeyFileError::Damaged`].
    pub fn root(&self) -> Result<Root, KeyFileError> {
        Ok(Root::new(self.open(KeyLabel::WrapRoot, &self.file.root)?, self.file.head.generation))
    }

    fn open(&self, label: KeyLabel, sealed: &Fixed<48>) -> Result<Secret, KeyFileError> {
        let head = &self.file.head;
        let ad = head.to_wire().map_err(|_| KeyFileError::Damaged)?;
        let key = wrap_key(label, &head.salt, &self.key);
        let plain = open_siv(&key, &[0; 12], &ad, &sealed.0).map_err(|_| KeyFileError::Damaged)?;
        let plain = Zeroizing::new(plain);
        let bytes = plain.first_chunk::<32>().ok_or(KeyFileError::Damaged)?;
        Ok(Secret::new(*bytes))
    }
}

impl fmt::Debug for Unlocked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unlocked(..)")
    }
}

fn wrap_key(label: KeyLabel, salt: &Fixed<16>, key: &Secret) -> Secret {
    derive_key(label, &salt.0, key.expose(), &[])
}
