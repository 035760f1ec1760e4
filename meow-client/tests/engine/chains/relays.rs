//! Relays that are hops, who dialled whom, and clients that use chains of them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use meow_client::{Client, HopMarks};
use meow_core::lane::ServerReference;
use meow_core::policy::{Chain, Policy, Route};
use meow_core::transport::{Endpoint, Host, Link, LinkProfile, Listener, Transport};
use meow_core::wire::List;
use meow_core::{Error, ErrorKind, Result};
use meow_server::{Admission, Hop, HopLimits, Relay, RelayHandle, ServerIdentity};
use meow_transport::{Memory, Transports};
use tempfile::TempDir;

use crate::support::*;

/// Links within the process under the name of `http`, as one party dials them.
#[derive(Clone)]
pub(super) struct Net {
    pub(super) memory: Transports,
    /// Whom this party has dialled.
    pub(super) dialled: Arc<Mutex<Vec<String>>>,
    /// Whom this party does not reach.
    pub(super) cut: Arc<Mutex<HashSet<String>>>,
    /// Whom it does not reach either, and waits for.
    pub(super) slow: Arc<Mutex<HashSet<String>>>,
    /// Where names lead, for all parties; the others lead nowhere that could be told.
    leads: Arc<HashMap<String, IpAddr>>,
}

impl Net {
    pub(super) fn new() -> Self {
        Self::leading([])
    }

    /// One in which these names lead to these addresses.
    pub(super) fn leading(names: impl IntoIterator<Item = (&'static str, [u8; 4])>) -> Self {
        Self {
            leads: Arc::new(names.into_iter().map(|(name, at)| (name.to_owned(), at.into())).collect()),
            memory: Transports::new().with(Memory::new()),
            dialled: Arc::default(),
            cut: Arc::default(),
            slow: Arc::default(),
        }
    }

    /// The same net as seen by another party.
    pub(super) fn party(&self) -> Self {
        Self { dialled: Arc::default(), cut: Arc::default(), slow: Arc::default(), ..self.clone() }
    }

    pub(super) fn transports(&self) -> Transports {
        Transports::new().with(self.clone())
    }

    pub(super) fn cut(&self, names: &[&str]) {
        *self.cut.lock().unwrap() = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Whom this party has dialled since it was asked last.
    pub(super) fn dialled(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.dialled.lock().unwrap()).into_iter().collect()
    }
}

fn name(endpoint: &Endpoint) -> String {
    match endpoint.host() {
        Some(Host::Name(name)) => name.clone(),
        other => panic!("{other:?}"),
    }
}

fn memory(endpoint: &Endpoint) -> Endpoint {
    format!("memory://{}", name(endpoint)).parse().unwrap()
}

impl Transport for Net {
    fn schemes(&self) -> &'static [&'static str] {
        &["http"]
    }
    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        self.memory.estimate(&memory(endpoint))
    }
    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let name = name(endpoint);
        if self.cut.lock().unwrap().contains(&name) {
            return Err(Error::new(ErrorKind::Unreachable, "it is cut off"));
        }
        self.dialled.lock().unwrap().push(name.clone());
        let waits = || self.slow.lock().unwrap().contains(&name);
        if waits() {
            while waits() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return Err(Error::new(ErrorKind::Unreachable, "it was slow"));
        }
        let mut link = self.memory.connect(&memory(endpoint)).await?;
        link.peer.address = self.leads.get(&name).copied();
        Ok(link)
    }
    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        self.memory.listen(&memory(endpoint)).await
    }
}

/// Relays that all send on to each other.
pub(super) struct Relays {
    pub(super) net: Net,
    pub(super) relays: Vec<RelayHandle>,
    /// What each of them dials.
    pub(super) dials: Vec<Net>,
    _folders: Vec<TempDir>,
}

impl Relays {
    pub(super) async fn new(names: &[&str]) -> Self {
        Self::with(names, HopLimits::default()).await
    }

    pub(super) async fn with(names: &[&str], limits: HopLimits) -> Self {
        Self::on(Net::new(), names, limits).await
    }

