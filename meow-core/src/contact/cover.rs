//! What goes to a contact at a moment of cover traffic at which nothing waits.

use super::event::{ContactError, Outgoing};
use super::state::{Contact, Phase};
use crate::crypto::Random;
use crate::message::Content;
use crate::policy::Receipts;

impl Contact {
    /// What is due by itself, a receipt or a turn of keys, and otherwise, with `fill`, a message that says nothing. Before
    /// keys are confirmed there is nothing. Time is in Unix milliseconds.
    ///
    /// # Errors
    /// [`ContactError`] without randomness.
    pub fn cover(
        &mut self,
        receipts: Receipts,
        fill: bool,
        now_ms: u64,
        random: &mut dyn Random,
    ) -> Result<Option<Outgoing>, ContactError> {
        if !matches!(self.phase, Phase::Established) {
            return Ok(None);
        }
        if let Some(receipt) = self.take_receipt(receipts, random)? {
            return Ok(Some(receipt));
        }
        if fill {
            // Keys turn by it as by any content.
            return Ok(Some(self.send(&Content::Cover, random)?));
        }
        self.tick(now_ms, random)
    }
}
