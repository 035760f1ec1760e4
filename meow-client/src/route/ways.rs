//! Which ways requests about one contact may go, and going them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use meow_core::identity::ContactId;
use meow_core::lane::{Lookup, ServerRef};
use meow_core::policy::{Chain, MAX_ROUTES, Route};
use meow_core::request::{Answer, RequestKind};
use meow_core::store::StoreTxn;
use meow_core::wire::{Fixed, List};
use meow_core::{Error, ErrorKind, Result, Retry};
use serde::{Deserialize, Serialize};

use super::hops::KnownHop;
use super::known::in_pool;
use super::passage::Passage;
use crate::client::Inner;
use crate::contacts::every_contact;
use crate::policy::default_policy;
use crate::records::ContactRecord;
use crate::run::of_the_store;
use crate::server::{Room, counter_of_own};

/// Servers that are kept from being first at most: what one contact's mailboxes can be on.
const MAX_AVOIDED: usize = 40;

/// Whose policy says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Under {
    /// That of a contact, as it is at each attempt.
    Contact(ContactId),
    /// That which new contacts get, as it is at each attempt.
    NewContacts,
    /// That of a contact who was removed, as it was then.
    #[default]
    Removed,
    /// One that is weighed, and not set: nothing goes by it, and nobody learns this device's address for its sake.
    #[serde(skip)]
    Weighed,
}

/// By which ways requests about one contact may go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ways {
    pub(crate) under: Under,
    /// In the user's order.
    pub(crate) routes: List<Route, MAX_ROUTES>,
    /// The mailbox servers of both sides: where a route is a chain, none of them sees this device's address, so none is
    /// the first server of any chain.
    pub(crate) avoid: List<Fixed<32>, MAX_AVOIDED>,
}

impl Ways {
    pub(crate) fn new<'a>(
        under: Under,
        routes: List<Route, MAX_ROUTES>,
        mailboxes: impl Iterator<Item = &'a ServerRef>,
    ) -> Self {
        let mut seen = BTreeSet::new();
        let avoid =
            mailboxes.map(|server| Fixed(*server.fingerprint())).filter(|server| seen.insert(*server));
        Self { under, routes, avoid: List::take(avoid) }
    }

    /// These, where mailboxes are made on further servers.
    pub(crate) fn and_on(&self, servers: &[ServerRef]) -> Self {
        let new = servers.iter().map(|server| Fixed(*server.fingerprint()));
        let old = self.avoid.iter().filter(|old| servers.iter().all(|new| *new.fingerprint() != old.0));
        Self { avoid: List::take(new.chain(old.copied())), ..self.clone() }
    }

    /// Those that the policy of a contact allows.
    pub(crate) fn of(record: &ContactRecord) -> Self {
        let own = record.machine.mailboxes().iter().rev().map(|mailbox| &mailbox.server);
        let theirs = record.machine.deposit_target().into_iter().flat_map(Lookup::servers);
        Self::new(Under::Contact(*record.machine.id()), record.policy.routes.clone(), theirs.chain(own))
    }

    /// Those of all policies that are set.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn all(txn: &dyn StoreTxn) -> Result<Vec<Self>> {
        let new = Self::new(Under::NewContacts, default_policy(txn)?.routes, std::iter::empty());
        let contacts = every_contact(txn)?;
        Ok(std::iter::once(new).chain(contacts.iter().map(|(_, record)| Self::of(record))).collect())
    }

    /// Whether one of these chains may begin at a server.
    pub(super) fn begin_at(&self, hop: &KnownHop) -> bool {
        let begins = |route: &Route| matches!(route, Route::Matriochka(chain) if self.may_begin(chain, hop));
        self.routes.iter().any(begins)
    }

    /// Whether this chain of theirs may.
    pub(super) fn may_begin(&self, chain: &Chain, hop: &KnownHop) -> bool {
        in_pool(hop, &chain.first) && !self.avoid.contains(&Fixed(hop.reference.fingerprint))
    }
}

impl Inner {
    /// Asks a server by one route, for as long as that is allowed.
    ///
    /// # Errors
    /// Those of the route; `Unreachable` where the policy allows it no more.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the server acted.
    pub(crate) async fn ask_by(
        self: &Arc<Self>,
        passage: &Passage,
        ways: &Ways,
        server: &ServerRef,
        kind: RequestKind,
        room: Room,
        wait: Duration,
    ) -> Result<Answer> {
        match passage.route() {
            Route::Server => self.ask(passage, server, kind, room, wait).await,
            Route::Matriochka(_) => self.ask_through(passage, ways, server, kind, room, wait).await,
            _ => Err(no_way()),
        }
    }

    /// Asks a server by the first route that works and is still allowed. The request may reach it twice: for those that are
    /// idempotent.
    ///
    /// # Errors
    /// That of the last route.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the server acted.
    pub(crate) async fn ask_any(
        self: &Arc<Self>,
        ways: &Ways,
        server: &ServerRef,
        kind: RequestKind,
        room: Room,
    ) -> Result<Answer> {
        let mut last = no_way();
        for (n, route) in Route::to_servers(&ways.routes).enumerate() {
            let passage = Passage::to_ask(ways.under, route);
            if !self.still_leads(&passage).await? {
                continue;
            }
            match self.ask_by(&passage, ways, server, kind.clone(), room, Duration::ZERO).await {
                Ok(answer) if n > 0 => return Ok(counter_of_own(&kind, answer)),
                Ok(answer) => return Ok(answer),
                Err(e) if of_the_store(&e) => return Err(e),
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}

/// Nothing of the policy leads to a server.
pub(crate) fn no_way() -> Error {
    Error::new(
        ErrorKind::Unreachable,
        "no route of the policy leads there now; `meow policy` shows and changes what is allowed",
    )
    .with_retry(Retry::After(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_a_new_mailbox_are_the_first_of_no_chain_either() {
        let server = |n| ServerRef::new([n; 32], &[]).unwrap();
        let all = [1, 2, 3].map(server);
        let ways = Ways::new(Under::NewContacts, List::take([Route::Server]), all[..2].iter());
        let more = ways.and_on(&all[1..]);
        assert_eq!(more.routes, ways.routes);
        assert_eq!(*more.avoid, [Fixed([2; 32]), Fixed([3; 32]), Fixed([1; 32])]);
        // The new ones are kept from being first even if there are too many.
        let many: Vec<_> = (0..MAX_AVOIDED as u8).map(|n| server(100 + n)).collect();
        let full = Ways::new(Under::NewContacts, List::default(), many.iter()).and_on(&all);
        assert!(
            full.avoid.len() == MAX_AVOIDED
                && all.iter().all(|s| full.avoid.contains(&Fixed(*s.fingerprint())))
        );
    }
}