    pub(super) async fn on(net: Net, names: &[&str], limits: HopLimits) -> Self {
        let mut random = meow_core::crypto::SystemRandom;
        let plans: Vec<_> = names
            .iter()
            .map(|name| {
                let identity = ServerIdentity::ephemeral(&mut random).unwrap();
                let url: Endpoint = format!("http://{name}/").parse().unwrap();
                let fingerprint = *identity.fingerprint();
                (identity, ServerReference { url, fingerprint, invite: None })
            })
            .collect();
        let all: Vec<_> = plans.iter().map(|(_, reference)| reference.clone()).collect();
        let (mut relays, mut dials, mut folders) = (Vec::new(), Vec::new(), Vec::new());
        for (identity, reference) in plans {
            let others = all.iter().filter(|other| other.url != reference.url).cloned();
            let dial = net.party();
            let hop = others.fold(Hop::new(dial.transports()), Hop::to).limits(limits.clone());
            dials.push(dial);
            let dir = tempfile::tempdir().unwrap();
            let relay = Relay::builder()
                .transports(net.transports())
                .listen(reference.url.clone())
                .public_url(reference.url)
                .data(dir.path())
                .unwrap()
                .identity(identity)
                .admission(Admission::Open)
                .hop(hop)
                .start()
                .await
                .unwrap();
            folders.push(dir);
            relays.push(relay);
        }
        Self { net, relays, dials, _folders: folders }
    }

    pub(super) fn reference(&self, name: &str) -> ServerReference {
        let url = format!("http://{name}/");
        let found = self.relays.iter().find(|relay| relay.reference().url.to_string() == url);
        found.unwrap().reference().clone()
    }

    /// Somebody who knows no server yet, and what they dial.
    pub(super) async fn user(&self) -> (User, Client, Net) {
        let net = self.net.party();
        let user = User { disk: Arc::default(), transports: net.transports() };
        let (client, _) = user.builder().create(&key()).await.unwrap();
        (user, client, net)
    }

    /// Trusts these, for chains.
    pub(super) async fn trust(&self, client: &Client, names: &[&str]) {
        for name in names {
            let marks = HopMarks { trusted: true, ..HopMarks::default() };
            client.add_hop(&self.reference(name), marks, &key()).await.unwrap();
        }
    }
}

pub(super) fn routes(routes: impl IntoIterator<Item = Route>) -> Policy {
    Policy { routes: List::take(routes), ..Policy::default() }
}

pub(super) fn matriochka() -> Route {
    Route::Matriochka(Chain::default())
}

pub(super) fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

/// Syncs these until it is so, however slow the machine and the hops' first look at each other.
pub(super) async fn until(clients: &[&Client], what: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !what().await {
        assert!(Instant::now() < end, "it does not come about");
        for client in clients {
            client.sync(Duration::ZERO).await.unwrap();
        }
        if clients.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Adds a server through a chain: the catalogs may take a moment to fill.
pub(super) async fn add_server(client: &Client, reference: &ServerReference) {
    let end = Instant::now() + Duration::from_secs(60);
    while let Err(e) = client.add_server(reference).await {
        assert!(Instant::now() < end, "{e}");
        assert_eq!(e.kind(), ErrorKind::Unreachable);
        client.network_changed();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Alice uses chains for everything, from the first moment; Bob does not.
pub(super) async fn pair(relays: &Relays) -> (Client, Net, Client, Net) {
    let (_, alice, alices) = relays.user().await;
    let (_, bob, bobs) = relays.user().await;
    relays.trust(&alice, &["t1", "t2", "t3"]).await;
    alice.set_default_policy(routes([matriochka()])).await.unwrap();
    add_server(&alice, &relays.reference("m1")).await;
    bob.add_server(&relays.reference("m2")).await.unwrap();
    (alice, alices, bob, bobs)
}

/// Alice gives Bob a card; both end up established.
pub(super) async fn befriend_by_chains(alice: &Client, bob: &Client) {
    let card = alice.new_card("bob", Duration::from_secs(3600), &key()).await.unwrap();
    let card = meow_core::card::CardFile::parse(&card.file).unwrap();
    bob.take_card(&card, "alice", "hello", &key()).await.unwrap();
    let established = async |client: &Client, name| {
        client.contact(name).await.unwrap().status == meow_client::Status::Established
    };
    until(&[bob, alice], async || established(alice, "bob").await && established(bob, "alice").await).await;
}

/// Alice writes to Bob by chains with one of these between, and knows all that such a chain needs.
pub(super) async fn between(relays: &Relays, alice: &Client, names: &[&str]) {
    for name in names {
        let marks = HopMarks { pools: vec!["mid".into()], ..HopMarks::default() };
        alice.add_hop(&relays.reference(name), marks, &key()).await.unwrap();
    }
    let route = "matriochka between=pool:mid".parse().unwrap();
    alice.set_policy("bob", routes([route])).await.unwrap();
    // The hops may have asked each other too early for their descriptors; a client that finds one missing waits for it.
    until(&[], async || {
        alice.network_changed();
        alice.explain_route("bob").await.unwrap().iter().all(|route| route.problem.is_none())
    })
    .await;
}
