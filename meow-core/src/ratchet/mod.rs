//! The Double Ratchet with masked headers and lazy turns (spec, chapter "Ratchet").
//!
//! One [`Ratchet`] serves one pair of lanes. Encrypting changes the state at once; decrypting gives a
//! [`Step`] that is applied when the plaintext is stored. Not here: sequence numbers, signatures and
//! padding, which are the message layer's.

mod header;
mod numbers;
mod receive;
mod send;
mod skipped;
#[cfg(test)]
mod tests;
mod thin;

pub use numbers::Numbers;
pub use receive::Step;
pub use thin::{OpenedThin, THIN_OVERHEAD, THIN_OVERHEAD_EKP};

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::crypto::{CryptoError, DhPublic, DhSecret, KeyLabel, Random, Secret, derive_keys};
use crate::{Error, ErrorKind};

/// Bytes that a message adds to its plaintext when its header carries no Ekp.
pub const OVERHEAD: usize = 1 + 5 + crate::crypto::AEAD_TAG;
/// Bytes that a message adds to its plaintext when its header carries the sender's Ekp.
pub const OVERHEAD_EKP: usize = OVERHEAD + 36;

/// Every message has a key of its own.
const NONCE: [u8; 12] = [0; 12];

/// What a ratchet can fail with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RatchetError {
    /// No key of this ratchet opens the message.
    #[error("does not decrypt")]
    Rejected,
    /// The message's key was used, or dropped, before.
    #[error("was received before")]
    Repeated,
    /// The side that receives first wants to send before it has received.
    #[error("the other side has to send first")]
    NotStarted,
    /// A chain is at its end; a turn begins a new one.
    #[error("the sending chain is at its end")]
    Exhausted,
    /// The state changed between decrypting and applying.
    #[error("the state changed since this message was decrypted")]
    Stale,
    /// A message that leaves out numbers which its receiver cannot know.
    #[error("the receiver cannot know the numbers of this message")]
    Numbers,
    /// A key or the source of randomness.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl From<RatchetError> for Error {
    fn from(e: RatchetError) -> Self {
        let kind = match e {
            RatchetError::Rejected => ErrorKind::Malformed,
            RatchetError::Repeated => ErrorKind::AlreadyUsed,
            RatchetError::NotStarted => ErrorKind::Usage,
            RatchetError::Exhausted => ErrorKind::Limit,
            RatchetError::Stale | RatchetError::Numbers => ErrorKind::Bug,
            RatchetError::Crypto(e) => return e.into(),
        };
        Error::new(kind, format!("ratchet message: {e}")).with_source(e)
    }
}

/// The keys that a handshake gives to a ratchet, the same on both sides.
#[derive(Clone, Serialize, Deserialize)]
pub struct RatchetKeys {
    /// The root key.
    pub root: Secret,
    /// Header key of the first chain of the side that sends first.
    pub header_first: Secret,
    /// Header key of the first chain of the other side.
    pub header_second: Secret,
}

impl std::fmt::Debug for RatchetKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RatchetKeys(..)")
    }
}

/// One side's state. Serialised, it is secret as it stands.
#[derive(Clone, Serialize, Deserialize)]
pub struct Ratchet {
    /// Counts changes, so that a stale [`Step`] is noticed.
    revision: u64,
    root: Secret,
    /// The private half of the own Ekp.
    own: DhSecret,
    sending: Option<Sending>,
    receiving: Option<Receiving>,
    next_send: Secret,
    next_receive: Secret,
    /// Own chains begun and the other side's chains entered.
    begun: u32,
    entered: u32,
    /// The other side's newest chain was entered after the own newest was begun.
    may_turn: bool,
    former: VecDeque<skipped::Former>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Sending {
    header: Secret,
    chain: Secret,
    n: u32,
    ekp: DhPublic,
    /// Messages in the chain before.
    previous: u32,
    /// Headers carry the Ekp until the other side has shown that it entered the chain.
    announce: bool,
    /// Numbers of the chain's first message, as long as all others count on from it.
    first: Option<Numbers>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Receiving {
    header: Secret,
    chain: Secret,
    n: u32,
    ekp: DhPublic,
    /// Numbers of the chain's first message, if the one by which it was entered said its own.
    first: Option<Numbers>,
    skipped: skipped::Keys,
}

impl Ratchet {
    /// The side that sends first, with the first Ekp of the other.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`], and [`CryptoError::BadKey`] for an Ekp of low order.
    pub fn first(keys: RatchetKeys, theirs: &DhPublic, random: &mut dyn Random) -> Result<Self, CryptoError> {
        let own = DhSecret::generate(random)?;
        let ekp = own.public();
        let next = step(&keys.root, &own.agree(theirs)?, &ekp, theirs);
        let sending = Sending {
            header: keys.header_first,
            chain: next.chain,
            n: 0,
            ekp,
            previous: 0,
            announce: true,
            first: None,
        };
        Ok(Self {
            revision: 0,
            root: next.root,
            own,
            sending: Some(sending),
            receiving: None,
            next_send: next.header,
            next_receive: keys.header_second,
            begun: 1,
            entered: 0,
            may_turn: false,
            former: VecDeque::new(),
        })
    }

    /// The side that receives first, with the private half of its own first Ekp.
    pub fn second(keys: RatchetKeys, own: DhSecret) -> Self {
        Self {
            revision: 0,
            root: keys.root,
            own,
            sending: None,
            receiving: None,
            next_send: keys.header_second,
            next_receive: keys.header_first,
            begun: 0,
            entered: 0,
            may_turn: false,
            former: VecDeque::new(),
        }
    }

    /// Bytes that the next message will add to its plaintext.
    pub fn overhead(&self, turn: bool) -> usize {
        if self.announces(turn) { OVERHEAD_EKP } else { OVERHEAD }
    }

    /// Bytes that the next message will add to its plaintext in the thin form.
    pub fn thin_overhead(&self, turn: bool) -> usize {
        if self.announces(turn) { THIN_OVERHEAD_EKP } else { THIN_OVERHEAD }
    }

    /// The next message carries the Ekp.
    fn announces(&self, turn: bool) -> bool {
        match &self.sending {
            None => true,
            Some(_) if turn && self.may_turn => true,
            Some(sending) => sending.announce,
        }
    }

    /// The current sending chain key, to show that none is used twice.
    #[cfg(test)]
    pub(crate) fn sending_key(&self) -> Option<Vec<u8>> {
        self.sending.as_ref().map(|s| s.chain.expose().to_vec())
    }

    fn own_public(&self) -> DhPublic {
        match &self.sending {
            Some(sending) => sending.ekp,
            None => self.own.public(),
        }
    }
}

impl std::fmt::Debug for Ratchet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ratchet")
            .field("begun", &self.begun)
            .field("entered", &self.entered)
            .field("skipped", &self.skipped())
            .finish_non_exhaustive()
    }
}

/// What a step gives: the next root key, the new chain's key, and the header key of the chain after it.
struct Next {
    root: Secret,
    chain: Secret,
    header: Secret,
}

fn step(root: &Secret, shared: &Secret, sender: &DhPublic, receiver: &DhPublic) -> Next {
    let context: [&[u8]; 2] = [sender.as_bytes(), receiver.as_bytes()];
    let [root, chain, header] = derive_keys(KeyLabel::RatchetStep, root.expose(), shared.expose(), &context);
    Next { root, chain, header }
}
