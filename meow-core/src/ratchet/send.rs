//! The sending half: turns and encryption.

use crate::crypto::{AEAD_TAG, DhSecret, Random, chain_step, seal_siv_in_place};
use crate::wire::Suite;

use super::header::{Header, mask};
use super::{NONCE, Ratchet, RatchetError, Sending, step};

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
        if self.sending.is_none() || (turn && self.may_turn) {
            self.begin_chain(random)?;
        }
        let Some(sending) = &mut self.sending else { return Err(RatchetError::NotStarted) };
        let after = sending.n.checked_add(1).ok_or(RatchetError::Exhausted)?;
        let header = Header {
            parity: self.entered & 1 == 1,
            n: sending.n,
            turn: sending.announce.then_some((sending.ekp, sending.previous)),
        };
        let (key, chain) = chain_step(&sending.chain);
        let clear = header.encode();

        let body = 1 + clear.len();
        let mut message = Vec::with_capacity(body + plaintext.len() + AEAD_TAG);
        message.push(Suite::Ratchet.byte());
        message.extend_from_slice(clear.as_slice());
        message.extend_from_slice(plaintext);
        seal_siv_in_place(&key, &NONCE, clear.associated(ad).as_slice(), &mut message, body)?;
        mask(&sending.header, &mut message, body);

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
        });
        self.root = next.root;
        self.own = own;
        self.begun = self.begun.wrapping_add(1);
        self.may_turn = false;
        Ok(())
    }
}
