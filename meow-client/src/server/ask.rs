//! Sealed requests to servers, with their descriptors kept in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::crypto::{Random, Secret};
use meow_core::lane::ServerRef;
use meow_core::request::{
    Answer, ClearAnswer, ClearCode, DESCRIBE, Descriptor, RefusalCode, Refused, Request, RequestKind,
    seal_request,
};
use meow_core::session::SessionKind;
use meow_core::transport::{CostClass, Endpoint, LinkProfile};
use meow_core::{Error, ErrorKind, Result, Retry};
use meow_transport::Transports;

use super::carry::{Carrier, Direct};
use super::choose::{Failures, another, order};
use super::exchange;
use super::reach::{Always, MayLeave, connect, open};
use super::sealed::{Room, Seal, Session};
use super::silence::{SPREAD, Silence, Silences};
use super::told::{Told, counter_of_own};
use crate::random::SharedRandom;
use crate::route::below;

/// How long a server may take beyond the wait that it was asked for.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same where another of its URLs can be tried that costs no more.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(10);

/// Where a request goes.
pub(crate) struct To<'a> {
    /// The server that must answer.
    pub(crate) server: &'a ServerRef,
    /// The URL by which the user knows the server, with credentials, where it is one of the user's own.
    pub(crate) private_url: Option<&'a Endpoint>,
    /// Whether it may go there yet.
    pub(crate) allowed: &'a dyn MayLeave,
}

/// One request to one server.
pub(crate) struct Ask<'a> {
    pub(crate) to: To<'a>,
    /// What is asked, and what seals it.
    pub(crate) seal: Seal<'a>,
    /// Room for the answer.
    pub(crate) room: Room,
    /// How long the server may hold the request.
    pub(crate) wait: Duration,
}

/// What came of a request.
pub(crate) enum Answered {
    /// The server's answer, out of its seal.
    Sealed {
        answer: Answer,
        /// What goes into a session's secret, where a request to the server's key opened one.
        export: Option<Secret>,
    },
    /// The session did not serve; ask without it. It is to be forgotten, or only came to no answer.
    NoSession { forget: bool },
}

/// The way to all servers.
pub(crate) struct Servers {
    pub(super) transports: Transports,
    random: SharedRandom,
    told: Mutex<Told>,
    failures: Mutex<Failures>,
    silences: Silences,
}

impl Servers {
    pub(crate) fn new(transports: Transports, random: SharedRandom) -> Self {
        Self {
            transports,
            random,
            told: Mutex::default(),
            failures: Mutex::default(),
            silences: Silences::default(),
        }
    }

    /// Forgets what was learnt of servers, so that everything is looked up anew (the network changed).
    pub(crate) fn forget(&self) {
        self.told().forget();
        self.failures().clear();
    }

    /// What servers have told of themselves.
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        // Whole after every statement that holds the lock, as are the failures.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a link to a URL will be like; an error where this client cannot go.
    pub(crate) fn estimate(&self, url: &Endpoint) -> Result<LinkProfile> {
        self.transports.estimate(url)
    }

    /// The server's own word about itself, verified against the fingerprint.
    ///
    /// # Errors
    /// `WrongPeer` when another server answers, `Unreachable`, or what the transport says.
    pub(crate) async fn descriptor(&self, at: &Endpoint, fingerprint: &[u8; 32]) -> Result<Arc<Descriptor>> {
        let link = connect(&self.transports, at, fingerprint).await?;
        let mut carrier = Direct::new(&self.transports, at, fingerprint, &Always, link);
        self.describe(&mut carrier, fingerprint, PATIENCE).await
    }

