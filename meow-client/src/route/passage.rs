//! What a request goes by: a route, and the policy that has to allow it yet whenever something is about to leave.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use meow_core::identity::ContactId;
use meow_core::policy::{Chain, Policy, Route};
use meow_core::{ErrorKind, Result};

use super::ways::{Under, no_way};
use crate::client::Inner;
use crate::records::contact;
use crate::server::MayLeave;

/// What a request is for. Policies speak of both apart: where direct links alone are allowed nothing is deposited, and one's
/// own server is asked for mail all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// What is sent to the contact.
    Sending,
    /// All else that a mailbox server is asked.
    Asking,
}

/// A route that a request takes for as long as a policy allows it.
#[derive(Clone, Debug)]
pub(crate) struct Passage {
    under: Under,
    route: Route,
    purpose: Purpose,
}

impl Passage {
    /// For a deposit.
    pub(crate) fn to_send(id: ContactId, route: &Route) -> Self {
        Self { under: Under::Contact(id), route: route.clone(), purpose: Purpose::Sending }
    }

    /// For any other request.
    pub(crate) fn to_ask(under: Under, route: &Route) -> Self {
        Self { under, route: route.clone(), purpose: Purpose::Asking }
    }

    /// Straight, for a request other than a deposit about a contact.
    pub(crate) fn straight(id: ContactId) -> Self {
        Self::to_ask(Under::Contact(id), &Route::Server)
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// The chain that it leads through.
    pub(super) fn chain(&self) -> Result<&Chain> {
        match &self.route {
            Route::Matriochka(chain) => Ok(chain),
            _ => Err(no_way()),
        }
    }

    fn is_allowed(&self, policy: &Policy) -> bool {
        match self.purpose {
            Purpose::Sending => policy.routes.contains(&self.route),
            Purpose::Asking => Route::to_servers(&policy.routes).any(|route| *route == self.route),
        }
    }
}

/// A passage that a client takes.
struct Taken<'a>(&'a Arc<Inner>, &'a Passage);

impl MayLeave for Taken<'_> {
    fn may_leave(&self) -> BoxFuture<'_, Result<()>> {
        let Self(inner, passage) = *self;
        Box::pin(async move { if inner.still_leads(passage).await? { Ok(()) } else { Err(no_way()) } })
    }
}

impl Inner {
    /// Whether the policy of a contact says so now: it can change while something is under way. That of a contact who is gone
    /// says nothing.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn policy_says(
        self: &Arc<Self>,
        id: ContactId,
        what: impl Fn(&Policy) -> bool + Send + 'static,
    ) -> Result<bool> {
        self.read(move |txn| match contact(txn, &id) {
            Ok(record) => Ok(what(&record.policy)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        })
        .await
    }

    /// Whether the policy still allows a passage.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn still_leads(self: &Arc<Self>, passage: &Passage) -> Result<bool> {
        match passage.under {
            Under::Contact(id) => {
                let passage = passage.clone();
                self.policy_says(id, move |policy| passage.is_allowed(policy)).await
            }
            Under::NewContacts => Ok(passage.is_allowed(&self.default_policy().await?)),
            Under::Removed => Ok(true),
            Under::Weighed => Ok(false),
        }
    }

    /// The same, for each link that is made.
    pub(crate) fn by<'a>(self: &'a Arc<Self>, passage: &'a Passage) -> impl MayLeave + 'a {
        Taken(self, passage)
    }
}

#[cfg(test)]
mod tests {
    use meow_core::wire::List;

    use super::*;

    #[test]
    fn where_direct_links_alone_are_allowed_nothing_is_sent_by_a_server_that_is_asked_for_mail() {
        let id = ContactId::from_bytes([1; 16]);
        let (server, chain) = (Route::Server, Route::Matriochka(Chain::default()));
        for (routes, send, ask) in [
            (vec![Route::Direct], [false, false], [true, false]),
            (vec![Route::Direct, server.clone()], [true, false], [true, false]),
            (vec![Route::Direct, chain.clone()], [false, true], [false, true]),
            (vec![chain.clone(), server.clone()], [true, true], [true, true]),
        ] {
            let policy = Policy { routes: List::take(routes), ..Policy::default() };
            let both = [&server, &chain];
            assert_eq!(both.map(|r| Passage::to_send(id, r).is_allowed(&policy)), send, "{policy:?}");
            assert_eq!(
                both.map(|r| Passage::to_ask(Under::Contact(id), r).is_allowed(&policy)),
                ask,
                "{policy:?}"
            );
        }
    }
}
