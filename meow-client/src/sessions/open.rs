//! Opening a session.

use std::sync::Arc;
use std::time::Duration;

use meow_core::Result;
use meow_core::request::{Answer, RequestKind, ServerShare, SessionBy, SessionOpen};
use meow_core::session::{SessionBinding, ShareSecret};
use meow_core::wire::Fixed;

use super::{Place, Right};
use crate::client::Inner;
use crate::mailbox::{counter_key, take_counter, unexpected};
use crate::server::{Answered, Room, Seal, Session, refused};

impl Inner {
    /// Opens a session in the form that the link asks for. It is durable, with its first counters, when this returns.
    ///
    /// # Errors
    /// `Refused` and the like when the server grants none.
    pub(super) async fn open_session(self: &Arc<Self>, place: &Place<'_>, key: &[u8]) -> Result<Session> {
        let (fat, thin) = {
            let mut random = self.random.lock();
            (ShareSecret::fat(&mut *random)?, ShareSecret::thin(&mut *random)?)
        };
        let (mailbox, server) = (place.mailbox(), place.server.fingerprint());
        let by = match &place.right {
            Right::Depositor { token, .. } => SessionBy::Depositor { token: *token },
            Right::Owner(lkp) => {
                let counted = counter_key(&lkp.public(), server);
                let counter = self.write(move |txn, _| take_counter(txn, &counted)).await?;
                SessionBy::Owner { counter, sig: Fixed([0; 64]) }
            }
        };
        let request = |secret: &ShareSecret| -> Result<RequestKind> {
            let body = SessionOpen { mailbox, by: by.clone(), share: secret.share() };
            Ok(RequestKind::SessionOpen(match &place.right {
                Right::Owner(lkp) => body.signed(server, lkp)?,
                Right::Depositor { .. } => body,
            }))
        };
        let (on_fat, on_thin) = (request(&fat)?, request(&thin)?);
        let seal = Seal::KeyByLink { fat: &on_fat, thin: &on_thin };
        let answered =
            self.ask_sealed(&place.passage(), place.server, seal, Room::Opening, Duration::ZERO).await?;
        let (opened, export) = match answered {
            Answered::Sealed { answer: Answer::Opened(opened), export: Some(export) } => (opened, export),
            Answered::Sealed { answer: Answer::Refused(r), .. } => return Err(refused(place.server, r)),
            _ => return Err(unexpected()),
        };
        let binding = SessionBinding { export: &export, server, role: place.role(), mailbox: &mailbox };
        let secret = match &opened.share {
            ServerShare::Fat(_) => fat.secret(&opened.share, &binding)?,
            ServerShare::Thin(_) => thin.secret(&opened.share, &binding)?,
        };
        self.keep_opened(key.to_vec(), secret, opened).await
    }
}