    async fn describe(
        &self,
        carrier: &mut impl Carrier,
        fingerprint: &[u8; 32],
        patience: Duration,
    ) -> Result<Arc<Descriptor>> {
        let describes = |packet: &[u8]| match ClearAnswer::from_packet(packet) {
            Ok(ClearAnswer::Descriptor(signed)) => signed.verified(fingerprint).is_ok(),
            _ => false,
        };
        let packet = carrier.carry(&DESCRIBE, patience, &describes).await?;
        let at = carrier.to();
        let ClearAnswer::Descriptor(signed) = ClearAnswer::from_packet(&packet)? else {
            return Err(busy(at));
        };
        let descriptor = Arc::new(signed.verified(fingerprint)?);
        if !self.told().describes(fingerprint, &descriptor, at) {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!(
                    "{at} shows keys that are older than those it showed before: somebody on the way may repeat old \
                     ones. If its operator says that its clock was set back, stop what else runs on this home and \
                     add the server again with `meow server add`"
                ),
            ));
        }
        Ok(descriptor)
    }

    /// Asks by whichever of the server's URLs works (see [`order`]): the user's, those that its descriptor lists,
    /// those of `server`. A link that breaks is followed by the next one, so that the same request can reach the
    /// server twice: requests are idempotent or counted. In a session, each attempt takes a counter. A request that the
    /// server may hold is asked anew when another one stays unanswered on the same way meanwhile, unless that is scarce.
    ///
    /// # Errors
    /// That of the last URL tried, but `WrongPeer` before others; that of `allowed`. A refusal by the server is not an error here.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the server acted.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Answered> {
        let fingerprint = ask.to.server.fingerprint();
        let listed = self.told().urls(fingerprint);
        let named = listed.into_iter().chain(ask.to.server.endpoints());
        let mut ways =
            order(&self.transports, fingerprint, ask.to.private_url.cloned(), named, &self.failures())?;
        let (mut last, mut repeated, mut silent_bus) = (None, false, false);
        loop {
            let opened = open(&self.transports, &mut ways, fingerprint, ask.to.allowed).await?;
            opened.overtaken.iter().for_each(|url| self.failures().failed(fingerprint, url));
            for (url, e) in opened.failed {
                self.failed(fingerprint, &url, e, &mut last);
            }
            let Some((url, link)) = opened.open else { break };
            let cost = link.profile.cost;
            let patience = if another(&ways, cost) { PATIENCE_WITH_OTHERS } else { PATIENCE };
            // Where airtime is scarce, many would ask anew just when it is short.
            let heeds = !ask.wait.is_zero() && cost != CostClass::Scarce;
            let pause = if heeds { self.pause()? } else { Duration::ZERO };
            let silent = async {
                self.silences.at(fingerprint, &url).await;
                tokio::time::sleep(pause).await;
            };
            let mut carrier = Direct::new(&self.transports, &url, fingerprint, ask.to.allowed, link);
            let bus = carrier.bus();
            let answered = tokio::select! {
                biased;
                answered = self.ask_by(&mut carrier, ask, patience) => answered,
                () = silent, if heeds => {
                    // It was counted as a failure where it was noticed.
                    last.get_or_insert_with(|| exchange::silent(&url, patience));
                    (repeated, silent_bus) = (true, silent_bus | bus);
                    continue;
                }
            };
            match answered {
                Ok(answered) => {
                    self.failures().worked(fingerprint, &url);
                    self.told().used(fingerprint, &url);
                    return Ok(if repeated { own_counter(ask, answered) } else { answered });
                }
                // What the server proved or said holds for every URL; only the way there can differ.
                Err(e) if e.retry() == Retry::Never && e.kind() == ErrorKind::Limit => return Err(e),
                Err(e) => {
                    // Where the policy said no meanwhile, that is no fault of this way, and no other one is tried.
                    ask.to.allowed.may_leave().await?;
                    silent_bus |= bus;
                    self.failed(fingerprint, &url, e, &mut last);
                }
            }
            repeated = true;
        }
        match ask.seal {
            // On a bus a server that has forgotten the session says nothing.
            Seal::Session(..) if repeated => Ok(Answered::NoSession { forget: silent_bus }),
            _ => Err(last.unwrap_or_else(|| {
                Error::new(ErrorKind::Usage, "this server has no usable URL; ask for its current reference")
            })),
        }
    }

    pub(super) fn failed(&self, server: &[u8; 32], url: &Endpoint, e: Error, last: &mut Option<Error>) {
        tracing::debug!(kind = e.kind().name(), "one way to a server does not work");
        self.failures().failed(server, url);
        if Silence::is_why(&e) {
            self.silences.note(server, url);
        }
        if last.as_ref().is_none_or(|last| last.kind() != ErrorKind::WrongPeer) {
            *last = Some(e);
        }
    }

    /// How long a held request goes on after its way turned out to be silent.
    fn pause(&self) -> Result<Duration> {
        let most = usize::try_from(SPREAD.as_millis()).unwrap_or(usize::MAX);
        let drawn = below(most, &mut *self.random.lock() as &mut dyn Random)?;
        Ok(Duration::from_millis(drawn as u64))
    }

    /// One request and its answer, by one way.
    async fn ask_by(
        &self,
        carrier: &mut impl Carrier,
        ask: &Ask<'_>,
        patience: Duration,
    ) -> Result<Answered> {
        match ask.seal {
            Seal::Session(session, kind) => in_session(carrier, ask, patience, session, kind).await,
            Seal::Key(kind) => self.to_key(carrier, ask, patience, kind).await,
            Seal::KeyByLink { fat, thin } => {
                let kind = if carrier.thin() { thin } else { fat };
                self.to_key(carrier, ask, patience, kind).await
            }
        }
    }

    /// A request that is sealed to the server's key.
    async fn to_key(
        &self,
        carrier: &mut impl Carrier,
        ask: &Ask<'_>,
        patience: Duration,
        kind: &RequestKind,
    ) -> Result<Answered> {
        let fingerprint = ask.to.server.fingerprint();
        let known = self.told().descriptor(fingerprint);
        let mut old = known.is_some();
        let mut descriptor = match known {
            Some(d) => d,
            None => self.describe(carrier, fingerprint, patience).await?,
        };
        for _ in 0..2 {
            let key = descriptor.online_key().ok_or_else(|| {
                Error::new(
                    ErrorKind::Malformed,
                    format!("{} announces no key to seal to; its operator must mend it", carrier.to()),
                )
            })?;
            let thin = carrier.thin();
            let request = Request { answer: ask.room.index(thin), kind: kind.clone() };
            let (packet, pending) = {
                let mut random = self.random.lock();
                seal_request(&request, fingerprint, key, thin, &mut *random as &mut dyn Random)?
            };
            let fits = |packet: &[u8]| pending.open(packet).is_ok();
            let answer = match carrier.carry(&packet, patience + ask.wait, &fits).await {
                // On a bus, silence may mean that the server does not know the key any more.
                Err(e) if e.kind() == ErrorKind::Unreachable && carrier.bus() && old => {
                    let number = key.number;
                    descriptor = self.describe(carrier, fingerprint, patience).await?;
                    old = false;
                    match descriptor.online_key() {
                        Some(key) if key.number != number => continue,
                        _ => return Err(e),
                    }
                }
                answer => answer?,
            };
            if !ClearAnswer::matches(&answer) {
                let export = Some(pending.session_export().clone());
                return Ok(Answered::Sealed { answer: pending.open(&answer)?, export });
            }
            match ClearAnswer::from_packet(&answer)? {
                ClearAnswer::Refused(ClearCode::UnknownKey) => {
                    descriptor = self.describe(carrier, fingerprint, patience).await?;
                }
                other => return Err(unsealed(&other, carrier.to())),
            }
        }
        let text = format!("{} keeps changing its keys; try again later", carrier.to());
        Err(Error::new(ErrorKind::Unreachable, text))
    }
}

