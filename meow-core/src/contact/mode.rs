//! Signed or deniable: what both sides wish.

use super::event::{ContactError, Outgoing};
use super::state::Contact;
use crate::crypto::Random;
use crate::message::Content;

impl Contact {
    /// Says whether this side wishes deniable messages. They are deniable once both sides wish it. Nothing is
    /// sent when that is the wish already.
    ///
    /// # Errors
    /// [`ContactError::Send`] before the contact is established.
    pub fn set_deniable(
        &mut self,
        deniable: bool,
        random: &mut dyn Random,
    ) -> Result<Option<Outgoing>, ContactError> {
        if self.modes.mine == deniable {
            return Ok(None);
        }
        let out = self.send(&Content::Mode { deniable }, random)?;
        self.modes.mine = deniable;
        if !deniable {
            self.modes.signed_since = out.seq;
        }
        Ok(Some(out))
    }

    /// Both sides wish deniable messages.
    pub fn deniable(&self) -> bool {
        self.modes.mine && self.modes.theirs
    }

    pub(super) fn note_mode(&mut self, seq: u64, deniable: bool) {
        // The newest statement counts, in whatever order they come.
        if seq >= self.modes.theirs_at {
            self.modes.theirs = deniable;
            self.modes.theirs_at = seq;
        }
    }
}
