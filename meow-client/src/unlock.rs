//! What opens a client's keys: a password, or a key from elsewhere (an OS keystore, a vault).

use std::fmt;
use std::sync::Arc;

use meow_core::Result;
use meow_core::crypto::Secret;
use zeroize::Zeroizing;

/// Gives the 32-byte key that wraps a device's keys, in place of a password.
pub trait KeyProvider: Send + Sync + 'static {
    /// The key. Asked for at open and at every root operation, and forgotten after it.
    ///
    /// # Errors
    /// Whatever keeps the provider from giving it, as kind `WrongSecret` or `System`.
    fn key(&self) -> Result<Secret>;
}

/// What opens the keys of a device.
#[derive(Clone)]
pub enum Unlock {
    /// A password, stretched by Argon2id.
    Password(Zeroizing<String>),
    /// A key from elsewhere.
    Provider(Arc<dyn KeyProvider>),
}

impl Unlock {
    /// A password.
    pub fn password(password: impl Into<String>) -> Self {
        Self::Password(Zeroizing::new(password.into()))
    }
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Unlock::Password(..)",
            Self::Provider(_) => "Unlock::Provider(..)",
        })
    }
}
