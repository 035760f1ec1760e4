//! One request through a chain of servers, and its answer back.

use std::sync::Arc;
use std::time::Duration;

use meow_core::crypto::Random;
use meow_core::lane::ServerRef;
use meow_core::onion::{Delay, HopId, OnionClass, Step, seal_with_reply};
use meow_core::policy::{Chain, Route};
use meow_core::request::{Answer, ClearAnswer, ClearCode, PendingAnswer, Request, RequestKind, seal_request};
use meow_core::wire::SIZE_CLASSES;
use meow_core::{Error, ErrorKind, Result, Retry};

use super::known::Known;
use super::passage::Passage;
use super::path::{Draw, NoPath, Path, Place, choose};
use super::warn::left_out;
use super::ways::{Under, Ways};
use crate::client::Inner;
use crate::server::{NotCarried, NotHow, Room, To, counter_of_own};

/// Packets that one request may take, each by another path. A pull takes one: its counter is for one request.
pub(super) const ATTEMPTS: usize = 3;
/// How long an answer is waited for, beside the time that the request is to be held and kept, for each server passed.
const PATIENCE_PER_HOP: Duration = Duration::from_secs(6);
/// The longest wait for an answer: no first server holds a link for longer.
const LONGEST: Duration = Duration::from_secs(150);

/// What mailbox servers are asked to hold a request for, in seconds: the server reads it, so few values exist. What a chain
/// leaves time for would tell its length and delays.
const HOLDS: [u64; 3] = [50, 25, 10];

/// How far a packet has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It did not leave.
    Here,
    /// It left, and nothing came back.
    Away,
    /// Its answer came back, whatever that says.
    Back,
}

/// How long a mailbox server may hold a request that comes through this chain, so that its answer is back in time.
pub(crate) fn longest_hold(chain: &Chain) -> Duration {
    let most = LONGEST.saturating_sub(PATIENCE_PER_HOP * chain.stops()).saturating_sub(2 * chain.delays());
    HOLDS.into_iter().map(Duration::from_secs).find(|hold| *hold <= most).unwrap_or_default()
}

impl Inner {
    /// Asks a server through a chain of others, drawn anew for each packet; after one that brought no answer, of other servers
    /// where there are enough.
    ///
    /// # Errors
    /// `Unreachable` where there is no chain now, or no answer came back, with what to do; `Limit` for what no packet
    /// carries. `Unreachable` too where the policy allows the chain no more: then no other packet is begun.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the server acted.
    pub(crate) async fn ask_through(
        self: &Arc<Self>,
        passage: &Passage,
        ways: &Ways,
        server: &ServerRef,
        kind: RequestKind,
        room: Room,
        wait: Duration,
    ) -> Result<Answer> {
        let attempts = if matches!(kind, RequestKind::Pull(_)) { 1 } else { ATTEMPTS };
        let mut last = None;
        for attempt in 0..attempts {
            // The packet before may have taken minutes, and drawing asks servers too.
            if attempt > 0 && !self.still_leads(passage).await? {
                break;
            }
            let path = self.draw(passage.chain()?, ways, server).await?;
            match self.through(&path, passage, server, &kind, (room, wait), &mut Fate::Here).await {
                Ok(answer) if attempt > 0 => return Ok(counter_of_own(&kind, answer)),
                Ok(answer) => return Ok(answer),
                Err(e) if e.retry() == Retry::Never => return Err(e),
                Err(e) => {
                    tracing::debug!(kind = e.kind().name(), "a packet brought no answer through its chain");
                    last = Some(e);
                }
            }
        }
        Err(last.unwrap_or_else(super::ways::no_way))
    }

    /// A path to a server and back.
    pub(super) async fn draw(
        self: &Arc<Self>,
        chain: &Chain,
        ways: &Ways,
        server: &ServerRef,
    ) -> Result<Path> {
        let avoid: Vec<_> = ways.avoid.iter().map(|fingerprint| fingerprint.0).collect();
        let target = HopId::of(server.fingerprint());
        let Known { places, firsts, failed, unasked } = self.places(chain, &target, ways).await?;
        let draw = Draw { chain, target: &target, avoid: &avoid, firsts: &firsts, failed: &failed };
        choose(&places, &draw, &mut self.random.clone()).map_err(no_path).map_err(|e| match unasked {
            0 => e,
            _ => Error::new(e.kind(), format!("{e}; {}", left_out(unasked))).with_source(e),
        })
    }

