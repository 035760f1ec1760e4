//! The receiving half: work on the side, then replace the state.

use crate::crypto::{DhPublic, Secret, chain_step, open_siv};
use crate::wire::Suite;

use super::header::{Bytes, Header};
use super::skipped::{Former, Keys, MAX_KEPT, MAX_SKIP, find, skip};
use super::{NONCE, Numbers, Ratchet, RatchetError, Receiving, step};

/// What a decrypted message changes. It is applied when the plaintext is stored; dropped, it never
/// happened.
pub struct Step {
    pub(super) revision: u64,
    pub(super) change: Change,
}

impl Step {
    /// Says what numbers the plaintext has. Those of the message by which a chain is entered let thin messages of
    /// the same chain leave theirs out.
    pub fn numbered(&mut self, numbers: Numbers) {
        if let Change::Enter { receiving, .. } = &mut self.change {
            receiving.first = receiving.n.checked_sub(1).and_then(|n| numbers.first(n));
        }
    }
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Step(..)")
    }
}

pub(super) enum Change {
    /// The current chain went on to `n`; `keys` were skipped.
    Forward { keys: Keys, chain: Secret, n: u32, parity: bool },
    /// A skipped key of the current chain was used.
    Late { at: usize, parity: bool },
    /// A skipped key of a former chain was used.
    Former { chain: usize, at: usize },
    /// The other side's next chain was entered; `missing` are keys of the chain before it.
    Enter { missing: Keys, root: Secret, next_receive: Secret, receiving: Receiving },
}

/// A plaintext, and what its message changes.
pub(super) type Found = (Vec<u8>, Change);

impl Receiving {
    /// Message `n` of this chain, which has not been reached yet.
    pub(super) fn forward(
        &self,
        n: u32,
        parity: bool,
        try_key: impl FnOnce(&Secret) -> Option<Vec<u8>>,
    ) -> Option<Found> {
        let count = n.checked_sub(self.n).filter(|count| *count <= MAX_SKIP)?;
        let (keys, chain) = skip(&self.chain, self.n, count);
        let (key, chain) = chain_step(&chain);
        let plaintext = try_key(&key)?;
        Some((plaintext, Change::Forward { keys, chain, n: n.checked_add(1)?, parity }))
    }

    /// Message `n` of this chain, which was skipped.
    pub(super) fn late(
        &self,
        n: u32,
        parity: bool,
        try_key: impl FnOnce(&Secret) -> Option<Vec<u8>>,
    ) -> Option<Found> {
        let (at, key) = find(&self.skipped, n)?;
        Some((try_key(key)?, Change::Late { at, parity }))
    }
}

impl Ratchet {
    /// Decrypts one message without changing the state. Store plaintext and applied state together, then
    /// acknowledge the message.
    ///
    /// # Errors
    /// [`RatchetError::Repeated`] when the key of this message was used before, [`RatchetError::Rejected`]
    /// for everything else that does not decrypt.
    pub fn decrypt(&self, ad: &[u8; 32], message: &[u8]) -> Result<(Vec<u8>, Step), RatchetError> {
        let message = Suite::Ratchet.strip(message).map_err(|_| RatchetError::Rejected)?;
        let mut repeated = false;
        let found = self
            .current(ad, message, &mut repeated)
            .or_else(|| self.entering(ad, message))
            .or_else(|| self.former(ad, message));
        match found {
            Some((plaintext, change)) => Ok((plaintext, Step { revision: self.revision, change })),
            None if repeated => Err(RatchetError::Repeated),
            None => Err(RatchetError::Rejected),
        }
    }

    fn current(&self, ad: &[u8; 32], message: &[u8], repeated: &mut bool) -> Option<Found> {
        let current = self.receiving.as_ref()?;
        let (header, clear) = Header::decode(&current.header, message)?;
        if header.turn.is_some_and(|(ekp, _)| ekp != current.ekp) {
            return None;
        }
        let try_key = |key: &Secret| open(key, ad, &clear, message);
        if header.n >= current.n {
            return current.forward(header.n, header.parity, try_key);
        }
        *repeated = find(&current.skipped, header.n).is_none();
        current.late(header.n, header.parity, try_key)
    }

    fn entering(&self, ad: &[u8; 32], message: &[u8]) -> Option<Found> {
        let (header, clear) = Header::decode(&self.next_receive, message)?;
        self.enter(header.turn?, header.n, |key| open(key, ad, &clear, message))
    }

