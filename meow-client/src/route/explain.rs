//! Which way the messages to a contact would go now, and why.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use meow_core::cover::{Loops, Passed};
use meow_core::identity::ContactId;
use meow_core::lane::{Lookup, ServerRef};
use meow_core::policy::{Chain, Policy, Pool, Route};
use meow_core::store::StoreTxn;
use meow_core::transport::Endpoint;
use meow_core::{Error, Result};

use super::cost::{RouteCost, Sample};
use super::day::{DayCost, Stream, day};
use super::path::{Path, Place};
use super::warn::servers_of;
use super::ways::{Under, Ways, no_way};
use super::wire::Opening;
use crate::client::{Client, Inner};
use crate::cover::{loops_count, loops_of, stands_still};
use crate::records::{ContactRecord, contact, contact_of};
use crate::run::of_the_store;
use crate::sessions::{Place as SessionPlace, Right, is_kept};

/// One allowed route, to one mailbox server: as it is now, with an example where each packet draws anew.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteReport {
    /// As the policy says.
    pub route: Route,
    /// To fetch mail from one's own server; false: to send to the contact's.
    pub fetching: bool,
    /// The mailbox server, by its first URL; empty for a direct link, which leads to none.
    pub server: String,
    /// Why the route does not work now, and what to do; `None` where nothing speaks against it.
    pub problem: Option<String>,
    /// The servers on the way there, the mailbox server last.
    pub there: Vec<HopShown>,
    /// The servers on the way back, without the mailbox server.
    pub back: Vec<HopShown>,
    /// What is weak about it though it works, and what to do.
    pub warnings: Vec<String>,
    /// What a short text costs by this route, or one look for mail; `None` where that cannot be told, or there is a problem.
    pub cost: Option<RouteCost>,
    /// What the contact's cover traffic costs by this route in a day; `None` without, where another route is taken first, and
    /// where that cannot be told. On the routes for fetching: loops, and the word to one's own server that something was
    /// sealed, which follows each message.
    pub day: Option<DayCost>,
    /// Why cover traffic stands still though the policy asks for it.
    pub stands_still: Option<String>,
    /// Of the loops that went by chains for this contact lately, how many were lost; on routes for fetching, where the policy
    /// asks for loops.
    pub loops: Option<Passed>,
}

/// What there is to reckon with.
struct Samples {
    /// What the route is for.
    main: Option<Sample>,
    /// The count that follows each message, on routes for fetching.
    count: Option<Sample>,
}

/// What a day is reckoned from.
#[derive(Default)]
struct Basis {
    opening: Opening,
    count: Option<RouteCost>,
    /// Up and down, to open a session.
    session: (u64, u64),
    /// It is not known whether the route works before it is tried.
    doubtful: bool,
}

/// A server of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HopShown {
    /// Where it is, as its descriptor says first.
    pub url: String,
    /// The fingerprint that it proves.
    pub fingerprint: [u8; 32],
    /// Why it is there, and what it sees.
    pub why: String,
}

impl Client {
    /// What the policy of a contact comes to now: each route in the user's order, for sending and for fetching. Draws a
    /// chain as a packet would; asks only those servers that a packet would begin at, and where the contact's device is not
    /// linked and has no place that the user named, the contact's servers whether it is there.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, `System`.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn explain_route(&self, name: &str) -> Result<Vec<RouteReport>> {
        self.explain_with(name, None).await
    }

    /// What [`explain_route`](Self::explain_route) would say if the contact had this policy; nothing is set. Whether a direct
    /// link could be made is told by the policy that the contact has; no server is asked where the contact is. A server that no policy has chains begin at, and that the
    /// user does not trust, is not asked for this; a warning says so.
    ///
    /// # Errors
    /// `Usage` for a policy that cannot be, `NotFound`, `Damaged`, `System`.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn explain_policy(&self, name: &str, policy: Policy) -> Result<Vec<RouteReport>> {
        policy.check()?;
        self.explain_with(name, Some(policy)).await
    }

    async fn explain_with(&self, name: &str, policy: Option<Policy>) -> Result<Vec<RouteReport>> {
        let (inner, name) = (&self.inner, name.to_owned());
        let (now, weighed) = (inner.now_ms(), policy.is_some());
        let (id, record, kept) = inner
            .read(move |txn| {
                let id = contact_of(txn, &name)?;
                let mut record = contact(txn, &id)?;
                if let Some(policy) = policy {
                    record.machine.set_padding(policy.least_size());
                    record.policy = policy;
                }
                let kept = kept(txn, id, &record, now)?;
                Ok((id, record, kept))
            })
            .await?;
        let loops = inner.read(move |txn| loops_of(txn, &id)).await?;
        let mut ways = Ways::of(&record);
        if weighed {
            ways.under = Under::Weighed;
        }
        let theirs = servers_of(&record);
        let own: Vec<_> = record.machine.current_mailboxes().map(|mailbox| mailbox.server.clone()).collect();
        let (mut all, mut bases) = (Vec::new(), Vec::new());
        for (fetching, servers) in [(false, &theirs), (true, &own)] {
            let routes: Vec<_> = if fetching {
                Route::to_servers(&ways.routes).collect()
            } else {
                ways.routes.iter().collect()
            };
            for route in routes {
                if *route == Route::Direct {
                    let sample = inner.sample_deposit(&record, false)?;
                    let (report, basis) = inner.explain_direct(id, !weighed, sample.as_ref()).await?;
                    all.push(report);
                    bases.push(basis);
                    continue;
                }
                for server in servers {
                    let in_session = kept.contains(&(fetching, *server.fingerprint()));
                    let samples = match fetching {
                        true => Samples {
                            main: inner.sample_pull(&record, in_session),
                            count: inner.sample_count(&record, in_session),
                        },
                        false => Samples { main: inner.sample_deposit(&record, in_session)?, count: None },
                    };
                    let (mut report, basis) = inner.explain(route, &ways, server, fetching, &samples).await;
                    if let Route::Matriochka(chain) = route {
                        report.warnings = inner.weak(chain, &ways, Some(server), &theirs).await?;
                    }
                    report.cost = report.cost.filter(|_| report.problem.is_none());
                    report.there.iter_mut().chain(&mut report.back).for_each(|hop| hop.add(&loops));
                    all.push(report);
                    bases.push(basis);
                }
            }
        }
        days(&record, stands_still(inner, &record), &loops, &mut all, &bases);
        // At a moment of cover traffic one copy leaves; a message is sent with all of them.
        let copies = u64::from(record.policy.copies).min(theirs.len() as u64);
        let deposits = all.iter_mut().filter(|report| !report.fetching && report.route != Route::Direct);
        for cost in deposits.filter_map(|report| report.cost.as_mut()) {
            (cost.up, cost.down) = (cost.up * copies, cost.down * copies);
        }
        Ok(all)
    }
}

