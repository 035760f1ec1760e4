//! The servers that packets may go to, by the short form of their fingerprint.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::lane::ServerReference;
use meow_core::onion::HopId;
use meow_core::request::{CatalogPage, Listed, MAX_ONWARD, MAX_SUBNETS, SignedDescriptor};
use meow_core::transport::{Addresses, Endpoint, Host, Network, Subnet};
use meow_core::wire::{Fixed, List, Wire};
use meow_core::{Error, ErrorKind, Result};
use tokio::net::lookup_host;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::HopLimits;
use crate::engine::Source;

/// Schemes by which a packet may leave. A serial line is a place on this machine: it may be named here because the
/// operator alone names servers. What a stranger names is never looked up in this list (ATTACKS 44).
const SCHEMES: [&str; 6] = ["http", "https", "udp", "mqtt", "mqtts", "serial"];

/// Whether a URL may have a user and password: with a broker the relay has an account of its own, as with its listener.
fn takes_account(scheme: &str) -> bool {
    matches!(scheme, "mqtt" | "mqtts")
}

/// The servers that are known here.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    targets: HashMap<HopId, Arc<Target>>,
    /// As the operator named them.
    order: Vec<HopId>,
    /// Where the operator says that they are, by their places in that order; as sources are told apart.
    written: HashMap<Network, usize>,
    /// Where their names lead. Whoever has such a name can let it lead anywhere, to another one's address too.
    named: Mutex<HashMap<Network, BTreeSet<usize>>>,
}

/// Addresses that the names of one server lead to, and that count.
const ADDRESSES: usize = 8;

/// Longest encoding of what surrounds a page's servers: variant, length, next.
const PAGE_OVERHEAD: usize = 1 + 2 + 3;
/// Servers of one page.
const PAGE: usize = 64;

/// A server to which packets may go.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) fingerprint: [u8; 32],
    pub(crate) ways: Vec<Way>,
    waiting: Arc<Semaphore>,
    links: Arc<Semaphore>,
    /// What it said of itself last, verified.
    told: Mutex<Option<Told>>,
    /// The networks in which it said so, the last one first.
    found: Mutex<Vec<Subnet>>,
}

/// One of its URLs. What was proven at one says nothing of who answers at another.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) url: Endpoint,
    /// Until when the proof is believed that the server is there, by the relay's monotonic clock.
    proven: Mutex<Duration>,
}

#[derive(Debug)]
struct Told {
    issued: u64,
    signed: SignedDescriptor,
}

impl Catalog {
    /// # Errors
    /// `Usage` for a URL that no relay dials for others, and for two servers with one short form.
    pub(crate) fn new(servers: Vec<ServerReference>, limits: &HopLimits) -> Result<Self> {
        let (mut targets, mut order) = (HashMap::<HopId, Target>::new(), Vec::new());
        for server in servers {
            let scheme = server.url.scheme();
            if !SCHEMES.contains(&scheme) || server.url.credentials().is_some() && !takes_account(scheme) {
                let text = format!(
                    "packets cannot be sent on to {scheme} URLs, nor to URLs with a user or password but those of a \
                     broker; choose one of {}",
                    SCHEMES.join(", ")
                );
                return Err(Error::new(ErrorKind::Usage, text));
            }
            let id = HopId::of(&server.fingerprint);
            let target = targets.entry(id).or_insert_with(|| {
                order.push(id);
                Target {
                    fingerprint: server.fingerprint,
                    ways: Vec::new(),
                    waiting: Arc::new(Semaphore::new(limits.per_target)),
                    links: Arc::new(Semaphore::new(limits.links_per_target)),
                    told: Mutex::default(),
                    found: Mutex::default(),
                }
            });
            if target.fingerprint != server.fingerprint {
                let text =
                    "two servers to send on to have the same first half of their fingerprints: leave one out";
                return Err(Error::new(ErrorKind::Usage, text));
            }
            // A broker has to be told which of the servers behind it is meant.
            let url = server.url.with_server(server.fingerprint);
            target.ways.push(Way { url, proven: Mutex::default() });
        }
        if order.len() > MAX_ONWARD {
            let text = format!("a hop sends on to at most {MAX_ONWARD} servers");
            return Err(Error::new(ErrorKind::Usage, text));
        }
        let targets = targets.into_iter().map(|(id, target)| (id, Arc::new(target))).collect();
        let mut catalog = Self { targets, order, ..Self::default() };
        let places = catalog.all().cloned().enumerate().collect::<Vec<_>>();
        for (place, target) in places {
            for address in target.hosts().filter_map(literal) {
                catalog.written.entry(Network::of(address)).or_insert(place);
            }
        }
        Ok(catalog)
    }

