//! Passing finished bytes on: to the contact's device, or to a place of its mailboxes, by the routes that the policy allows.

use std::sync::Arc;
use std::time::Duration;

use meow_core::delivery::Way;
use meow_core::identity::ContactId;
use meow_core::lane::{Lookup, Place};
use meow_core::policy::Route;
use meow_core::request::{Answer, Deposit, MAX_ITEM, RefusalCode, RequestKind};
use meow_core::session::SessionKind;
use meow_core::wire::Blob;
use meow_core::{Error, ErrorKind, Result, Retry};

use crate::client::Inner;
use crate::flush::sooner;
use crate::mailbox::unexpected;
use crate::route::{Passage, Ways, no_way};
use crate::run::of_the_store;
use crate::server::{Room, refused};
use crate::sessions::{Place as SessionPlace, Right};

/// Finished bytes, and where they may go.
pub(crate) struct Sending<'a> {
    pub(crate) contact: ContactId,
    /// How the contact and its servers may be reached.
    pub(crate) ways: &'a Ways,
    pub(crate) target: &'a Lookup,
    pub(crate) item: &'a [u8],
}

/// Who has the bytes now.
pub(crate) enum Passed {
    /// The contact's device.
    Directly,
    /// A server of it.
    At(Box<Place>, Way),
}

impl Inner {
    /// The places of a contact in the order in which to try them: what did not answer a moment ago comes last.
    pub(crate) fn in_order<'a>(&self, target: &'a Lookup) -> Vec<&'a Place> {
        let now = self.now_ms();
        let mut places: Vec<_> = target.places().iter().collect();
        places.sort_by_key(|place| self.hearing.rests(place.server.fingerprint(), now));
        places
    }

    /// Passes finished bytes on by the first route of the policy that works. What one route may have passed on already is the
    /// same for the next: the contact takes it once. Where none works it waits: nothing goes another way.
    pub(crate) async fn pass_on(self: &Arc<Self>, what: &Sending<'_>) -> Result<Passed> {
        let places = self.in_order(what.target);
        let mut waits = None;
        for route in what.ways.routes.iter() {
            if !self.still_leads(&Passage::to_send(what.contact, route)).await? {
                continue;
            }
            let passed = match route {
                Route::Direct => self.hand_over(what.contact, what.item).await.map(|()| Passed::Directly),
                _ => self.first_of(what, route, &places).await,
            };
            match passed {
                Ok(passed) => return Ok(passed),
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => waits = sooner(waits, Some(e)),
            }
        }
        Err(waits.unwrap_or_else(no_way))
    }

    /// Deposits finished bytes at one place, by the first route of the policy that works.
    pub(crate) async fn pass_to(self: &Arc<Self>, what: &Sending<'_>, place: &Place) -> Result<()> {
        let mut waits = None;
        for route in what.ways.routes.iter().filter(|route| **route != Route::Direct) {
            if !self.still_leads(&Passage::to_send(what.contact, route)).await? {
                continue;
            }
            match self.first_of(what, route, &[place]).await {
                Ok(_) => return Ok(()),
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => waits = sooner(waits, Some(e)),
            }
        }
        Err(waits.unwrap_or_else(no_way))
    }

    /// Deposits finished bytes at the first of these places that takes them, straight or through a chain. The id comes from
    /// the bytes, so that a deposit is the same in a session and outside, and as often as it is tried.
    async fn first_of(
        self: &Arc<Self>,
        what: &Sending<'_>,
        route: &Route,
        places: &[&Place],
    ) -> Result<Passed> {
        let way = match route {
            Route::Server => Way::Server,
            Route::Matriochka(_) => Way::Matriochka,
            _ => {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "this version knows no such route; change the policy",
                ));
            }
        };
        let passage = Passage::to_send(what.contact, route);
        let mut last = Error::new(ErrorKind::Malformed, "the contact named no server; ask for a new card");
        for (n, place) in places.iter().enumerate() {
            // The server before may have taken long.
            if n > 0 && !self.still_leads(&passage).await? {
                break;
            }
            let item = what.target.wrap(place, what.item)?;
            let item =
                Blob::new(item).map_err(|_| Error::new(ErrorKind::Bug, "a sealed item is too long"))?;
            let server = &place.server;
            let answered = match route {
                Route::Server => self.deposit_at(&passage, what.contact, place, &item).await,
                _ => {
                    let kind = deposit(place, &item);
                    self.ask_by(&passage, what.ways, server, kind, Room::Small, Duration::ZERO).await
                }
            };
            self.note_asked(&passage, server.fingerprint(), &answered).await?;
            last = match answered {
                Ok(Answer::Done) => return Ok(Passed::At(Box::new((*place).clone()), way)),
                Ok(Answer::Refused(r)) if r.code == RefusalCode::Denied => {
                    refused(server, r).with_retry(Retry::After(300))
                }
                Ok(Answer::Refused(r)) => refused(server, r),
                Ok(_) => unexpected(),
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => e,
            };
        }
        Err(last)
    }

    async fn deposit_at(
        self: &Arc<Self>,
        passage: &Passage,
        id: ContactId,
        to: &Place,
        item: &Blob<MAX_ITEM>,
    ) -> Result<Answer> {
        let (mailbox, token, server) = (to.lkp, to.token, &to.server);
        let place = SessionPlace { contact: id, server, right: Right::Depositor { mailbox, token } };
        let kind = SessionKind::Deposit { keep_secs: 0, item: item.clone() };
        if let Some(session) = self.session(&place).await?
            && let Some(answer) =
                self.ask_in_session(session, server, &kind, Room::Small, Duration::ZERO).await?
        {
            return Ok(answer);
        }
        self.ask(passage, server, deposit(to, item), Room::Small, Duration::ZERO).await
    }
}

/// The same however often it is made.
fn deposit(to: &Place, item: &Blob<MAX_ITEM>) -> RequestKind {
    let (mailbox, token) = (to.lkp, to.token);
    let id = Deposit::item_id(&mailbox, item);
    RequestKind::Deposit(Deposit { mailbox, token, id, keep_secs: 0, item: item.clone() })
}
