//! A loop through a chain: to a mailbox server of one's own and back.

use std::sync::Arc;
use std::time::Duration;

use meow_core::Result;
use meow_core::identity::ContactId;
use meow_core::policy::{Chain, Route};
use meow_core::request::{Acknowledge, Answer, RequestKind};
use meow_core::wire::Fixed;

use super::chain::Fate;
use crate::client::Inner;
use crate::mailbox::{OwnMailbox, take_counter};
use crate::run::of_the_store;
use crate::server::Room;

/// What became of a loop.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// The servers that it passed, there and back, without the mailbox server.
    pub(crate) servers: Vec<[u8; 32]>,
    /// Whether it came back; `None` where it did not leave.
    pub(crate) came_back: Option<bool>,
}

impl Inner {
    /// Tells a mailbox server of a new count by one packet through a chain. One that is lost is not sent again: what
    /// became of it is what is asked.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn count_through(
        self: &Arc<Self>,
        chain: &Chain,
        id: ContactId,
        mailbox: &OwnMailbox,
    ) -> Result<Round> {
        let path = match self.draw(chain, &mailbox.ways, &mailbox.server).await {
            Ok(path) => path,
            Err(e) if of_the_store(&e) => return Err(e),
            Err(e) => {
                tracing::debug!(kind = e.kind().name(), "there is no chain for a loop now");
                return Ok(Round::default());
            }
        };
        if !self.still_allows(id, &Route::Matriochka(chain.clone())).await? {
            return Ok(Round::default());
        }
        let key = mailbox.key();
        let (counter, sealed) =
            self.write(move |txn, inner| Ok((take_counter(txn, &key)?, inner.counted.now(&id)))).await?;
        let body = Acknowledge { mailbox: mailbox.lkp.public(), counter, upto: 0, sig: Fixed([0; 64]) };
        let kind = RequestKind::Acknowledge(body.signed(mailbox.server.fingerprint(), &mailbox.lkp)?);
        let mut fate = Fate::Here;
        let answered = self
            .through(&path, chain, &mailbox.server, &kind, (Room::Small, Duration::ZERO), &mut fate)
            .await;
        match answered {
            Ok(Answer::Done) => self.counted.taken(&id, sealed),
            Err(e) if of_the_store(&e) => return Err(e),
            // Whatever the answer is, it came.
            _ => {}
        }
        let way = path.there.iter().rev().skip(1).chain(&path.back);
        Ok(Round {
            servers: way.map(|place| place.fingerprint).collect(),
            came_back: match fate {
                Fate::Here => None,
                Fate::Away => Some(false),
                Fate::Back => Some(true),
            },
        })
    }
}
