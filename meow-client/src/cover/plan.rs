//! The moments of all contacts, in the store: all processes on it share them.

use meow_core::cover::{Look, Loops, Moments};
use meow_core::identity::ContactId;
use meow_core::policy::{Pause, Policy};
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};

use crate::client::Inner;
use crate::records::{decode, load, next_number, save};

/// Prefix of the moments at which something is sent to a contact.
pub(crate) const COVER: &[u8] = b"cover:";
/// Prefix of the moments at which a loop is sent.
pub(crate) const LOOPS: &[u8] = b"loops:";
/// Prefix of the notes on what became of loops.
pub(crate) const LOOPED: &[u8] = b"looped:";
/// Counts changes of policies that matter here: other processes learn of them.
pub(crate) const PLANS: &[u8] = b"plans";

/// What leaves at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// What waits for the contact, or a message that says nothing.
    Send,
    /// A loop.
    Loop,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Send, Self::Loop];

    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Send => COVER,
            Self::Loop => LOOPS,
        }
    }

    fn pause(self, policy: &Policy) -> Option<Pause> {
        match self {
            Self::Send => policy.cover,
            Self::Loop => policy.loops,
        }
    }

    fn key(self, id: &ContactId) -> Vec<u8> {
        [self.prefix(), id.as_bytes()].concat()
    }
}

/// Has the moments of a contact follow its policy, from the transaction that sets the policy on.
pub(crate) fn plan(txn: &mut dyn StoreTxn, inner: &Inner, id: &ContactId, policy: &Policy) -> Result<()> {
    let mut changed = false;
    for kind in Kind::ALL {
        let key = kind.key(id);
        let old: Option<Moments> = load(txn, Table::Meta, &key)?;
        match kind.pause(policy) {
            Some(pause) if old.is_some_and(|old| old.pause() == pause) => {}
            Some(pause) => {
                let moments = Moments::begin(pause, inner.now_ms(), &mut *inner.random.lock())?;
                save(txn, Table::Meta, &key, &moments)?;
                changed = true;
            }
            None if old.is_some() => {
                txn.delete(Table::Meta, &key)?;
                changed = true;
            }
            None => {}
        }
    }
    if policy.loops.is_none() {
        txn.delete(Table::Meta, &[LOOPED, id.as_bytes()].concat())?;
    }
    if changed {
        next_number(txn, PLANS)?;
        inner.cover.notify_one();
    }
    Ok(())
}

/// What became of the loops of a contact.
pub(crate) fn loops_of(txn: &dyn StoreTxn, id: &ContactId) -> Result<Loops> {
    Ok(load(txn, Table::Meta, &[LOOPED, id.as_bytes()].concat())?.unwrap_or_default())
}

pub(super) fn save_loops(txn: &mut dyn StoreTxn, id: &ContactId, loops: &Loops) -> Result<()> {
    save(txn, Table::Meta, &[LOOPED, id.as_bytes()].concat(), loops)
}

/// All moments: whose, of what, and when to look.
pub(super) fn planned(txn: &dyn StoreTxn) -> Result<Vec<(Kind, ContactId, u64)>> {
    const PAGE: usize = 256;
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = txn.scan(Table::Meta, kind.prefix(), after.as_deref(), PAGE, false)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (key, value) in &rows {
                let id = key.strip_prefix(kind.prefix()).and_then(|id| id.first_chunk::<16>());
                let id = id.ok_or_else(|| {
                    Error::new(ErrorKind::Damaged, "the store holds a damaged note; restore a backup")
                })?;
                let moments: Moments = decode(Table::Meta, value)?;
                all.push((kind, ContactId::from_bytes(*id), moments.next_ms()));
            }
        }
    }
    Ok(all)
}

/// What a moment has sent to a contact is through: moments that fell meanwhile are gone.
pub(super) fn pass(txn: &mut dyn StoreTxn, inner: &Inner, id: &ContactId) -> Result<()> {
    let key = Kind::Send.key(id);
    let Some(mut moments) = load::<Moments>(txn, Table::Meta, &key)? else { return Ok(()) };
    if moments.pass(inner.now_ms(), &mut *inner.random.lock())? {
        save(txn, Table::Meta, &key, &moments)?;
    }
    Ok(())
}

/// Takes a moment of a contact, if it is one: durably once the transaction is, so that no other process takes it too.
pub(super) fn take(txn: &mut dyn StoreTxn, inner: &Inner, kind: Kind, id: &ContactId) -> Result<bool> {
    let key = kind.key(id);
    let Some(mut moments) = load::<Moments>(txn, Table::Meta, &key)? else { return Ok(false) };
    let before = moments;
    let look = moments.look(inner.now_ms(), &mut *inner.random.lock())?;
    if moments != before {
        save(txn, Table::Meta, &key, &moments)?;
    }
    Ok(look == Look::Now)
}
