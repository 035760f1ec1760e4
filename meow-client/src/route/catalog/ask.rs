//! Asking for catalogs.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use meow_core::lane::{ServerRef, ServerReference};
use meow_core::onion::HopId;
use meow_core::policy::Chain;
use meow_core::request::{Answer, CatalogGet, CatalogPage, Descriptor, MAX_ONWARD, RequestKind};
use meow_core::wire::List;
use meow_core::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Catalog, Directory, Shown, add};
use crate::client::Inner;
use crate::mailbox::unexpected;
use crate::route::hops::{KnownHop, known_hops};
use crate::route::known::{Known, View};
use crate::route::ways::{Under, Ways};
use crate::server::{Always, Answered, Ask, Room, Seal, Servers, To, refused};
use crate::servers::own_servers;

/// How long a catalog is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// Of a page: 32 KiB.
const PAGE: Room = Room::Class(4);

impl Inner {
    pub(crate) fn directory(&self) -> MutexGuard<'_, Directory> {
        // Whole after every statement that holds the lock.
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a server says of itself, as far as it was asked or is in a catalog.
    pub(crate) fn described(&self, fingerprint: &[u8; 32]) -> Option<Arc<Descriptor>> {
        let asked = self.servers.told().descriptor(fingerprint);
        asked.or_else(|| self.directory().shown(fingerprint).cloned())
    }

    /// What chains to a server can be drawn of. The catalogs of those that may be first are asked for where they are not fresh,
    /// each once however many ask; they are waited for where chains cannot be drawn before. Whole catalogs: what is asked says
    /// nothing of who is meant. No mailbox server of these `ways` is asked; and where they are only weighed nobody at whom no
    /// policy has chains begin, unless the user trusts it.
    ///
    /// # Errors
    /// Those of the store. Servers that do not answer cannot be first.
    ///
    /// # Cancel safety
    /// Cancel-safe; what was asked for still comes, unless the client ends or sleeps.
    pub(in crate::route) async fn places(
        self: &Arc<Self>,
        chain: &Chain,
        target: &HopId,
        ways: &Ways,
    ) -> Result<Known> {
        let weighed = ways.under == Under::Weighed;
        let (hops, own, set) = self
            .read(move |txn| {
                let set = if weighed { Ways::all(txn)? } else { Vec::new() };
                Ok((known_hops(txn)?, own_servers(txn)?, set))
            })
            .await?;
        let may_be_asked =
            |hop: &&KnownHop| !weighed || hop.marks.trusted || set.iter().any(|ways| ways.begin_at(hop));
        let may_be_first = hops.iter().filter(|hop| ways.may_begin(chain, hop));
        let (firsts, unasked): (Vec<_>, Vec<_>) = may_be_first.partition(may_be_asked);
        let waited_for: Vec<_> = {
            let mut directory = self.directory();
            let nothing = !firsts.iter().any(|hop| directory.answers(&hop.reference.fingerprint));
            let look = |hop: &KnownHop| {
                directory.look(hop.reference.fingerprint, nothing, |asking| {
                    let (client, servers) = (Arc::downgrade(self), Arc::clone(&self.servers));
                    tokio::spawn(ask_catalog(client, servers, hop.clone(), asking));
                })
            };
            firsts.into_iter().filter_map(look).collect()
        };
        // Nothing is ever sent by these: they end.
        join_all(waited_for.into_iter().map(|mut end| async move { end.changed().await })).await;
        let mut directory = self.directory();
        directory.keep(&hops);
        let own = own.iter().map(|own| own.reference.fingerprint).collect();
        let view = View::new(&directory, &hops, &own, &chain.first);
        let (places, firsts) = (view.places(), view.firsts());
        let unasked = unasked.iter().filter(|hop| !directory.answers(&hop.reference.fingerprint)).count();
        Ok(Known { places, firsts, failed: directory.failed.of(target), unasked })
    }

    /// Where the first server of a chain is: as the user says, with credentials, and as its descriptor says.
    pub(in crate::route) async fn named_hop(self: &Arc<Self>, fingerprint: [u8; 32]) -> Result<KnownHop> {
        let hops = self.read(known_hops).await?;
        let found = hops.into_iter().find(|hop| hop.reference.fingerprint == fingerprint);
        found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the first server of a chain was removed; try again")
        })
    }
}

/// Asks a hop for its catalog while somebody waits for it, or the client draws chains. It does not keep the client, nor its
/// store.
async fn ask_catalog(client: Weak<Inner>, servers: Arc<Servers>, hop: KnownHop, asking: watch::Sender<()>) {
    let came = tokio::select! {
        came = timeout(PATIENCE, servers.catalog_of(&hop)) => came,
        // All was forgotten, or the client is gone, and nobody waits.
        () = asking.closed() => return,
    };
    let shown = match came {
        Ok(Ok(shown)) => Some(shown),
        Ok(Err(e)) => {
            tracing::debug!(kind = e.kind().name(), "a hop does not show its catalog");
            None
        }
        Err(_) => None,
    };
    if let Some(inner) = client.upgrade() {
        inner.directory().heard(hop.reference.fingerprint, &asking, shown);
    }
}

impl Servers {
    /// Asks for a catalog, and says whether it shows every server that the hop sends on to.
    async fn catalog_of(&self, hop: &KnownHop) -> Result<(Catalog, bool)> {
        let fingerprint = hop.reference.fingerprint;
        let server = ServerRef::new(fingerprint, &[hop.reference.url.clone().without_credentials()])?;
        let (mut catalog, mut from) = (Catalog::new(), 0);
        // Each page but the last one brings a server at least.
        for _ in 0..=MAX_ONWARD {
            let page = self.catalog_page(&server, &hop.reference, from).await?;
            let next = page.next;
            add(&mut catalog, page)?;
            if next <= from {
                break;
            }
            from = next;
        }
        let told = self.told().descriptor(&fingerprint);
        let own =
            told.ok_or_else(|| Error::new(ErrorKind::Unreachable, "the hop did not describe itself"))?;
        let ids: BTreeSet<_> = catalog.keys().map(|server| HopId::of(server).0).collect();
        let whole = own.hop.iter().flat_map(|onward| onward.iter()).all(|id| ids.contains(&id.0));
        catalog.insert(fingerprint, Shown { descriptor: own, found: List::default() });
        Ok((catalog, whole))
    }

    async fn catalog_page(
        &self,
        server: &ServerRef,
        reference: &ServerReference,
        from: u16,
    ) -> Result<CatalogPage> {
        let kind = RequestKind::Catalog(CatalogGet { from });
        let ask = Ask {
            to: To { server, private_url: Some(&reference.url), allowed: &Always },
            seal: Seal::Key(&kind),
            room: PAGE,
            wait: Duration::ZERO,
        };
        match self.ask(&ask).await? {
            Answered::Sealed { answer: Answer::Catalog(page), .. } => Ok(page),
            Answered::Sealed { answer: Answer::Refused(r), .. } => Err(refused(server, r)),
            _ => Err(unexpected()),
        }
    }
}