impl Inner {
    async fn explain_direct(
        self: &Arc<Self>,
        id: ContactId,
        seek: bool,
        sample: Option<&Sample>,
    ) -> Result<(RouteReport, Basis)> {
        let problem = match self.direct_now(id, seek).await {
            Ok(()) => None,
            Err(e) if of_the_store(&e) => return Err(e),
            Err(e) => Some(e.to_string()),
        };
        let (route, server) = (Route::Direct, String::new());
        let place = self.direct_place(id).await?.filter(|_| problem.is_none());
        let cost = place.zip(sample).and_then(|(at, sample)| self.cost_direct(&at, sample));
        let doubtful = self.direct.leads(&id).is_none();
        let report = RouteReport {
            route,
            fetching: false,
            server,
            problem,
            there: Vec::new(),
            back: Vec::new(),
            warnings: Vec::new(),
            cost,
            day: None,
            stands_still: None,
            loops: None,
        };
        Ok((report, Basis { doubtful, ..Basis::default() }))
    }

    async fn explain(
        self: &Arc<Self>,
        route: &Route,
        ways: &Ways,
        server: &ServerRef,
        fetching: bool,
        samples: &Samples,
    ) -> (RouteReport, Basis) {
        let url = server.urls().next().unwrap_or_default().to_owned();
        let mut report = RouteReport {
            route: route.clone(),
            fetching,
            server: url.clone(),
            problem: None,
            there: Vec::new(),
            back: Vec::new(),
            warnings: Vec::new(),
            cost: None,
            day: None,
            stands_still: None,
            loops: None,
        };
        let (sample, mut basis) = (samples.main.as_ref(), Basis::default());
        match route {
            Route::Server => {
                let seen = self.seen_by(server.fingerprint(), server.endpoints());
                let why = format!("mailbox server: {seen}");
                report.there.push(HopShown { url, fingerprint: *server.fingerprint(), why });
                report.problem = self.unreachable(server).map(|e| e.to_string());
                report.cost = sample.and_then(|sample| self.cost_straight(server, sample));
                basis.opening = self.opening(server);
                basis.session = self.session_opening(server);
                basis.count = samples.count.as_ref().and_then(|count| self.cost_straight(server, count));
            }
            Route::Matriochka(chain) => match self.draw(chain, ways, server).await {
                Ok(path) => {
                    report.cost = sample.and_then(|sample| self.cost_through(&path, chain, sample));
                    basis.opening = self.opening_through(&path);
                    basis.count =
                        samples.count.as_ref().and_then(|count| self.cost_through(&path, chain, count));
                    let first = path.there.first().map(|first| &first.fingerprint);
                    let seen = first.map_or("", |first| self.seen_by(first, std::iter::empty()));
                    (report.there, report.back) = shown(&path, chain, seen);
                }
                Err(e) => report.problem = Some(e.to_string()),
            },
            _ => report.problem = Some(no_way().to_string()),
        }
        (report, basis)
    }

    /// Why no transport leads to a server at all.
    fn unreachable(&self, server: &ServerRef) -> Option<Error> {
        let told = self.servers.told().urls(server.fingerprint());
        let urls: Vec<Endpoint> = told.into_iter().chain(server.endpoints()).collect();
        let mut wrong = None;
        for url in urls {
            match self.servers.estimate(&url) {
                Ok(_) => return None,
                Err(e) => wrong = wrong.or(Some(e)),
            }
        }
        wrong
    }
}

