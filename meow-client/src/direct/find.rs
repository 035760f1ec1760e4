//! Asking a contact's servers where it is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use meow_core::direct::{Reach, ReachFor, ReachUse};
use meow_core::lane::{Lookup, Place, ServerRef};
use meow_core::request::{Answer, Found, Knock, PresenceGet, RefusalCode, RequestKind, Seen};
use meow_core::transport::{Endpoint, Pattern};
use meow_core::wire::Fixed;
use meow_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use super::dial::Whom;
use super::offer::{direct_record, save_direct};
use super::places::{self, Places};
use super::tie::May;
use crate::client::{Client, Inner};
use crate::mailbox::unexpected;
use crate::records::{contact, contact_of};
use crate::route::Passage;
use crate::run::of_the_store;
use crate::server::{Room, refused};
use crate::servers::own_servers;

/// How long a server is waited for where somebody only wants to know how things are.
const LOOK: Duration = Duration::from_secs(10);
/// Answers with a record need this size class.
pub(super) const CLASS: Room = Room::Class(2);

/// What is known of where a contact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Presence {
    /// It waits at its server to be dialled.
    Online,
    /// It was there within ten minutes.
    Away,
    /// It shows nothing to us, or its server does not answer.
    Unknown,
}

impl Client {
    /// Where a contact is, as it lets us know: one request to its server. Needs no link to the contact.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, `System`; `Refused` where the policy does not allow both direct links and going straight to
    /// servers, since the contact's server would see this device's address.
    pub async fn presence(&self, name: &str) -> Result<Presence> {
        let (inner, name) = (&self.inner, name.to_owned());
        let id = inner.read(move |txn| contact_of(txn, &name)).await?;
        let whom = match inner.whom(id, May::Dial).await {
            Ok(whom) => whom,
            Err(e) if e.kind() == ErrorKind::Unreachable => return Ok(Presence::Unknown),
            Err(e) => return Err(e),
        };
        if !inner.still_leads(&Passage::straight(id)).await? {
            let text = format!("the policy of {} does not let servers see where this device is", whom.name);
            return Err(Error::new(ErrorKind::Refused, text));
        }
        for (server, mailbox) in inner.mailboxes_of(&whom).await? {
            match inner.ask_where(&whom, &server, &mailbox).await {
                Ok(Some((found, _))) if found.online => return Ok(Presence::Online),
                Ok(Some(_)) => return Ok(Presence::Away),
                Err(e) if of_the_store(&e) => return Err(e),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(Presence::Unknown)
    }

    /// Says where a contact is to be dialled, beside what it says itself: any scheme of this client on which both sides
    /// may speak at any time.
    ///
    /// # Errors
    /// `NotFound`; `UnknownScheme` or `Usage` for a place that cannot be dialled, or where a link carries one request and its
    /// answer only (http, https).
    pub async fn set_direct_places(&self, name: &str, places: Vec<Endpoint>) -> Result<()> {
        let (inner, name) = (&self.inner, name.to_owned());
        for place in &places {
            if inner.direct.transports.estimate(place)?.pattern == Pattern::Exchange {
                return Err(super::no_session(place));
            }
        }
        inner
            .write(move |txn, inner| {
                let id = contact_of(txn, &name)?;
                let mut direct = direct_record(txn, &id)?;
                direct.urls = places;
                inner.direct.may_try(&id);
                save_direct(txn, &id, &direct)
            })
            .await?;
        inner.outbox.notify_one();
        Ok(())
    }
}

/// A mailbox of a contact, and the right to ask there.
pub(super) struct Theirs {
    lkp: meow_core::crypto::VerifyKey,
    token: Fixed<16>,
}

impl Inner {
    /// The places of a contact that may be dialled, each server's together: of those at which the contact waits. It is told that
    /// it is dialled, and opens its own way for us.
    pub(super) async fn find(self: &Arc<Self>, whom: &Whom) -> Result<Vec<Places>> {
        let mut all = Vec::new();
        for (server, mailbox) in self.mailboxes_of(whom).await? {
            // The server before may have taken long.
            if !self.still_seeks(whom).await? {
                break;
            }
            let found = match self.ask_where(whom, &server, &mailbox).await {
                Ok(found) => found,
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => {
                    tracing::debug!(kind = e.kind().name(), "a server does not say where a contact is");
                    None
                }
            };
            // Who does not wait there is hardly where it was.
            let Some((found, reach)) = found.filter(|(found, _)| found.online) else {
                tracing::debug!("not dialled: a server does not show the contact as waiting for it");
                continue;
            };
            let named = places::allowed(&reach, &self.direct.addresses);
            if named.is_empty() {
                tracing::debug!("not dialled: the contact is at no place that may be dialled from here");
            }
            let mut places = Places { all: named, ..Places::default() };
            if !places.all.is_empty() && self.still_seeks(whom).await? {
                match self.knock(whom, &server, &mailbox, found.seen, &mut places).await {
                    Err(e) if of_the_store(&e) => return Err(e),
                    Err(e) => {
                        tracing::debug!(kind = e.kind().name(), "a contact was not told that it is dialled")
                    }
                    Ok(()) => {}
                }
            }
            all.push(places);
        }
        Ok(all)
    }

    /// Whether [`find`](Self::find) would give a place to dial, by one request to each server of the contact. Tells the contact
    /// nothing.
    ///
    /// # Errors
    /// Those of the store; `Unreachable` with why there is none.
    pub(super) async fn can_find(self: &Arc<Self>, whom: &Whom) -> Result<()> {
        let servers = self.mailboxes_of(whom).await?;
        let asked =
            servers.iter().map(|(server, mailbox)| timeout(LOOK, self.ask_where(whom, server, mailbox)));
        let (mut online, mut away, mut nothing) = (false, false, servers.is_empty());
        for answer in join_all(asked).await {
            match answer {
                Ok(Ok(Some((found, reach)))) if found.online => {
                    if !places::allowed(&reach, &self.direct.addresses).is_empty() {
                        return Ok(());
                    }
                    online = true;
                }
                Ok(Ok(Some(_))) => away = true,
                Ok(Ok(None)) => nothing = true,
                Ok(Err(e)) if of_the_store(&e) => return Err(e),
                // Another one may answer.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let name = &whom.name;
        let why = if online {
            format!("{name} is online, but at no place that may be dialled from here")
        } else if away {
            format!("{name} is away: its device does not wait to be dialled")
        } else if nothing {
            format!("no server shows where {name} is")
        } else {
            format!("no server at which {name} could be shown answers")
        };
        let text = format!("{why}; where you know a place, name it with `meow direct {name} --at URL`");
        Err(Error::new(ErrorKind::Unreachable, text))
    }

    /// Whether the policy still lets this device dial a contact, and ask straight at servers where it is.
    async fn still_seeks(self: &Arc<Self>, whom: &Whom) -> Result<bool> {
        let may = whom.may;
        self.policy_says(whom.id, move |policy| may.under(policy) && policy.shows_to_servers()).await
    }

    async fn mailboxes_of(self: &Arc<Self>, whom: &Whom) -> Result<Vec<(ServerRef, Theirs)>> {
        let id = whom.id;
        self.read(move |txn| {
            let record = contact(txn, &id)?;
            if !record.policy.shows_to_servers() {
                return Ok(Vec::new());
            }
            let places = record.machine.deposit_target().into_iter().flat_map(Lookup::places);
            let theirs = |place: &Place| Theirs { lkp: place.lkp, token: place.token };
            Ok(places.map(|place| (place.server.clone(), theirs(place))).collect())
        })
        .await
    }

    /// What a server shows of a contact, opened; `None` for nothing, or what is older than something seen before.
    async fn ask_where(
        self: &Arc<Self>,
        whom: &Whom,
        server: &ServerRef,
        mailbox: &Theirs,
    ) -> Result<Option<(Found, Reach)>> {
        let kind = RequestKind::PresenceGet(PresenceGet { mailbox: mailbox.lkp, token: mailbox.token });
        let found = match self.ask(&Passage::straight(whom.id), server, kind, CLASS, Duration::ZERO).await? {
            Answer::Found(found) => found,
            Answer::Refused(r) if r.code == RefusalCode::NotFound => return Ok(None),
            Answer::Refused(r) => return Err(refused(server, r)),
            _ => return Err(unexpected()),
        };
        let to = ReachFor {
            secret: &whom.secret,
            server: server.fingerprint(),
            mailbox: &mailbox.lkp,
            used: ReachUse::Presence,
        };
        // Under the secret of an older offer, or not the contact's: it will show another.
        let Ok(reach) = Reach::open(&found.record, &to) else { return Ok(None) };
        if reach.at_ms < whom.seen_ms {
            return Ok(None);
        }
        let (id, at_ms) = (whom.id, reach.at_ms);
        self.write(move |txn, _| {
            let mut direct = direct_record(txn, &id)?;
            direct.seen_ms = direct.seen_ms.max(at_ms);
            save_direct(txn, &id, &direct)
        })
        .await?;
        Ok(Some((found, reach)))
    }

    /// Tells a contact that waits where it is dialled from.
    async fn knock(
        self: &Arc<Self>,
        whom: &Whom,
        server: &ServerRef,
        mailbox: &Theirs,
        seen: Option<Seen>,
        places: &mut Places,
    ) -> Result<()> {
        let own = places::own(&self.direct.local.borrow(), seen);
        if own.is_empty() {
            return Ok(());
        }
        // The last one is where its server saw it.
        let asked = places.all.last().and_then(places::address);
        let at = asked.map_or(Fixed([0; 16]), |ip| Seen::new(ip, 0).address);
        let to = ReachFor {
            secret: &whom.secret,
            server: server.fingerprint(),
            mailbox: &mailbox.lkp,
            used: ReachUse::Knock,
        };
        let note = places::reach(&own, self.now_ms()).seal(&to, &mut *self.random.lock())?;
        let (mailbox, token) = (mailbox.lkp, mailbox.token);
        let knock = Knock { mailbox, token, at, note: Box::new(note) };
        match self
            .ask(&Passage::straight(whom.id), server, RequestKind::Knock(knock), Room::Small, Duration::ZERO)
            .await?
        {
            Answer::Heard(heard) => {
                let fingerprint = *server.fingerprint();
                let own = self
                    .read(move |txn| {
                        let own = own_servers(txn)?;
                        Ok(own.iter().any(|own| own.reference.fingerprint == fingerprint))
                    })
                    .await?;
                places.proven = asked.filter(|_| own && heard.there);
                Ok(())
            }
            Answer::Refused(r) => Err(refused(server, r)),
            _ => Err(unexpected()),
        }
    }
}
