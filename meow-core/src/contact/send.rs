//! Sending: numbering, signing and sealing a content.

use super::event::{ContactError, Outgoing, SendError};
use super::state::{Contact, Phase};
use crate::crypto::Random;
use crate::message::{Body, Content, seen_is_short};
use crate::policy::Padding;
use crate::ratchet::{Numbers, RatchetError};

/// Messages that a lane may only listen to before it turns keys by itself.
const TURN_AFTER_MESSAGES: u32 = 20;
/// How long a lane may only listen before it turns keys by itself, in milliseconds.
const TURN_AFTER_MS: u64 = 24 * 60 * 60 * 1000;

impl Contact {
    /// Seals a content for the contact.
    ///
    /// # Errors
    /// [`SendError::NotYet`] before keys are confirmed both ways; [`SendError::Wire`] for one that is too long.
    pub fn send(&mut self, content: &Content, random: &mut dyn Random) -> Result<Outgoing, SendError> {
        match self.phase {
            Phase::Established => self.send_any(content, random),
            _ => Err(SendError::NotYet),
        }
    }

    /// Seals a content once more under the sequence that it had, because the contact lost its store. The driver
    /// goes through the sequences of [`Resend`](super::ContactEvent::Resend) in order.
    ///
    /// # Errors
    /// As [`send`](Self::send); a sequence that was never used is [`SendError::NotYet`].
    pub fn resend(
        &mut self,
        seq: u64,
        content: &Content,
        random: &mut dyn Random,
    ) -> Result<Outgoing, SendError> {
        if !matches!(self.phase, Phase::Established) || seq == 0 || seq >= self.sent.next {
            return Err(SendError::NotYet);
        }
        // What the protocol sent by itself is in no log.
        let content = &self.sent.kept(seq).unwrap_or(content).clone();
        self.sent.again(seq, content)?;
        self.seal(seq, content, random)
    }

    /// An empty message that turns keys, when this lane has listened for long.
    ///
    /// # Errors
    /// [`ContactError::Crypto`] without randomness.
    pub fn tick(&mut self, now_ms: u64, random: &mut dyn Random) -> Result<Option<Outgoing>, ContactError> {
        if !self.turn_due(now_ms) {
            return Ok(None);
        }
        Ok(Some(self.send_any(&Content::Empty, random)?))
    }

    /// Whether [`tick`](Self::tick) would send something.
    pub fn turn_due(&self, now_ms: u64) -> bool {
        let heard = self.listening;
        let due = heard.messages >= TURN_AFTER_MESSAGES
            || (heard.messages > 0 && now_ms.saturating_sub(heard.since_ms) >= TURN_AFTER_MS);
        due && matches!(self.phase, Phase::Established)
    }

    pub(super) fn send_any(
        &mut self,
        content: &Content,
        random: &mut dyn Random,
    ) -> Result<Outgoing, SendError> {
        let seq = self.sent.take(content)?;
        for gone in self.sent.make_room()? {
            self.tell_later(gone);
        }
        self.seal(seq, content, random)
    }

    fn seal(&mut self, seq: u64, content: &Content, random: &mut dyn Random) -> Result<Outgoing, SendError> {
        let parties = self.parties().ok_or(SendError::NotYet)?;
        let seen = self.got.seen();
        let mut body = Body {
            seq,
            epoch: self.me.lanes.epoch(),
            seen: seen.upto,
            digest: seen.short(),
            content: content.clone(),
            sig: None,
        };
        let short = seen_is_short(seen.upto, self.got.top);
        let signed = !(self.modes.mine && self.modes.theirs);
        // Receipts alone turn no keys: otherwise both sides would turn for ever.
        let turn = !matches!(content, Content::Receipt(_));
        let ratchet = &mut self.session.as_mut().ok_or(RatchetError::NotStarted)?.ratchet;
        let (ad, numbers) = (parties.associated_data(), Numbers { seq, epoch: body.epoch });
        let implied = short && ratchet.implies(turn, numbers);
        let overhead = ratchet.thin_overhead(turn);
        let thin = if self.thin && self.padding == Padding::P256 {
            body.fit_thin(implied, signed, overhead)?
        } else {
            None
        };
        if signed {
            body.sign(&parties, &self.me.lane)?;
        }
        let item = match thin {
            Some(size) => {
                let plain = body.to_thin(implied, size.saturating_sub(overhead))?;
                ratchet.encrypt_thin(random, turn, &ad, numbers, !implied, &plain)?
            }
            None => {
                let plain = body.to_padded_from(self.padding.item(), ratchet.overhead(turn))?;
                ratchet.encrypt_numbered(random, turn, &ad, numbers, &plain)?
            }
        };
        if turn {
            self.listening = super::state::Listening::default();
        }
        Ok(Outgoing { seq, item })
    }
}