impl HopShown {
    /// Says how many of the loops through it were lost, of those that are counted.
    fn add(&mut self, loops: &Loops) {
        let Passed { sent, lost } = loops.through(&self.fingerprint);
        if lost > 0 {
            self.why = format!("{}; of {sent} loops through it {lost} did not come back", self.why);
        }
    }
}

/// What the cover traffic of a contact costs in a day, where it goes: the first route to send by that works, and to each
/// server of one's own the first that works. Loops go to one of those each, by its chain.
fn days(
    record: &ContactRecord,
    scarce: Option<Error>,
    loops: &Loops,
    all: &mut [RouteReport],
    bases: &[Basis],
) {
    let policy = &record.policy;
    let mut both = all.iter().zip(bases);
    let sending =
        both.position(|(report, basis)| !report.fetching && report.cost.is_some() && !basis.doubtful);
    let mut sent = 0.0;
    if let (Some(pause), Some(at)) = (policy.cover, sending)
        && let (Some(report), Some(basis)) = (all.get_mut(at), bases.get(at))
        && let Some(cost) = &mut report.cost
    {
        let under_way = match scarce {
            Some(why) => {
                report.stands_still = Some(why.to_string());
                Duration::ZERO
            }
            None => {
                let stream = Stream::new(pause, cost.round_trip, *cost, basis.opening);
                sent = stream.per_day();
                report.day = day(&[stream], basis.session);
                cost.round_trip
            }
        };
        cost.latency += pause.wait(under_way);
    }
    let by_chain = |report: &RouteReport| {
        report.fetching && report.cost.is_some() && matches!(report.route, Route::Matriochka(_))
    };
    let servers: BTreeSet<_> = all.iter().filter(|r| by_chain(r)).map(|r| r.server.clone()).collect();
    let (mut counted, mut looped) = (BTreeSet::new(), BTreeSet::new());
    for (report, basis) in all.iter_mut().zip(bases).filter(|(report, _)| report.fetching) {
        let (Some(_), Some(count)) = (report.cost, basis.count) else { continue };
        let mut streams = Vec::new();
        if counted.insert(report.server.clone()) && sent > 0.0 && !loops_count(policy) {
            streams.push(Stream::of(sent, count, basis.opening));
        }
        if let (Some(pause), Route::Matriochka(_)) = (policy.loops, &report.route)
            && looped.insert(report.server.clone())
        {
            // Each goes to one of the servers.
            let per_day = pause.per_day(Duration::ZERO) / servers.len().max(1) as f64;
            streams.push(Stream::of(per_day, count, basis.opening));
        }
        report.day = day(&streams, basis.session);
        report.loops = policy.loops.filter(|_| by_chain(report)).map(|_| loops.all());
    }
}

/// The servers with which a session is open, for fetching or for sending.
fn kept(
    txn: &dyn StoreTxn,
    contact: ContactId,
    record: &ContactRecord,
    now_ms: u64,
) -> Result<BTreeSet<(bool, [u8; 32])>> {
    let mut all = BTreeSet::new();
    let mut look = |fetching: bool, server: &ServerRef, right: Right<'_>| -> Result<()> {
        if is_kept(txn, &SessionPlace { contact, server, right }, now_ms)? {
            all.insert((fetching, *server.fingerprint()));
        }
        Ok(())
    };
    for place in record.machine.deposit_target().into_iter().flat_map(Lookup::places) {
        look(false, &place.server, Right::Depositor { mailbox: place.lkp, token: place.token })?;
    }
    for mailbox in record.machine.current_mailboxes() {
        look(true, &mailbox.server, Right::Owner(&mailbox.lkp))?;
    }
    Ok(all)
}

fn shown(path: &Path, chain: &Chain, seen: &str) -> (Vec<HopShown>, Vec<HopShown>) {
    let last = path.there.len().saturating_sub(1);
    let there = path.there.iter().enumerate().map(|(n, place)| match n {
        0 => hop(place, format!("first, {}: {seen}", pool(&chain.first))),
        n if n == last => hop(place, "mailbox server: sees the server before it only".to_owned()),
        _ => hop(place, between(place, chain)),
    });
    let back = path.back.iter().enumerate().map(|(n, place)| match n + 1 {
        n if n == path.back.len() => hop(place, "holds the link that the answer goes back on".to_owned()),
        _ => hop(place, between(place, chain)),
    });
    (there.collect(), back.collect())
}

fn between(place: &Place, chain: &Chain) -> String {
    let trust = if place.trusted { "" } else { ", a stranger's" };
    format!("between, {}{trust}: sees the servers before and after it only", pool(&chain.between))
}

fn pool(pool: &Pool) -> String {
    match pool {
        Pool::Trusted => "drawn of those you trust".to_owned(),
        Pool::Named(name) => format!("drawn of your pool {:?}", &**name),
        _ => "drawn of all that are known".to_owned(),
    }
}

fn hop(place: &Place, why: String) -> HopShown {
    let url = place.descriptor.urls.first().map(|url| url.to_string()).unwrap_or_default();
    HopShown { url, fingerprint: place.fingerprint, why }
}
