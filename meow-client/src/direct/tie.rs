//! What ties dials and links to the policy that allows them: once it does not, in whichever process that was said, they end
//! at once, and nothing that is under way becomes a link.

use std::collections::HashMap;
use std::sync::Arc;

use meow_core::identity::ContactId;
use meow_core::policy::{Policy, Route};
use meow_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::watch;

use super::Direct;
use crate::client::Inner;
use crate::records::contact;

/// What is allowed to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum May {
    /// This device dials the contact.
    Dial,
    /// The contact finds this device: it dials, or is dialled because it knocked.
    BeFound,
}

impl May {
    pub(super) fn under(self, policy: &Policy) -> bool {
        let directly = policy.routes.contains(&Route::Direct);
        match self {
            Self::Dial => directly,
            Self::BeFound => directly && policy.presence,
        }
    }
}

/// Held by a dial or a link for as long as it may go on.
#[derive(Clone)]
pub(super) struct Tie(watch::Receiver<()>);

impl Tie {
    pub(super) fn is_cut(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Until it is cut.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn cut(&mut self) {
        while self.0.changed().await.is_ok() {}
    }

    /// Work that ends with the tie.
    ///
    /// # Errors
    /// `Unreachable` where the tie is cut; else those of the work.
    pub(super) async fn hold<T>(mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cut() => Err(over()),
            done = work => done,
        }
    }
}

/// Nothing that was begun becomes a link.
pub(super) fn over() -> Error {
    let text =
        "direct links were ended meanwhile: by the policy, by another network, or since the client sleeps";
    Error::new(ErrorKind::Unreachable, text).with_retry(Retry::After(10))
}

/// All ties of a client.
#[derive(Default)]
pub(super) struct Ties(HashMap<(ContactId, May), watch::Sender<()>>);

impl Ties {
    pub(super) fn tie(&mut self, id: ContactId, may: May) -> Tie {
        self.0.retain(|_, held| held.receiver_count() > 0);
        Tie(self.0.entry((id, may)).or_default().subscribe())
    }

    pub(super) fn cut(&mut self, which: impl Fn(&ContactId, May) -> bool) {
        self.0.retain(|(id, may), _| !which(id, *may));
    }
}

impl Direct {
    /// A tie, to be made before the policy is read that allows it: then no change of it is missed.
    pub(super) fn tie(&self, id: ContactId, may: May) -> Tie {
        self.state().ties.tie(id, may)
    }

    /// Ends what the policy of a contact, which is in the store by now, does not allow.
    pub(crate) fn obey(&self, id: &ContactId, policy: &Policy) {
        self.cut(|other, may| other == id && !may.under(policy));
    }
}

impl Inner {
    /// Whether the policy of a contact allows this now. Under one that is gone nothing is.
    pub(super) async fn still_may(self: &Arc<Self>, id: ContactId, may: May) -> Result<bool> {
        self.policy_says(id, move |policy| may.under(policy)).await
    }

    /// Ends what the policies do not allow any more, as another process on this store has set them.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn obey_policies(self: &Arc<Self>) -> Result<()> {
        let tied: Vec<_> = self.direct.state().ties.0.keys().copied().collect();
        if tied.is_empty() {
            return Ok(());
        }
        let over = self
            .read(move |txn| {
                let mut over = Vec::new();
                for (id, may) in tied {
                    match contact(txn, &id) {
                        Ok(record) if may.under(&record.policy) => {}
                        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                        Ok(_) | Err(_) => over.push((id, may)),
                    }
                }
                Ok(over)
            })
            .await?;
        if !over.is_empty() {
            self.direct.cut(|id, may| over.contains(&(*id, may)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tie_that_is_cut_stays_cut_and_no_other_is() {
        let mut ties = Ties::default();
        let (one, two) = (ContactId::from_bytes([1; 16]), ContactId::from_bytes([2; 16]));
        let [dial, found, other] =
            [(one, May::Dial), (one, May::BeFound), (two, May::Dial)].map(|(id, may)| ties.tie(id, may));
        ties.cut(|id, may| *id == one && may == May::BeFound);
        assert_eq!([&dial, &found, &other].map(Tie::is_cut), [false, true, false]);
        let again = ties.tie(one, May::BeFound);
        assert!(found.is_cut() && !again.is_cut());
        let held = tokio::spawn(dial.hold(std::future::pending::<Result<()>>()));
        ties.cut(|id, _| *id == one);
        assert_eq!(held.await.unwrap().unwrap_err().kind(), ErrorKind::Unreachable);
        assert!(again.is_cut() && !other.is_cut());
        drop((again, other));
        ties.tie(one, May::Dial);
        assert_eq!(ties.0.len(), 1, "ties that nobody holds are forgotten");
    }
}
