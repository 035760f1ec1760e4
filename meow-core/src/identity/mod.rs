//! Identities: the 24 words, the root, the keys that come from them, and the file that keeps them under a
//! password (spec, chapter "Identity").

mod contact_id;
mod key_file;
mod master;
mod recovery;
mod root;

pub use contact_id::ContactId;
pub use key_file::{KeyFile, KeyFileError, Unlock, Unlocked};
pub use master::{Master, WORDS, WordsError};
pub use recovery::{RECOVERY_KEYS, RecoveryKeys, recovery_commitment};
pub use root::{Root, Ukp};