    /// What a server at this address counts as. Where the operator wrote the address, no name changes that; of several servers
    /// that were written with it, the first.
    pub(crate) fn server_at(&self, address: Network) -> Option<Source> {
        if let Some(place) = self.written.get(&address) {
            return Some(Source::Server(*place));
        }
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let places = named.get(&address)?;
        match places.first() {
            Some(place) if places.len() == 1 => Some(Source::Server(*place)),
            _ => Some(Source::Servers(address)),
        }
    }

    /// Where the names of a server lead now; `whole` if all of them could be looked up, or else what was known stays.
    fn leads_to(&self, place: usize, addresses: impl Iterator<Item = IpAddr>, whole: bool) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if whole {
            named.retain(|_, places| {
                places.remove(&place);
                !places.is_empty()
            });
        }
        let known = named.values().filter(|places| places.contains(&place)).count();
        for address in addresses.take(ADDRESSES.saturating_sub(known)) {
            named.entry(Network::of(address)).or_default().insert(place);
        }
    }

    /// Looks up where a server is that the operator named. What a name server says gives an address a larger share, and
    /// nothing else.
    pub(crate) async fn locate(&self, place: usize, target: &Target) {
        let (mut addresses, mut whole) = (Vec::new(), true);
        for host in target.hosts() {
            let Host::Name(name) = host else { continue };
            match lookup_host((name.as_str(), 0)).await {
                Ok(found) => addresses.extend(found.map(|socket| socket.ip())),
                Err(e) => {
                    whole = false;
                    tracing::debug!(kind = %e.kind(), "the name of a server to send on to is not known");
                }
            }
        }
        self.leads_to(place, addresses.into_iter(), whole);
    }

    pub(crate) fn find(&self, id: &HopId) -> Option<Arc<Target>> {
        self.targets.get(id).cloned()
    }

    pub(crate) fn urls(&self) -> impl Iterator<Item = &Endpoint> {
        self.targets.values().flat_map(|target| target.urls())
    }

    pub(crate) fn len(&self) -> usize {
        self.targets.len()
    }

    /// All of them, as the operator named them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.order.iter().filter_map(|id| self.targets.get(id))
    }

    /// What the descriptor says of them.
    pub(crate) fn onward(&self) -> List<Fixed<16>, MAX_ONWARD> {
        List::take(self.order.iter().map(|id| Fixed(id.0)))
    }

    /// The servers from the place `from` on, as far as they have said who they are and have room.
    pub(crate) fn page(&self, from: usize, room: usize) -> CatalogPage {
        let (mut servers, mut left) = (Vec::new(), room.saturating_sub(PAGE_OVERHEAD));
        for (place, target) in self.all().enumerate().skip(from) {
            let Some(listed) = target.listed() else { continue };
            let Ok(length) = listed.to_wire().map(|bytes| bytes.len()) else { continue };
            if length > left || servers.len() == PAGE {
                // One that has no room at all is left out, or the page after it would never come.
                if servers.is_empty() {
                    continue;
                }
                let next = u16::try_from(place).unwrap_or_default();
                return CatalogPage { servers: List::take(servers), next };
            }
            left -= length;
            servers.push(listed);
        }
        CatalogPage { servers: List::take(servers), next: 0 }
    }
}