/// A request in a session. Nothing that is not sealed by the server counts as its answer.
async fn in_session(
    carrier: &mut impl Carrier,
    ask: &Ask<'_>,
    patience: Duration,
    session: &Session,
    kind: &SessionKind,
) -> Result<Answered> {
    let Some(sealed) = session.seal(kind, ask.room, carrier.thin())? else {
        return Ok(Answered::NoSession { forget: false });
    };
    let fits = |packet: &[u8]| session.open(&sealed, packet).is_some();
    let packet = carrier.carry(&sealed.packet, patience + ask.wait, &fits).await?;
    // First: a thin packet may begin with any byte.
    if let Some(answer) = session.open(&sealed, &packet) {
        return Ok(Answered::Sealed { answer, export: None });
    }
    match ClearAnswer::from_packet(&packet) {
        Ok(refusal @ ClearAnswer::Refused(ClearCode::Busy)) => Err(unsealed(&refusal, carrier.to())),
        _ => Ok(Answered::NoSession { forget: true }),
    }
}

/// What an unsealed answer means to one who asked something sealed.
fn unsealed(answer: &ClearAnswer, from: &Endpoint) -> Error {
    let (kind, text) = match answer {
        ClearAnswer::Refused(ClearCode::Busy) => return busy(from),
        ClearAnswer::Refused(ClearCode::NewerVersion) => (
            ErrorKind::NewerVersion,
            format!("{from} runs an older version that does not know this one; its operator must update it"),
        ),
        _ => (
            ErrorKind::Malformed,
            format!("{from} could not read the request; if this stays, one side must be updated"),
        ),
    };
    Error::new(kind, text)
}

/// Unsealed, a server does not say when to come again. It works on what it was given for moments only.
fn busy(at: &Endpoint) -> Error {
    Error::new(ErrorKind::Limit, format!("{at} is busy; try again in a while")).with_retry(Retry::After(2))
}

/// An answer to a request that may have reached the server before, by a link that broke.
fn own_counter(ask: &Ask<'_>, answered: Answered) -> Answered {
    match (ask.seal, answered) {
        (Seal::Key(kind), Answered::Sealed { answer, export }) => {
            Answered::Sealed { answer: counter_of_own(kind, answer), export }
        }
        (_, answered) => answered,
    }
}

/// A refusal as an error that says what to do.
pub(crate) fn refused(server: &ServerRef, refusal: Refused) -> Error {
    let host = server.urls().next().unwrap_or("the server");
    let (kind, text) = match refusal.code {
        RefusalCode::Full => (
            ErrorKind::Limit,
            format!("the mailbox at {host} is full; it takes more once its owner has fetched"),
        ),
        RefusalCode::NotInvited => (
            ErrorKind::Refused,
            format!(
                "{host} takes invited users only; ask its operator for a reference with an invitation (`meowd invite`)"
            ),
        ),
        RefusalCode::TooLarge => {
            (ErrorKind::Limit, format!("{host} does not take items of this size; send less at once"))
        }
        RefusalCode::Busy => (ErrorKind::Limit, format!("{host} is busy; try again in a while")),
        RefusalCode::NotFound => {
            (ErrorKind::NotFound, format!("{host} does not have what was asked for (any more)"))
        }
        RefusalCode::StaleCounter => {
            (ErrorKind::Refused, format!("{host} has seen a newer request of this mailbox"))
        }
        _ => (
            ErrorKind::Refused,
            format!("{host} denies access to the mailbox: it is closed, or its token has changed"),
        ),
    };
    let error = Error::new(kind, text);
    match refusal.retry_secs {
        0 => error,
        n => error.with_retry(Retry::After(n)),
    }
}
