//! A loop through a chain: to a mailbox server of one's own and back.

use std::sync::Arc;
use std::time::Duration;

use meow_core::identity::ContactId;
use meow_core::policy::{Chain, Route};
use meow_core::request::{Acknowledge, Answer, RequestKind};
use meow_core::wire::Fixed;
use meow_core::{Result, Retry};

use super::chain::{ATTEMPTS, Fate};
use super::passage::Passage;
use super::ways::Under;
use crate::client::Inner;
use crate::mailbox::{OwnMailbox, take_counter};
use crate::run::of_the_store;
use crate::server::Room;

/// What became of one packet that went round.
#[derive(Debug)]
pub(crate) struct Round {
    /// The servers that it passed, there and back, without the mailbox server.
    pub(crate) servers: Vec<[u8; 32]>,
    pub(crate) came_back: bool,
}

impl Inner {
    /// Tells a mailbox server of a new count through a chain. A packet that is lost is followed by others, as with all
    /// requests: who drops one to see what follows learns nothing. Gives what became of each that left.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn count_through(
        self: &Arc<Self>,
        chain: &Chain,
        id: ContactId,
        mailbox: &OwnMailbox,
    ) -> Result<Vec<Round>> {
        let key = mailbox.key();
        let (counter, sealed) =
            self.write(move |txn, inner| Ok((take_counter(txn, &key)?, inner.counted.now(&id)))).await?;
        let body = Acknowledge { mailbox: mailbox.lkp.public(), counter, upto: 0, sig: Fixed([0; 64]) };
        let kind = RequestKind::Acknowledge(body.signed(mailbox.server.fingerprint(), &mailbox.lkp)?);
        let passage = Passage::to_ask(Under::Contact(id), &Route::Matriochka(chain.clone()));
        let mut rounds = Vec::new();
        for _ in 0..ATTEMPTS {
            let path = match self.draw(chain, &mailbox.ways, &mailbox.server).await {
                Ok(path) => path,
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => {
                    tracing::debug!(kind = e.kind().name(), "there is no chain for a loop now");
                    break;
                }
            };
            if !self.still_leads(&passage).await? {
                break;
            }
            let mut fate = Fate::Here;
            let answered = self
                .through(&path, &passage, &mailbox.server, &kind, (Room::Small, Duration::ZERO), &mut fate)
                .await;
            let way = path.there.iter().rev().skip(1).chain(&path.back);
            if fate != Fate::Here {
                let servers = way.map(|place| place.fingerprint).collect();
                rounds.push(Round { servers, came_back: fate == Fate::Back });
            }
            match answered {
                Ok(answer) => {
                    if answer == Answer::Done {
                        self.counted.taken(&id, &key, sealed);
                    }
                    break;
                }
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) if e.retry() == Retry::Never => break,
                Err(_) => {}
            }
        }
        Ok(rounds)
    }
}
