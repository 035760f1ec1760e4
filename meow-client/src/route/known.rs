//! What the user's marks and the catalogs come to: the servers that chains can be drawn of.

use std::collections::BTreeSet;
use std::sync::Arc;

use meow_core::onion::HopId;
use meow_core::policy::Pool;
use meow_core::request::Descriptor;

use super::catalog::Directory;
use super::hops::KnownHop;
use super::path::{First, Place};
use super::place::{found, said};

/// What chains can be drawn of now.
pub(super) struct Known {
    /// All servers that chains can lead through.
    pub(super) places: Vec<Place>,
    /// Those that the user named for the first place.
    pub(super) firsts: Vec<First>,
    /// Those between of chains to the target that failed, the worst first.
    pub(super) failed: Vec<HopId>,
    /// Those that could be the first by a policy that is weighed, and were not asked for it: it would be the first to show
    /// them this device's address.
    pub(super) unasked: usize,
}

/// Whether the user's marks put a server into a pool.
pub(super) fn in_pool(hop: &KnownHop, pool: &Pool) -> bool {
    match pool {
        Pool::Trusted => hop.marks.trusted,
        Pool::Named(name) => hop.marks.pools.iter().any(|pool| **pool == **name),
        Pool::Known => true,
        _ => false,
    }
}

/// Catalogs, read with the user's eyes.
pub(super) struct View<'a> {
    directory: &'a Directory,
    hops: &'a [KnownHop],
    own: &'a BTreeSet<[u8; 32]>,
    first: &'a Pool,
    /// Those of that pool that the user trusts: what they say of where others are counts, and no stranger's word. What a server
    /// of another pool has shown, which this chain did not ask for, changes nothing here.
    vouched: BTreeSet<[u8; 32]>,
    /// One of these has found somebody. Where none has, nobody is held to be hidden.
    finds: bool,
}

impl<'a> View<'a> {
    /// For chains that begin at this pool, with the servers that the user named, and those that keep the user's mail.
    pub(super) fn new(
        directory: &'a Directory,
        hops: &'a [KnownHop],
        own: &'a BTreeSet<[u8; 32]>,
        first: &'a Pool,
    ) -> Self {
        let vouched = hops.iter().filter(|hop| hop.marks.trusted && in_pool(hop, first));
        let vouched = vouched.map(|hop| hop.reference.fingerprint).collect();
        let finds = directory.finds(&vouched);
        Self { directory, hops, own, first, vouched, finds }
    }

    /// Every server that chains can lead through.
    pub(super) fn places(&self) -> Vec<Place> {
        self.directory.servers().iter().filter_map(|server| self.place(server)).collect()
    }

    /// Those of the pool, whether or not they answer now.
    pub(super) fn firsts(&self) -> Vec<First> {
        self.hops.iter().filter(|hop| in_pool(hop, self.first)).map(|hop| self.first(hop)).collect()
    }

    /// A server of which there is no descriptor cannot be part of a chain.
    fn place(&self, server: &[u8; 32]) -> Option<Place> {
        let named = self.hops.iter().find(|hop| hop.reference.fingerprint == *server);
        let shown = self.directory.shown(server);
        let descriptor = Arc::clone(shown.or_else(|| self.directory.said(server))?);
        let marks = named.map(|hop| hop.marks.clone()).unwrap_or_default();
        Some(Place {
            fingerprint: *server,
            id: HopId::of(server),
            said: said_of(Some(&descriptor), named),
            found: self.found(server, named),
            trusted: marks.trusted,
            pools: marks.pools,
            own: self.own.contains(server),
            answers: self.directory.answers(server),
            shown: shown.is_some(),
            descriptor,
        })
    }

    fn first(&self, hop: &KnownHop) -> First {
        let server = &hop.reference.fingerprint;
        let descriptor = self.directory.shown(server).or_else(|| self.directory.said(server));
        First {
            fingerprint: *server,
            said: said_of(descriptor.map(|it| &**it), Some(hop)),
            own: self.own.contains(server),
            answers: self.directory.answers(server),
        }
    }

    /// Where it was found, if that is known of strangers. Trusted servers are not counted by it.
    fn found(&self, server: &[u8; 32], named: Option<&KnownHop>) -> Option<BTreeSet<String>> {
        let counts = self.finds && !named.is_some_and(|hop| hop.marks.trusted);
        counts.then(|| found(&self.directory.found(server, &self.vouched), operator(named)))
    }
}

fn said_of(descriptor: Option<&Descriptor>, named: Option<&KnownHop>) -> BTreeSet<String> {
    let urls = descriptor.into_iter().flat_map(|it| it.urls.iter()).filter_map(|url| url.parse().ok());
    said(urls.chain(named.map(|hop| hop.reference.url.clone())), operator(named))
}

fn operator(named: Option<&KnownHop>) -> Option<&str> {
    named.and_then(|hop| hop.marks.operator.as_deref())
}
