//! The sessions of this store with servers: when one is opened, which counters this process may use, when it is forgotten
//! (spec, chapter "Sessions").

mod kept;
mod known;
mod open;

use std::sync::Arc;
use std::time::Duration;

use meow_core::Result;
use meow_core::crypto::{SigningKey, VerifyKey};
use meow_core::identity::ContactId;
use meow_core::lane::ServerRef;
use meow_core::policy::Route;
use meow_core::request::{Answer, RefusalCode};
use meow_core::session::{SessionKind, SessionRole};
use meow_core::wire::Fixed;

use crate::client::Inner;
use crate::route::Passage;
use crate::server::{Answered, Room, Seal, Session};
use kept::of_mailbox;
pub(crate) use kept::{SESSION, forget_closed, forget_sessions, is_kept};
use known::Opening;
pub(crate) use known::Sessions;

/// Requests of one mailbox and role in one run before a session is opened for them.
const BEFORE: u32 = 1;

/// Who asks, which server, with what right.
pub(crate) struct Place<'a> {
    pub(crate) contact: ContactId,
    pub(crate) server: &'a ServerRef,
    pub(crate) right: Right<'a>,
}

/// The right to a mailbox.
pub(crate) enum Right<'a> {
    /// It is one's own.
    Owner(&'a SigningKey),
    /// Its owner gave this token.
    Depositor { mailbox: VerifyKey, token: Fixed<16> },
}

/// A session that may serve.
#[derive(Clone)]
pub(crate) struct Ready {
    passage: Passage,
    key: Vec<u8>,
    session: Arc<Session>,
}

impl Place<'_> {
    fn mailbox(&self) -> VerifyKey {
        match &self.right {
            Right::Owner(lkp) => lkp.public(),
            Right::Depositor { mailbox, .. } => *mailbox,
        }
    }

    fn role(&self) -> SessionRole {
        match &self.right {
            Right::Owner(_) => SessionRole::Owner,
            Right::Depositor { .. } => SessionRole::Depositor,
        }
    }

    /// Sessions bind requests to an address: they are for what goes straight.
    fn passage(&self) -> Passage {
        match &self.right {
            Right::Owner(_) => Passage::straight(self.contact),
            Right::Depositor { .. } => Passage::to_send(self.contact, &Route::Server),
        }
    }

    fn key(&self) -> Vec<u8> {
        let mailbox = self.mailbox();
        let own = of_mailbox(&self.contact, self.role(), &mailbox);
        [&own[..], self.server.fingerprint()].concat()
    }
}

impl Inner {
    /// A session with a counter left, if there is one or one can be opened. An owner's opening takes a counter of the mailbox,
    /// so this comes before the counter of what is asked.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn session(self: &Arc<Self>, place: &Place<'_>) -> Result<Option<Ready>> {
        let key = place.key();
        let session = self.ready(place, &key).await?;
        Ok(session.map(|session| Ready { passage: place.passage(), key, session }))
    }

    /// Asks in a session. `None`: ask without; nothing was done, or what was done is the same request's effect.
    ///
    /// # Errors
    /// `Unreachable` and the like when no way leads to the server, and those of the store.
    pub(crate) async fn ask_in_session(
        self: &Arc<Self>,
        Ready { passage, key, session }: Ready,
        server: &ServerRef,
        kind: &SessionKind,
        room: Room,
        wait: Duration,
    ) -> Result<Option<Answer>> {
        let seal = Seal::Session(&session, kind);
        match self.ask_sealed(&passage, server, seal, room, wait).await? {
            Answered::Sealed { answer: Answer::Refused(r), .. } if of_the_session(r.code) => {
                self.session_failed(key, &session, true).await?;
                Ok(None)
            }
            Answered::Sealed { answer, .. } => {
                if let Some(known) = self.sessions.lock().get_mut(&key) {
                    known.served();
                }
                Ok(Some(answer))
            }
            Answered::NoSession { forget } => {
                self.session_failed(key, &session, forget).await?;
                Ok(None)
            }
        }
    }

    async fn ready(self: &Arc<Self>, place: &Place<'_>, key: &[u8]) -> Result<Option<Arc<Session>>> {
        let now = self.now_ms();
        let own = {
            let mut all = self.sessions.lock();
            let known = all.entry(key.to_vec()).or_default();
            match &known.session {
                Some(session) if session.ready(now) => return Ok(Some(Arc::clone(session))),
                other => other.is_some(),
            }
        };
        // A session of an earlier run belongs to the store: one that may be an older copy leaves it alone.
        if (own || self.is_fresh(&place.contact))
            && self.look_for_session(key, own)
            && let Some(session) = self.reserve(key).await?
        {
            return Ok(Some(self.keep_session(key, session)));
        }
        {
            let mut all = self.sessions.lock();
            let known = all.entry(key.to_vec()).or_default();
            known.session = None;
            known.asked = known.asked.saturating_add(1);
            if known.asked <= BEFORE || known.opening || known.rests() {
                return Ok(None);
            }
            known.opening = true;
        }
        let opening = Opening(&self.sessions, key);
        let opened = self.open_session(place, key).await;
        drop(opening);
        match opened {
            Ok(session) => Ok(Some(self.keep_session(key, session))),
            Err(e) if crate::run::of_the_store(&e) => Err(e),
            Err(e) => {
                tracing::debug!(kind = e.kind().name(), "a server grants no session");
                self.sessions.lock().entry(key.to_vec()).or_default().failed();
                Ok(None)
            }
        }
    }

    fn look_for_session(&self, key: &[u8], own: bool) -> bool {
        let mut all = self.sessions.lock();
        let known = all.entry(key.to_vec()).or_default();
        own || !std::mem::replace(&mut known.looked, true)
    }

    fn keep_session(&self, key: &[u8], session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        let mut all = self.sessions.lock();
        all.entry(key.to_vec()).or_default().session = Some(Arc::clone(&session));
        session
    }

    /// A session did not serve. It is forgotten, unless another has taken its place meanwhile.
    async fn session_failed(
        self: &Arc<Self>,
        key: Vec<u8>,
        session: &Arc<Session>,
        forget: bool,
    ) -> Result<()> {
        if !forget {
            return Ok(());
        }
        tracing::debug!("a session is over");
        {
            let mut all = self.sessions.lock();
            let known = all.entry(key.clone()).or_default();
            if known.session.as_ref().is_some_and(|other| !Arc::ptr_eq(other, session)) {
                return Ok(());
            }
            known.ended();
        }
        self.forget_session(key, Arc::clone(session)).await
    }
}

/// Refusals that the same request may not meet outside of the session.
fn of_the_session(code: RefusalCode) -> bool {
    matches!(code, RefusalCode::Denied | RefusalCode::StaleCounter | RefusalCode::TooLarge)
}
