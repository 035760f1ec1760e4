//! What servers say of themselves, from the catalogs of those that may be first in a chain.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use meow_core::lane::ServerRef;
use meow_core::onion::HopId;
use meow_core::policy::{Chain, Pool};
use meow_core::request::{Answer, CatalogGet, CatalogPage, Descriptor, RequestKind, SignedDescriptor};
use meow_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, timeout};

use super::hops::{KnownHop, known_hops};
use super::path::Place;
use super::place::groups;
use crate::client::Inner;
use crate::mailbox::unexpected;
use crate::server::{Answered, Ask, Room, Seal, refused};
use crate::servers::own_servers;

/// Servers that are remembered.
const MAX_KNOWN: usize = 2000;
/// Pages of one catalog.
const MAX_PAGES: usize = 64;
/// How long a catalog is good. Hops ask for each other's keys every half an hour, and keys stay good for a day.
const FRESH: Duration = Duration::from_secs(15 * 60);
/// How long one that could not be had is not asked for again.
const REST: Duration = Duration::from_secs(20);
/// How long a catalog is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// Of a page: 32 KiB.
const PAGE: Room = Room::Class(4);

/// What servers say of themselves.
#[derive(Default)]
pub(crate) struct Directory {
    known: HashMap<[u8; 32], Arc<Descriptor>>,
    asked: HashMap<[u8; 32], Asked>,
}

/// When a catalog was asked for.
#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    answered: bool,
}

impl Directory {
    /// Takes a descriptor, if it is signed and not older than the one that is known.
    pub(super) fn note(&mut self, signed: SignedDescriptor) -> Result<()> {
        let fingerprint = signed.fingerprint();
        self.take(fingerprint, Arc::new(signed.verified(&fingerprint)?));
        Ok(())
    }

    fn take(&mut self, fingerprint: [u8; 32], descriptor: Arc<Descriptor>) {
        let newer = self.known.get(&fingerprint).is_none_or(|known| known.issued <= descriptor.issued);
        if newer && (self.known.len() < MAX_KNOWN || self.known.contains_key(&fingerprint)) {
            self.known.insert(fingerprint, descriptor);
        }
    }

    /// Asks for every catalog anew: keys have turned, or the network or what the user says has changed.
    pub(crate) fn forget(&mut self) {
        self.asked.clear();
    }

    /// A packet was lost, perhaps because a key has turned: catalogs that are not of this moment are asked for anew.
    pub(super) fn look_again(&mut self) {
        self.asked.retain(|_, asked| asked.at.elapsed() < REST);
    }

    /// This server did not do its part: its catalog is asked for before it is the first again.
    pub(super) fn doubt(&mut self, first: &[u8; 32]) {
        self.asked.remove(first);
    }

    fn is_due(&self, fingerprint: &[u8; 32]) -> bool {
        let rest = |asked: &Asked| if asked.answered { FRESH } else { REST };
        self.asked.get(fingerprint).is_none_or(|asked| asked.at.elapsed() >= rest(asked))
    }

    fn answers(&self, fingerprint: &[u8; 32]) -> bool {
        self.asked.get(fingerprint).is_some_and(|asked| asked.answered)
    }
}

/// A server of which there is no descriptor cannot be part of a chain.
fn place(fingerprint: [u8; 32], directory: &Directory, named: Option<&KnownHop>, own: bool) -> Option<Place> {
    let descriptor = Arc::clone(directory.known.get(&fingerprint)?);
    let marks = named.map(|hop| hop.marks.clone()).unwrap_or_default();
    let urls = descriptor.urls.iter().filter_map(|url| url.parse().ok());
    let urls = urls.chain(named.map(|hop| hop.reference.url.clone()));
    Some(Place {
        fingerprint,
        id: HopId::of(&fingerprint),
        groups: groups(urls, marks.operator.as_deref()),
        trusted: marks.trusted,
        pools: marks.pools,
        own,
        answers: directory.answers(&fingerprint),
        descriptor,
    })
}

/// Whether the user's marks put a server into a pool.
fn in_pool(hop: &KnownHop, pool: &Pool) -> bool {
    match pool {
        Pool::Trusted => hop.marks.trusted,
        Pool::Named(name) => hop.marks.pools.iter().any(|pool| **pool == **name),
        Pool::Known => true,
        _ => false,
    }
}

impl Inner {
    pub(crate) fn directory(&self) -> MutexGuard<'_, Directory> {
        // Whole after every statement that holds the lock.
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a server says of itself, as far as it was asked or is in a catalog.
    pub(crate) fn described(&self, fingerprint: &[u8; 32]) -> Option<Arc<Descriptor>> {
        let asked = self.servers.told().descriptor(fingerprint);
        asked.or_else(|| self.directory().known.get(fingerprint).cloned())
    }