/// Where a server itself is, not a broker.
fn literal(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Ip(ip) => Some(*ip),
        Host::Name(_) => None,
    }
}

impl Target {
    pub(crate) fn urls(&self) -> impl Iterator<Item = &Endpoint> {
        self.ways.iter().map(|way| &way.url)
    }

    /// The hosts of those URLs at which the server itself is, not a broker.
    fn hosts(&self) -> impl Iterator<Item = &Host> {
        let own = |url: &&Endpoint| matches!(url.scheme(), "http" | "https" | "udp");
        self.urls().filter(own).filter_map(Endpoint::host)
    }

    /// A place among the packets that wait for this server.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.waiting).try_acquire_owned().ok()
    }

    /// A link to it, as soon as one may be opened.
    pub(crate) async fn link(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.links).acquire_owned().await.ok()
    }

    /// Takes a descriptor that was verified, unless it is older than the one before: then it may be played back, and is false.
    pub(crate) fn tells(&self, issued: u64, signed: SignedDescriptor) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = told.as_ref().is_none_or(|told| told.issued <= issued);
        if newest {
            *told = Some(Told { issued, signed });
        }
        newest
    }

    /// Notes at which address its descriptor was had. Where that is none of the public Internet it means nothing to others,
    /// and is the operator's own affair.
    pub(crate) fn found_at(&self, address: IpAddr) {
        if !Addresses::public().permits(address) {
            return;
        }
        let (subnet, mut found) = (Subnet::of(address), self.found());
        found.retain(|known| *known != subnet);
        found.insert(0, subnet);
        found.truncate(MAX_SUBNETS);
    }

    fn found(&self) -> MutexGuard<'_, Vec<Subnet>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As a page shows it, once it has said who it is.
    fn listed(&self) -> Option<Listed> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let signed = told.as_ref()?.signed.clone();
        drop(told);
        let mut found = self.found().clone();
        found.sort();
        Some(Listed { signed, found: List::take(found) })
    }
}