    /// Whether some chain that the policy for new contacts allows leads to a server now.
    ///
    /// # Errors
    /// Why none does.
    pub(crate) async fn leads_to(self: &Arc<Self>, server: &ServerRef) -> Result<()> {
        let routes = self.default_policy().await?.routes;
        let ways = Ways::new(Under::NewContacts, routes.clone(), std::iter::once(server));
        let mut last = super::ways::no_way();
        for route in routes.iter() {
            let Route::Matriochka(chain) = route else { continue };
            match self.draw(chain, &ways, server).await {
                Ok(_) => return Ok(()),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// One packet through a chain: `room` for the answer, and how long the server may hold it. `fate` says how far it came.
    pub(super) async fn through(
        self: &Arc<Self>,
        path: &Path,
        passage: &Passage,
        server: &ServerRef,
        kind: &RequestKind,
        (room, wait): (Room, Duration),
        fate: &mut Fate,
    ) -> Result<Answer> {
        let chain = passage.chain()?;
        let (Some(first), Some(last)) = (path.there.first(), path.there.last()) else {
            return Err(no_path(NoPath::NoChain));
        };
        let key = last.descriptor.online_key().ok_or_else(no_key)?;
        let (packet, reply, pending, patience) = {
            let mut random = self.random.lock();
            // Sizes of thin links are of no use within a packet.
            let answer = room.index(false);
            let request = Request { answer, kind: kind.clone() };
            let (request, pending) = seal_request(&request, server.fingerprint(), key, false, &mut *random)?;
            let class = class(request.len(), answer)?;
            let Delayed { there, back, delays } = delayed(path, chain, &mut *random)?;
            let (packet, reply) = seal_with_reply(class, &there, &back, &request, &mut *random)?;
            let patience = wait.saturating_add(delays).saturating_add(PATIENCE_PER_HOP * chain.stops());
            (packet, reply, pending, patience.min(LONGEST))
        };
        let hop = self.named_hop(first.fingerprint).await?;
        let at = ServerRef::new(first.fingerprint, &[])?;
        let fits = |packet: &[u8]| reply.open(packet.to_vec()).is_ok();
        let allowed = self.by(passage);
        let to = To { server: &at, private_url: Some(&hop.reference.url), allowed: &allowed };
        let came = self.servers.carry(&to, &packet, patience, &fits).await.map_err(
            |NotCarried { error, how }| {
                if how == NotHow::NotAllowed {
                    return error;
                }
                let mut directory = self.directory();
                if how == NotHow::Sent {
                    *fate = Fate::Away;
                    // Who has lost it does not show.
                    directory.failed(path);
                }
                // Perhaps it is away: it is first again once it has shown its catalog.
                directory.doubt(&first.fingerprint);
                Error::new(error.kind(), format!("Matriochka: {error}; `meow route` explains"))
                    .with_retry(Retry::After(10))
                    .with_source(error)
            },
        )?;
        if ClearAnswer::matches(&came) {
            let clear = ClearAnswer::from_packet(&came)?;
            if clear == ClearAnswer::Taken {
                *fate = Fate::Away;
            }
            return Err(self.refused_by_first(path, first, &clear));
        }
        // Noise: whoever made it stops no other chain by that.
        let inside = reply.open(came.to_vec()).map_err(|e| {
            *fate = Fate::Away;
            let mut directory = self.directory();
            directory.failed(path);
            directory.doubt(&first.fingerprint);
            lost().with_source(e)
        })?;
        *fate = Fate::Back;
        self.opened(&inside, pending)
    }

    /// What the first server said in the place of an answer.
    fn refused_by_first(&self, path: &Path, first: &Place, clear: &ClearAnswer) -> Error {
        match clear {
            ClearAnswer::Refused(ClearCode::Busy) => busy(),
            ClearAnswer::Taken => {
                // Somebody on the way has lost the packet, or has other keys by now.
                let mut directory = self.directory();
                directory.failed(path);
                directory.look_again();
                lost()
            }
            _ => {
                self.directory().doubt(&first.fingerprint);
                lost()
            }
        }
    }

    /// What the mailbox server said.
    fn opened(&self, inside: &[u8], pending: PendingAnswer) -> Result<Answer> {
        if !ClearAnswer::matches(inside) {
            return pending.open(inside);
        }
        match ClearAnswer::from_packet(inside)? {
            ClearAnswer::Refused(ClearCode::Busy) => Err(busy()),
            _ => {
                self.directory().look_again();
                Err(lost())
            }
        }
    }
}

/// The smallest class that carries a request of this length, and an answer of this size class.
pub(super) fn class(request: usize, answer: u8) -> Result<OnionClass> {
    let answer = SIZE_CLASSES.get(usize::from(answer)).copied().unwrap_or(usize::MAX);
    let fits = |class: &OnionClass| request <= class.request_room(true) && answer <= class.answer_room();
    OnionClass::ALL.into_iter().find(fits).ok_or_else(|| {
        Error::new(ErrorKind::Limit, "this is larger than a packet through a chain can be; send less at once")
            .with_retry(Retry::Never)
    })
}

/// A path with the delays of one packet.
struct Delayed {
    there: Vec<Step>,
    back: Vec<Step>,
    delays: Duration,
}

fn delayed(path: &Path, chain: &Chain, random: &mut dyn Random) -> Result<Delayed> {
    let mean = Duration::from_millis(chain.delay_ms.into());
    let drawn = Delay::draw_all(path.there.len() + path.back.len(), mean, random)?;
    let (there, back) = drawn.split_at_checked(path.there.len()).unwrap_or_default();
    let delays = drawn.iter().map(|delay| delay.duration()).sum();
    Ok(Delayed { there: steps(&path.there, there)?, back: steps(&path.back, back)?, delays })
}

fn steps(places: &[Place], delays: &[Delay]) -> Result<Vec<Step>> {
    let step = |(place, delay): (&Place, &Delay)| {
        let key = place.descriptor.online_key().ok_or_else(no_key)?;
        Ok(Step { id: place.id, number: key.number, key: key.key, delay: *delay })
    };
    places.iter().zip(delays).map(step).collect()
}

fn no_path(why: NoPath) -> Error {
    match why {
        NoPath::Random(e) => e.into(),
        why => Error::new(
            ErrorKind::Unreachable,
            format!("Matriochka: {why}; `meow route` explains, `meow hop` adds servers"),
        )
        .with_retry(Retry::After(30)),
    }
}

fn no_key() -> Error {
    Error::new(ErrorKind::Malformed, "a server of the chain announces no key; its operator must mend it")
        .with_retry(Retry::After(60))
}

fn busy() -> Error {
    Error::new(ErrorKind::Limit, "Matriochka: a server of the chain is busy; try again in a while")
        .with_retry(Retry::After(5))
}

fn lost() -> Error {
    Error::new(
        ErrorKind::Unreachable,
        "Matriochka: no answer came back through the chain; a server on the way may be away. Other chains are tried: `meow route` shows of which servers, `meow hop` adds some",
    )
    .with_retry(Retry::After(10))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use meow_core::policy::MAX_DELAY_MS;

    use super::*;

    #[test]
    fn what_fits_a_small_packet_takes_one() {
        for (request, answer, want) in [
            (256, 0, Some(OnionClass::Small)),
            (512, 1, Some(OnionClass::Small)),
            (512, 2, Some(OnionClass::Large)),
            (2048, 0, Some(OnionClass::Large)),
            (32_768, 4, Some(OnionClass::Large)),
            (40_000, 0, None),
            (256, 5, None),
        ] {
            assert_eq!(class(request, answer).ok(), want, "{request} {answer}");
        }
    }

    #[test]
    fn a_request_is_held_no_longer_than_its_answer_has_time_to_come() {
        for (hops, delay_ms) in [(2, 0), (3, 0), (3, 12_000), (5, 6_666), (2, 20_000)] {
            let chain = Chain { hops, delay_ms, ..Chain::default() };
            chain.check().unwrap();
            assert!(longest_hold(&chain) + 2 * chain.delays() <= LONGEST, "{chain:?}");
        }
        let holds = (2..=5u8).flat_map(|hops| {
            let chains = (0..=MAX_DELAY_MS).step_by(500).map(move |delay_ms| Chain {
                hops,
                delay_ms,
                ..Chain::default()
            });
            chains.filter(|chain| chain.check().is_ok()).map(|chain| longest_hold(&chain).as_secs())
        });
        let holds: BTreeSet<_> = holds.collect();
        assert_eq!(
            holds,
            [0, 10, 25, 50].into(),
            "a24: the server learns no more of the chain than one of these"
        );
    }
}
