//! Cards: what one person hands another to become a contact, and the safety code by which two people check
//! that nobody stands between them (spec, chapter "Lanes and cards").

#[expect(clippy::module_inception, reason = "the file of the type of the same name")]
mod card;
mod error;
mod file;
mod safety;
mod secrets;

pub use card::{CARD_GRACE, Card};
pub use error::CardError;
pub use file::{CARD_SCHEME, CardFile};
pub use safety::SafetyCode;
pub use secrets::CardSecrets;
