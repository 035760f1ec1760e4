//! Receipts, in both directions.

use super::event::{ContactError, ContactEvent, Outgoing, Output};
use super::state::{Contact, Phase};
use crate::crypto::Random;
use crate::message::{Content, Receipt};
use crate::policy::Receipts;
use crate::wire::List;

/// A message that the other side lacks is sent again, but not more often than this, in milliseconds.
const AGAIN_MS: u64 = 60 * 60 * 1000;
/// Single sequences in one receipt.
const MAX_ALSO: usize = 64;

impl Contact {
    /// One receipt for everything new, if the policy wants the contact to know. None before the contact is
    /// established, and none for receipts.
    ///
    /// # Errors
    /// [`ContactError::Send`].
    pub fn take_receipt(
        &mut self,
        policy: Receipts,
        random: &mut dyn Random,
    ) -> Result<Option<Outgoing>, ContactError> {
        let news =
            (policy.decrypted && self.told.owed) || (policy.read && self.told.read > self.told.told_read);
        if !news || !matches!(self.phase, Phase::Established) {
            return Ok(None);
        }
        let mut receipt = Receipt::default();
        if policy.decrypted {
            receipt.decrypted = self.got.have();
            receipt.also = List::take(self.got.beyond(MAX_ALSO));
        }
        if policy.read {
            receipt.read = self.told.read;
        }
        let out = self.send(&Content::Receipt(receipt), random)?;
        self.told.owed = false;
        self.told.told_read = self.told.read;
        Ok(Some(out))
    }

    /// The sequence up to which the contact has everything of ours, by its receipts and by what its messages say that it has
    /// seen.
    pub fn acknowledged(&self) -> u64 {
        self.told.decrypted.max(self.seen_by_contact())
    }

    /// Single sequences beyond [`acknowledged`](Self::acknowledged) that the contact has, says a receipt.
    pub fn acknowledged_also(&self) -> &[u64] {
        &self.told.also
    }

    /// Notes that the user has seen the contact's messages up to this sequence.
    pub fn mark_read(&mut self, seq: u64) {
        self.told.read = self.told.read.max(seq.min(self.got.top));
    }

    pub(super) fn note_receipt(&mut self, receipt: &Receipt, now_ms: u64, output: &mut Output) {
        let last = self.sent.last();
        let upto = receipt.decrypted.min(last);
        let was = self.told.decrypted;
        let before = std::mem::take(&mut self.told.also);
        // From one that was told before to the next; after a renewal sequences can lie far apart.
        let mut from = was.saturating_add(1);
        let mut known: Vec<u64> = before.iter().copied().filter(|s| *s <= upto).collect();
        known.sort_unstable();
        for known in known {
            if from < known {
                output.events.push(ContactEvent::Decrypted { from, to: known - 1 });
            }
            from = from.max(known + 1);
        }
        if from <= upto {
            output.events.push(ContactEvent::Decrypted { from, to: upto });
        }
        self.told.decrypted = was.max(upto);
        let mut also = before;
        let beyond = self.told.decrypted;
        for seq in receipt.also.iter().copied().filter(|s| *s <= last && *s > beyond) {
            if !also.contains(&seq) {
                also.push(seq);
                output.events.push(ContactEvent::Decrypted { from: seq, to: seq });
            }
        }
        also.retain(|s| *s > self.told.decrypted);
        also.truncate(4 * MAX_ALSO);
        self.told.also = also;
        self.sent.acknowledged(self.told.decrypted, &self.told.also);
        self.fill_holes(now_ms, output);
        let shown = receipt.read.min(last);
        if shown > self.told.shown {
            self.told.shown = shown;
            output.events.push(ContactEvent::ReadUpTo { seq: shown });
        }
    }

    /// What lies between messages that the other side has was lost on the way: it is sent again.
    fn fill_holes(&mut self, now_ms: u64, output: &mut Output) {
        let upto = self.told.decrypted;
        self.told.again.retain(|seq, _| *seq > upto);
        let Some(highest) = self.told.also.iter().copied().max() else { return };
        if !matches!(self.phase, Phase::Established) {
            // The renewal sends again what is lacking.
            return;
        }
        let lacking = (upto + 1..highest).filter(|s| !self.told.also.contains(s)).take(MAX_ALSO);
        for seq in lacking {
            let last = self.told.again.get(&seq);
            if last.is_none_or(|at| now_ms.abs_diff(*at) >= AGAIN_MS) {
                self.told.again.insert(seq, now_ms);
                output.events.push(ContactEvent::Resend { from: seq, to: seq });
            }
        }
    }
}