impl Way {
    pub(crate) fn is_proven(&self, now: Duration) -> bool {
        now < *self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn prove(&self, until: Duration) {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meow_core::crypto::{SigningKey, SystemRandom};
    use meow_core::request::{Answer, Descriptor, Limits, fingerprint};
    use meow_core::wire::Text;

    fn reference(url: &str, first: u8, last: u8) -> ServerReference {
        let mut fingerprint = [first; 32];
        fingerprint[31] = last;
        ServerReference { url: url.parse().unwrap(), fingerprint, invite: None }
    }

    #[test]
    fn a44_only_listed_schemes_without_passwords_are_in_a_catalog() {
        let limits = HopLimits::default();
        for url in ["file:///tmp/x", "memory://x", "unix:///run/x", "http://u:p@example.org", "udp://u:p@a:1"]
        {
            let e = Catalog::new(vec![reference(url, 1, 1)], &limits).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Usage, "{url}");
            assert!(!e.to_string().contains("u:p"));
        }
        let place = |scheme| if scheme == "serial" { "/dev/ttyS0" } else { "example.org:1" };
        let all = SCHEMES.map(|scheme| reference(&format!("{scheme}://{}", place(scheme)), 1, 1));
        let catalog = Catalog::new(all.to_vec(), &limits).unwrap();
        let target = catalog.find(&HopId([1; 16])).unwrap();
        assert_eq!((catalog.len(), target.urls().count()), (1, 6));
        assert!(target.urls().all(|url| url.server() == Some(&target.fingerprint)));
        Catalog::new(vec![reference("mqtts://cat:fish@broker.example/p", 1, 1)], &limits).unwrap();
        assert!(catalog.find(&HopId([2; 16])).is_none());
    }

    fn signed(urls: usize) -> (ServerReference, SignedDescriptor) {
        let skp = SigningKey::generate(&mut SystemRandom).unwrap();
        let limits =
            Limits { item: 1, mailbox_items: 1, mailbox_bytes: 1, keep_secs: 1, wait_secs: 1, blob: 1 };
        let url = |n| Text::new(format!("https://{n}.{}.example", "a".repeat(200))).unwrap();
        let descriptor = Descriptor {
            skp: skp.public(),
            issued: 5,
            expires: 6,
            urls: List::new((0..urls).map(url).collect()).unwrap(),
            keys: List::default(),
            limits,
            hop: None,
        };
        let reference = ServerReference {
            url: "https://a.example".parse().unwrap(),
            fingerprint: fingerprint(&skp.public()),
            invite: None,
        };
        (reference, SignedDescriptor::sign(descriptor, &skp).unwrap())
    }

    /// In order.
    const FOUND: [&str; MAX_SUBNETS] = ["9.9.9.9", "11.1.1.1", "2a00:1::1", "2a00:2::1"];

    #[test]
    fn pages_hold_every_known_descriptor_once_and_fit() {
        let all: Vec<_> = (0..40).map(|n| signed(n % 3 * 3)).collect();
        let references = all.iter().map(|(reference, _)| reference.clone()).collect();
        let catalog = Catalog::new(references, &HopLimits::default()).unwrap();
        assert_eq!(catalog.page(0, 8000), CatalogPage::default(), "nothing is known yet");
        for (n, (reference, signed)) in all.iter().enumerate().filter(|(n, _)| *n != 7) {
            let target = catalog.find(&HopId::of(&reference.fingerprint)).unwrap();
            assert!(target.tells(5, signed.clone()));
            assert!(!target.tells(4, all[(n + 1) % 40].1.clone()));
            FOUND.iter().for_each(|at| target.found_at(at.parse().unwrap()));
        }
        for room in [1000, 8000, 32_000] {
            let (mut got, mut from) = (Vec::new(), 0);
            loop {
                let page = catalog.page(from, room);
                let next = page.next;
                assert!(Answer::Catalog(page.clone()).to_wire().unwrap().len() <= room);
                got.extend(page.servers.into_vec());
                if next == 0 {
                    break;
                }
                assert!(usize::from(next) > from);
                from = next.into();
            }
            // With little room those with long URLs are left out; everything else comes, in order.
            let found: List<_, MAX_SUBNETS> = List::take(FOUND.map(|at| Subnet::of(at.parse().unwrap())));
            let listed = |s: &SignedDescriptor| Listed { signed: s.clone(), found: found.clone() };
            let fits = |one: &Listed| one.to_wire().unwrap().len() + PAGE_OVERHEAD <= room;
            let want = all.iter().enumerate().filter(|(n, _)| *n != 7).map(|(_, (_, s))| listed(s));
            assert_eq!(got, want.filter(fits).collect::<Vec<_>>(), "{room}");
        }
        assert_eq!(catalog.page(usize::from(u16::MAX), 8000), CatalogPage::default());
        assert_eq!(catalog.onward().len(), 40);
    }

    #[test]
    fn a30_a_page_says_in_which_public_networks_a_server_was_found_last() {
        let (reference, signed) = signed(1);
        let catalog = Catalog::new(vec![reference.clone()], &HopLimits::default()).unwrap();
        let target = catalog.find(&HopId::of(&reference.fingerprint)).unwrap();
        let find = |addresses: &[&str]| {
            addresses.iter().for_each(|address| target.found_at(address.parse().unwrap()));
            let found = catalog.page(0, 8000).servers.into_vec().pop().map(|listed| listed.found.into_vec());
            found.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(find(&["9.9.9.9"]), None, "it has not said who it is");
        assert!(target.tells(5, signed));
        assert_eq!(find(&["9.9.1.1", "::ffff:9.9.2.2"]).unwrap(), ["9.9.0.0/16"]);
        let own =
            ["127.0.0.1", "10.1.2.3", "192.168.7.7", "::1", "fd00::1", "169.254.1.1", "::ffff:10.0.0.1"];
        assert_eq!(find(&own).unwrap(), ["9.9.0.0/16"], "the operator's own networks are nobody's affair");
        let four = ["8.8.0.0/16", "9.9.0.0/16", "11.1.0.0/16", "2a00:1::/32"];
        assert_eq!(find(&["2a00:1::1", "11.1.1.1", "8.8.8.8", "9.9.9.9"]).unwrap(), four, "in order");
        let moved = ["8.8.0.0/16", "9.9.0.0/16", "11.1.0.0/16", "12.1.0.0/16"];
        assert_eq!(find(&["12.1.1.1"]).unwrap(), moved, "where it was longest ago is forgotten");
    }

    #[tokio::test]
    async fn a_server_is_known_by_the_addresses_that_the_operator_named() {
        let servers = vec![
            reference("http://192.0.2.1:80/", 1, 1),
            reference("udp://[2001:db8:0:7::1]:1", 2, 2),
            reference("https://192.0.2.1:443/", 3, 3),
            reference("mqtt://192.0.2.9/broker", 3, 3),
            reference("http://localhost:80/", 4, 4),
        ];
        let catalog = Catalog::new(servers, &HopLimits::default()).unwrap();
        let at = |address: &str| catalog.server_at(Network::of(address.parse().unwrap()));
        let server = |place| Some(Source::Server(place));
        assert_eq!((at("192.0.2.1"), at("::ffff:192.0.2.1")), (server(0), server(0)), "the first of two");
        assert_eq!((at("2001:db8:0:7::2"), at("2001:db8:0:8::1")), (server(1), None), "a network of 64 bits");
        assert_eq!((at("192.0.2.9"), at("127.0.0.1")), (None, None), "a broker is no server");
        let target = catalog.find(&HopId([4; 16])).unwrap();
        catalog.locate(3, &target).await;
        assert!([at("127.0.0.1"), at("::1")].contains(&server(3)), "a name is looked up");
        let target = catalog.find(&HopId([1; 16])).unwrap();
        catalog.locate(0, &target).await;
        assert_eq!(at("192.0.2.1"), server(0));
    }

    #[test]
    fn a22_a_server_whose_name_leads_to_the_address_of_another_does_not_get_its_share() {
        let servers = vec![
            reference("http://hostile.example/", 1, 1),
            reference("http://honest.example/", 2, 2),
            reference("http://192.0.2.3/", 3, 3),
        ];
        let catalog = Catalog::new(servers, &HopLimits::default()).unwrap();
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let lead = |place: usize, to: &[u8], whole| {
            catalog.leads_to(place, to.iter().map(|n| address(*n)).collect::<Vec<_>>().into_iter(), whole);
        };
        lead(0, &[1, 2, 3], true);
        lead(1, &[2], true);
        let at = |n| catalog.server_at(Network::of(address(n))).unwrap();
        assert_eq!(at(3), Source::Server(2), "what is written counts");
        assert_eq!((at(1), at(2)), (Source::Server(0), Source::Servers(Network::of(address(2)))));
        lead(0, &[1], true);
        assert_eq!(at(2), Source::Server(1));
        // A name that cannot be looked up for once leads where it led, and a long answer is cut.
        lead(1, &[], false);
        lead(1, &(10..30).collect::<Vec<_>>(), false);
        assert_eq!((at(2), at(16)), (Source::Server(1), Source::Server(1)));
        assert_eq!(catalog.server_at(Network::of(address(17))), None);
        lead(1, &[], true);
        assert_eq!(catalog.server_at(Network::of(address(2))), None);
    }

    #[test]
    fn two_servers_with_one_short_form_are_refused() {
        let both = vec![reference("http://a.example", 1, 1), reference("http://b.example", 1, 2)];
        assert_eq!(Catalog::new(both, &HopLimits::default()).unwrap_err().kind(), ErrorKind::Usage);
    }
}
