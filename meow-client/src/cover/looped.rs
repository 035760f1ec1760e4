//! Loops: packets to a mailbox server of one's own and back, through chains drawn as for all others.

use std::sync::Arc;

use meow_core::identity::ContactId;
use meow_core::policy::{Chain, Route};
use meow_core::store::{StoreTxn, Table};
use meow_core::{ErrorKind, Result};

use super::plan::{Kind, loops_of, save_loops, take};
use crate::client::Inner;
use crate::contacts::own_mailboxes;
use crate::event::EventKind;
use crate::mailbox::OwnMailbox;
use crate::records::{MailboxRecord, contact, load};

impl Inner {
    /// Sends a loop, if it is a moment for one, and notes whether it came back. It is the request by which a server is told
    /// of a new count: one packet there and back, like a message's.
    pub(super) async fn loop_at_moment(self: &Arc<Self>, id: ContactId) -> Result<()> {
        let go = self
            .write(move |txn, inner| match take(txn, inner, Kind::Loop, &id)? {
                true => inner.loop_of(txn, &id),
                false => Ok(None),
            })
            .await?;
        // The next moment can fall while this one's loop is under way.
        self.cover.notify_one();
        let Some((chain, mailbox)) = go else { return Ok(()) };
        if !self.is_fresh(&id) {
            // A counter goes out once until the store is proven current.
            return self.prove_current(id).await;
        }
        let rounds = self.count_through(&chain, id, &mailbox).await?;
        if rounds.is_empty() {
            return Ok(());
        }
        self.write(move |txn, inner| {
            let record = match contact(txn, &id) {
                Ok(record) if record.policy.loops.is_some() => record,
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => return Ok(()),
            };
            let mut loops = loops_of(txn, &id)?;
            let tell =
                rounds.iter().fold(false, |tell, round| tell | loops.note(&round.servers, round.came_back));
            save_loops(txn, &id, &loops)?;
            if !tell {
                return Ok(());
            }
            inner.emit(txn, &record.name, EventKind::LoopsLost { in_a_row: loops.lost_in_a_row() })
        })
        .await
    }

    /// The chain of a contact's policy, and one of the mailboxes for it.
    fn loop_of(&self, txn: &mut dyn StoreTxn, id: &ContactId) -> Result<Option<(Chain, OwnMailbox)>> {
        let record = match contact(txn, id) {
            Ok(record) => record,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let chain = record.policy.routes.iter().find_map(|route| match route {
            Route::Matriochka(chain) => Some(chain.clone()),
            _ => None,
        });
        let mut mailboxes = Vec::new();
        for mailbox in own_mailboxes(&record) {
            let known: Option<MailboxRecord> = load(txn, Table::Mailboxes, &mailbox.key())?;
            if known.is_some_and(|known| known.registered) {
                mailboxes.push(mailbox);
            }
        }
        let Some(chain) = chain.filter(|_| !mailboxes.is_empty()) else { return Ok(None) };
        let one = crate::route::below(mailboxes.len(), &mut *self.random.lock())?;
        Ok(Some((chain, mailboxes.swap_remove(one))))
    }
}
