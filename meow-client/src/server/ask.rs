//! Sealed requests to servers, with their descriptors kept in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meow_core::crypto::Random;
use meow_core::lane::ServerRef;
use meow_core::request::{
    Answer, ClearAnswer, ClearCode, DESCRIBE, Descriptor, RefusalCode, Refused, Request, RequestKind,
    seal_request,
};
use meow_core::transport::Endpoint;
use meow_core::{Error, ErrorKind, Result, Retry};
use meow_transport::Transports;

use super::exchange;
use crate::random::SharedRandom;

/// How long a server may take beyond the wait that it was asked for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Descriptors that are kept in memory.
const MAX_KNOWN: usize = 1000;

/// One request to one server.
pub(crate) struct Ask<'a> {
    /// The server that must answer.
    pub(crate) server: &'a ServerRef,
    /// URLs to use before those of `server` (one's own, with credentials).
    pub(crate) private_url: Option<&'a Endpoint>,
    /// What is asked.
    pub(crate) kind: RequestKind,
    /// Index of the answer's size class.
    pub(crate) answer: u8,
    /// How long the server may hold the request.
    pub(crate) wait: Duration,
}

/// The way to all servers.
pub(crate) struct Servers {
    transports: Transports,
    random: SharedRandom,
    known: Mutex<HashMap<[u8; 32], Arc<Descriptor>>>,
}

impl Servers {
    pub(crate) fn new(transports: Transports, random: SharedRandom) -> Self {
        Self { transports, random, known: Mutex::default() }
    }

    /// Forgets what was learnt of servers, so that everything is looked up anew (the network changed).
    pub(crate) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The server's own word about itself, verified against the fingerprint.
    ///
    /// # Errors
    /// `WrongPeer` when another server answers, `Unreachable`, or what the transport says.
    pub(crate) async fn descriptor(&self, at: &Endpoint, fingerprint: &[u8; 32]) -> Result<Arc<Descriptor>> {
        let packet = exchange(&self.transports, at, fingerprint, &DESCRIBE, PATIENCE).await?;
        let ClearAnswer::Descriptor(signed) = ClearAnswer::from_packet(&packet)? else {
            return Err(Error::new(ErrorKind::Limit, format!("{at} is too busy to answer; try again later")));
        };
        let descriptor = Arc::new(signed.verified(fingerprint)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            // Contacts name servers at will; those in use are asked again.
            known.clear();
        }
        known.insert(*fingerprint, Arc::clone(&descriptor));
        Ok(descriptor)
    }

    /// Asks, trying the server's URLs in order until one works. The same request can reach the server
    /// twice when a link breaks after it was sent: requests are idempotent or counted.
    ///
    /// # Errors
    /// That of the last URL tried. A refusal by the server is not an error here.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the server acted.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Answer> {
        let mut last = None;
        for url in ask.private_url.cloned().into_iter().chain(ask.server.endpoints()) {
            match self.ask_at(&url, ask).await {
                Ok(answer) => return Ok(answer),
                // What the server proved or said holds for every URL; only the way there can differ.
                Err(e) if e.retry() == Retry::Never && e.kind() == ErrorKind::Limit => return Err(e),
                Err(e) => last = Some(e),
            }
        }
        Err(last.unwrap_or_else(|| {
            Error::new(ErrorKind::Usage, "this server has no usable URL; ask for its current reference")
        }))
    }

    async fn ask_at(&self, url: &Endpoint, ask: &Ask<'_>) -> Result<Answer> {
        let fingerprint = ask.server.fingerprint();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(fingerprint).cloned();
        let mut descriptor = match known {
            Some(d) => d,
            None => self.descriptor(url, fingerprint).await?,
        };
        for _ in 0..2 {
            let key = descriptor.online_key().ok_or_else(|| {
                Error::new(
                    ErrorKind::Malformed,
                    format!("{url} announces no key to seal to; its operator must mend it"),
                )
            })?;
            let request = Request { answer: ask.answer, kind: ask.kind.clone() };
            let (packet, pending) = {
                let mut random = self.random.lock();
                seal_request(&request, fingerprint, key, &mut *random as &mut dyn Random)?
            };
            let answer = exchange(&self.transports, url, fingerprint, &packet, PATIENCE + ask.wait).await?;
            if !ClearAnswer::matches(&answer) {
                return pending.open(&answer);
            }
            match ClearAnswer::from_packet(&answer)? {
                ClearAnswer::Refused(ClearCode::UnknownKey) => {
                    descriptor = self.descriptor(url, fingerprint).await?;
                }
                ClearAnswer::Refused(ClearCode::Busy) => {
                    return Err(Error::new(ErrorKind::Limit, format!("{url} is busy; try again in a while")));
                }
                ClearAnswer::Refused(ClearCode::NewerVersion) => {
                    return Err(Error::new(
                        ErrorKind::NewerVersion,
                        format!(
                            "{url} runs an older version that does not know this one; its operator must update it"
                        ),
                    ));
                }
                ClearAnswer::Refused(ClearCode::Unreadable) | ClearAnswer::Descriptor(_) => {
                    return Err(Error::new(
                        ErrorKind::Malformed,
                        format!("{url} could not read the request; if this stays, one side must be updated"),
                    ));
                }
            }
        }
        Err(Error::new(ErrorKind::Unreachable, format!("{url} keeps changing its keys; try again later")))
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