    /// Enters the other side's next chain with its message `n`, whose header says `turn`.
    pub(super) fn enter(
        &self,
        turn: (DhPublic, u32),
        n: u32,
        try_key: impl FnOnce(&Secret) -> Option<Vec<u8>>,
    ) -> Option<Found> {
        let (ekp, previous) = turn;
        if n > MAX_SKIP {
            return None;
        }
        let next = step(&self.root, &self.own.agree(&ekp).ok()?, &ekp, &self.own_public());
        let (skipped, chain) = skip(&next.chain, 0, n);
        let (key, chain) = chain_step(&chain);
        let plaintext = try_key(&key)?;
        // Only now, authenticated, may the message have keys of the former chain kept. Beyond the limit the
        // rest of that chain is given up, so that the conversation goes on.
        let missing = self.receiving.as_ref().map_or_else(Keys::new, |current| {
            skip(&current.chain, current.n, previous.saturating_sub(current.n).min(MAX_SKIP)).0
        });
        let header = self.next_receive.clone();
        let receiving = Receiving { header, chain, n: n.checked_add(1)?, ekp, first: None, skipped };
        Some((plaintext, Change::Enter { missing, root: next.root, next_receive: next.header, receiving }))
    }

    fn former(&self, ad: &[u8; 32], message: &[u8]) -> Option<Found> {
        self.former.iter().enumerate().rev().find_map(|(chain, former)| {
            let (header, clear) = Header::decode(&former.header, message)?;
            if header.turn.is_some_and(|(ekp, _)| ekp != former.ekp) {
                return None;
            }
            let (at, key) = find(&former.keys, header.n)?;
            Some((open(key, ad, &clear, message)?, Change::Former { chain, at }))
        })
    }

    /// Makes the change of a decrypted message.
    ///
    /// # Errors
    /// [`RatchetError::Stale`] when the state changed since the message was decrypted.
    pub fn apply(&mut self, step: Step) -> Result<(), RatchetError> {
        if step.revision != self.revision {
            return Err(RatchetError::Stale);
        }
        match step.change {
            Change::Forward { keys, chain, n, parity } => {
                if let Some(current) = &mut self.receiving {
                    current.skipped.extend(keys);
                    current.chain = chain;
                    current.n = n;
                }
                self.note_parity(parity);
            }
            Change::Late { at, parity } => {
                if let Some(current) = &mut self.receiving {
                    current.skipped.remove(at);
                }
                self.note_parity(parity);
            }
            Change::Former { chain, at } => {
                if let Some(former) = self.former.get_mut(chain) {
                    former.keys.remove(at);
                    if former.keys.is_empty() {
                        self.former.remove(chain);
                    }
                }
            }
            Change::Enter { missing, root, next_receive, receiving } => {
                if let Some(Receiving { header, ekp, first, mut skipped, .. }) =
                    self.receiving.replace(receiving)
                {
                    skipped.extend(missing);
                    if !skipped.is_empty() {
                        self.former.push_back(Former { header, ekp, first, keys: skipped });
                    }
                }
                self.root = root;
                self.next_receive = next_receive;
                self.entered = self.entered.wrapping_add(1);
                self.may_turn = true;
                // Who turns has entered our current chain.
                if let Some(sending) = &mut self.sending {
                    sending.announce = false;
                }
            }
        }
        self.evict();
        self.revision = self.revision.wrapping_add(1);
        Ok(())
    }

    /// A message of the other side's current chain shows whether our own current chain was entered.
    fn note_parity(&mut self, parity: bool) {
        if let Some(sending) = &mut self.sending
            && parity == (self.begun & 1 == 1)
        {
            sending.announce = false;
        }
    }

    fn evict(&mut self) {
        while self.skipped() > MAX_KEPT {
            match self.former.front_mut() {
                Some(oldest) if oldest.keys.len() > 1 => drop(oldest.keys.pop_front()),
                Some(_) => drop(self.former.pop_front()),
                None => {
                    let Some(current) = &mut self.receiving else { return };
                    current.skipped.pop_front();
                }
            }
        }
    }

    /// How many skipped message keys are kept, at most 2,000.
    pub fn skipped(&self) -> usize {
        let former: usize = self.former.iter().map(|f| f.keys.len()).sum();
        former + self.receiving.as_ref().map_or(0, |r| r.skipped.len())
    }
}

fn open(key: &Secret, ad: &[u8; 32], clear: &Bytes, message: &[u8]) -> Option<Vec<u8>> {
    open_siv(key, &NONCE, clear.associated(ad).as_slice(), message.get(clear.len()..)?).ok()
}
