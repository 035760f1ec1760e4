//! The sending half: turns and encryption.

use crate::crypto::{AEAD_TAG, DhPublic, DhSecret, Random, Secret, chain_step, seal_siv_in_place};
use crate::wire::Suite;

use super::header::{Header, mask};
use super::thin::ThinHeader;
use super::{NONCE, Numbers, Ratchet, RatchetError, Sending, step};

/// The place in a chain that a message gets.
struct Slot<'a> {
    key: Secret,
    header: &'a Secret,
    parity: bool,
    n: u32,
    turn: Option<(DhPublic, u32)>,
}

impl Ratchet {
    /// Encrypts one message. With `turn`, the sending Ekp is renewed first when the other side's current
    /// chain allows it; a message that opens the first sending chain always turns.
    ///
    /// `ad` is the hash that names both parties, in the direction of this message. The result is 22 bytes
    /// longer than the plaintext, 58 while it carries the Ekp. State and result must be stored together
    /// before the result is sent.
    ///
    /// # Errors
    /// [`RatchetError::NotStarted`] before the first message of the side that sends first,
    /// [`RatchetError::Exhausted`] after 2^32 - 1 messages in one chain, and what the source of randomness
    /// or the cipher fails with. The state is then unchanged.
    pub fn encrypt(
        &mut self,
        random: &mut dyn Random,
        turn: bool,
        ad: &[u8; 32],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, RatchetError> {
        self.encrypt_whole(random, turn, ad, None, plaintext)
    }

    /// As [`encrypt`](Self::encrypt), for a plaintext that says these numbers: thin messages of the same chain can leave
    /// theirs out then.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt).
    pub fn encrypt_numbered(
        &mut self,
        random: &mut dyn Random,
        turn: bool,
        ad: &[u8; 32],
        numbers: Numbers,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, RatchetError> {
        self.encrypt_whole(random, turn, ad, Some(numbers), plaintext)
    }

    fn encrypt_whole(
        &mut self,
        random: &mut dyn Random,
        turn: bool,
        ad: &[u8; 32],
        numbers: Option<Numbers>,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, RatchetError> {
        self.seal(random, turn, numbers, |slot| {
            let clear = Header { parity: slot.parity, n: slot.n, turn: slot.turn }.encode();
            let body = 1 + clear.len();
            let mut message = Vec::with_capacity(body + plaintext.len() + AEAD_TAG);
            message.push(Suite::Ratchet.byte());
            message.extend_from_slice(clear.as_slice());
            message.extend_from_slice(plaintext);
            seal_siv_in_place(&slot.key, &NONCE, clear.associated(ad).as_slice(), &mut message, body)?;
            mask(slot.header, &mut message, 1..body);
            Ok(message)
        })
    }

    /// Encrypts one message in the thin form: 18 bytes longer than the plaintext, 54 while it carries the Ekp.
    /// `numbered` says that the plaintext holds the numbers; otherwise they are only bound, which
    /// [`implies`](Self::implies) has to allow.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt), and [`RatchetError::Numbers`].
    pub fn encrypt_thin(
        &mut self,
        random: &mut dyn Random,
        turn: bool,
        ad: &[u8; 32],
        numbers: Numbers,
        numbered: bool,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, RatchetError> {
        if !numbered && !self.implies(turn, numbers) {
            return Err(RatchetError::Numbers);
        }
        self.seal(random, turn, Some(numbers), |slot| {
            let header =
                ThinHeader { parity: slot.parity, numbered, low: ThinHeader::low(slot.n), turn: slot.turn };
            let mut message = header.encode();
            let associated = header.associated(ad, slot.n, numbers);
            let body = message.len();
            message.reserve(plaintext.len() + AEAD_TAG);
            message.extend_from_slice(plaintext);
            seal_siv_in_place(&slot.key, &NONCE, &associated, &mut message, body)?;
            mask(slot.header, &mut message, 0..body);
            Ok(message)
        })
    }

    /// Whether the receiver of the next message knows without being told that it has these numbers: every message
    /// of the chain counted one further from the first, which the receiver has shown that it knows.
    pub fn implies(&self, turn: bool, numbers: Numbers) -> bool {
        !(turn && self.may_turn)
            && self.sending.as_ref().is_some_and(|s| {
                let first = numbers.first(s.n);
                s.n > 0 && !s.announce && first.is_some() && first == s.first
            })
    }

    fn seal(
        &mut self,
        random: &mut dyn Random,
        turn: bool,
        numbers: Option<Numbers>,
        write: impl FnOnce(&Slot<'_>) -> Result<Vec<u8>, RatchetError>,
    ) -> Result<Vec<u8>, RatchetError> {
        if self.sending.is_none() || (turn && self.may_turn) {
            self.begin_chain(random)?;
        }
        let Some(sending) = &mut self.sending else { return Err(RatchetError::NotStarted) };
        let after = sending.n.checked_add(1).ok_or(RatchetError::Exhausted)?;
        let (key, chain) = chain_step(&sending.chain);
        let message = write(&Slot {
            key,
            header: &sending.header,
            parity: self.entered & 1 == 1,
            n: sending.n,
            turn: sending.announce.then_some((sending.ekp, sending.previous)),
        })?;
        let first = numbers.and_then(|numbers| numbers.first(sending.n));
        if sending.n == 0 {
            sending.first = first;
        } else if sending.first != first {
            // From here to the end of the chain, messages say their numbers.
            sending.first = None;
        }
        sending.chain = chain;
        sending.n = after;
        self.revision = self.revision.wrapping_add(1);
        Ok(message)
    }

    /// The sending step: a fresh Ekp against the other side's newest.
    fn begin_chain(&mut self, random: &mut dyn Random) -> Result<(), RatchetError> {
        let theirs = self.receiving.as_ref().ok_or(RatchetError::NotStarted)?.ekp;
        let own = DhSecret::generate(random)?;
        let ekp = own.public();
        let next = step(&self.root, &own.agree(&theirs)?, &ekp, &theirs);
        self.sending = Some(Sending {
            header: std::mem::replace(&mut self.next_send, next.header),
            chain: next.chain,
            n: 0,
            ekp,
            previous: self.sending.as_ref().map_or(0, |s| s.n),
            announce: true,
            first: None,
        });
        self.root = next.root;
        self.own = own;
        self.begun = self.begun.wrapping_add(1);
        self.may_turn = false;
        Ok(())
    }
}