    /// All servers that chains can lead through, after the catalogs of those that may be first were asked for where they
    /// are not fresh. Whole catalogs: what is asked says nothing of who is meant. None of `avoid` is asked.
    ///
    /// # Errors
    /// Those of the store. Servers that do not answer cannot be first.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn places(self: &Arc<Self>, chain: &Chain, avoid: &[[u8; 32]]) -> Result<Vec<Place>> {
        let (hops, own) = self.read(|txn| Ok((known_hops(txn)?, own_servers(txn)?))).await?;
        let due: Vec<_> = {
            let directory = self.directory();
            let may_be_first = |hop: &&KnownHop| {
                let fingerprint = &hop.reference.fingerprint;
                in_pool(hop, &chain.first) && !avoid.contains(fingerprint) && directory.is_due(fingerprint)
            };
            hops.iter().filter(may_be_first).collect()
        };
        join_all(due.into_iter().map(|hop| self.ask_catalog(hop))).await;
        let directory = self.directory();
        let place = |fingerprint: &[u8; 32]| {
            let named = hops.iter().find(|hop| hop.reference.fingerprint == *fingerprint);
            let own = own.iter().any(|server| server.reference.fingerprint == *fingerprint);
            place(*fingerprint, &directory, named, own)
        };
        Ok(directory.known.keys().filter_map(place).collect())
    }

    async fn ask_catalog(&self, hop: &KnownHop) {
        let asked = timeout(PATIENCE, self.catalog_of(hop)).await;
        let answered = match asked {
            Ok(Ok(())) => true,
            Ok(Err(e)) => {
                tracing::debug!(kind = e.kind().name(), "a hop does not show its catalog");
                false
            }
            Err(_) => false,
        };
        let asked = Asked { at: Instant::now(), answered };
        self.directory().asked.insert(hop.reference.fingerprint, asked);
    }

    async fn catalog_of(&self, hop: &KnownHop) -> Result<()> {
        let fingerprint = hop.reference.fingerprint;
        let server = ServerRef::new(fingerprint, &[hop.reference.url.clone().without_credentials()])?;
        let mut from = 0;
        for _ in 0..MAX_PAGES {
            let page = self.catalog_page(&server, &hop.reference, from).await?;
            let mut directory = self.directory();
            for signed in page.servers.into_vec() {
                directory.note(signed)?;
            }
            if page.next <= from {
                break;
            }
            from = page.next;
        }
        let told = self.servers.told().descriptor(&fingerprint);
        let own =
            told.ok_or_else(|| Error::new(ErrorKind::Unreachable, "the hop did not describe itself"))?;
        self.directory().take(fingerprint, own);
        Ok(())
    }

    async fn catalog_page(
        &self,
        server: &ServerRef,
        reference: &meow_core::lane::ServerReference,
        from: u16,
    ) -> Result<CatalogPage> {
        let kind = RequestKind::Catalog(CatalogGet { from });
        let ask = Ask {
            server,
            private_url: Some(&reference.url),
            seal: Seal::Key(&kind),
            room: PAGE,
            wait: Duration::ZERO,
        };
        match self.servers.ask(&ask).await? {
            Answered::Sealed { answer: Answer::Catalog(page), .. } => Ok(page),
            Answered::Sealed { answer: Answer::Refused(r), .. } => Err(refused(server, r)),
            _ => Err(unexpected()),
        }
    }

    /// Where the first server of a chain is: as the user says, with credentials, and as its descriptor says.
    pub(super) async fn named_hop(self: &Arc<Self>, fingerprint: [u8; 32]) -> Result<KnownHop> {
        let hops = self.read(known_hops).await?;
        let found = hops.into_iter().find(|hop| hop.reference.fingerprint == fingerprint);
        found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the first server of a chain was removed; try again")
        })
    }
}

#[cfg(test)]
mod tests {
    use meow_core::crypto::SigningKey;
    use meow_core::request::Limits;
    use meow_core::wire::List;

    use super::*;

    fn signed(seed: u64, issued: u64) -> SignedDescriptor {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let skp = SigningKey::from_seed(&bytes);
        let limits =
            Limits { item: 1, mailbox_items: 1, mailbox_bytes: 1, keep_secs: 1, wait_secs: 1, blob: 1 };
        let descriptor = Descriptor {
            skp: skp.public(),
            issued,
            expires: issued + 1,
            urls: List::default(),
            keys: List::default(),
            limits,
            hop: Some(List::default()),
        };
        SignedDescriptor::sign(descriptor, &skp).unwrap()
    }

    #[test]
    fn the_newest_word_of_a_server_counts_whoever_shows_it() {
        let mut directory = Directory::default();
        let server = signed(1, 0).fingerprint();
        for (issued, want) in [(10, 10), (5, 10), (11, 11)] {
            directory.note(signed(1, issued)).unwrap();
            assert_eq!(directory.known[&server].issued, want);
        }
    }

    #[test]
    fn a30_a_forged_descriptor_is_refused_and_memory_is_bounded() {
        let mut directory = Directory::default();
        let good = postcard::to_stdvec(&signed(1, 10)).unwrap();
        // The time is the first field behind the key.
        let mut forged = good;
        forged[32] ^= 1;
        assert!(directory.note(postcard::from_bytes(&forged).unwrap()).is_err());
        assert!(directory.known.is_empty());
        let one = signed(1, 1);
        let one = Arc::new(one.clone().verified(&one.fingerprint()).unwrap());
        for n in 0..MAX_KNOWN as u64 + 10 {
            directory.take(n.to_be_bytes().repeat(4).try_into().unwrap(), Arc::clone(&one));
        }
        assert_eq!(directory.known.len(), MAX_KNOWN);
    }
}
