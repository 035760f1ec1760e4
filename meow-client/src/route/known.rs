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
    /// The user's own servers and those that the user trusts: what they say of where others are counts, and no stranger's word.
    vouched: BTreeSet<[u8; 32]>,
    /// One of these has found somebody. Where none has, nobody is held to be hidden.
    finds: bool,
}

impl<'a> View<'a> {
    /// With the servers that the user named for chains, and those that keep the user's mail.
    pub(super) fn new(directory: &'a Directory, hops: &'a [KnownHop], own: &'a BTreeSet<[u8; 32]>) -> Self {
        let trusted = hops.iter().filter(|hop| hop.marks.trusted).map(|hop| hop.reference.fingerprint);
        let vouched = trusted.chain(own.iter().copied()).collect();
        let finds = directory.finds(&vouched);
        Self { directory, hops, own, vouched, finds }
    }

    /// Every server that chains can lead through.
    pub(super) fn places(&self) -> Vec<Place> {
        self.directory.servers().iter().filter_map(|server| self.place(server)).collect()
    }

    /// Those of a pool, whether or not they answer now.
    pub(super) fn firsts(&self, pool: &Pool) -> Vec<First> {
        self.hops.iter().filter(|hop| in_pool(hop, pool)).map(|hop| self.first(hop)).collect()
    }

    /// A server of which there is no descriptor cannot be part of a chain.
    fn place(&self, server: &[u8; 32]) -> Option<Place> {
        let named = self.hops.iter().find(|hop| hop.reference.fingerprint == *server);
        let shown = self.directory.shown(server);
        let descriptor = Arc::clone(shown.or_else(|| self.directory.said(server))?);
        let marks = named.map(|hop| hop.marks.clone()).unwrap_or_default();
        let (groups, counted) = self.groups(server, Some(&descriptor), named);
        Some(Place {
            fingerprint: *server,
            id: HopId::of(server),
            groups,
            counted,
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
            groups: self.groups(server, descriptor.map(|it| &**it), Some(hop)).0,
            own: self.own.contains(server),
            answers: self.directory.answers(server),
        }
    }

    /// What a server may have in common with others, as far as it is known; and by which of it a stranger's chance goes.
    fn groups(
        &self,
        server: &[u8; 32],
        descriptor: Option<&Descriptor>,
        named: Option<&KnownHop>,
    ) -> (BTreeSet<String>, Option<BTreeSet<String>>) {
        let urls = descriptor.into_iter().flat_map(|it| it.urls.iter()).filter_map(|url| url.parse().ok());
        let urls = urls.chain(named.map(|hop| hop.reference.url.clone()));
        let operator = named.and_then(|hop| hop.marks.operator.as_deref());
        let mut all = said(urls, operator);
        let subnets = self.directory.found(server, &self.vouched);
        let counts = self.finds && !self.vouched.contains(server);
        let found = (counts || !subnets.is_empty()).then(|| found(&subnets, operator));
        all.extend(found.iter().flatten().cloned());
        (all, found.filter(|_| counts))
    }
}
