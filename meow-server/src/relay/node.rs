//! What all links of a relay share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use meow_core::Result;
use meow_core::crypto::{DhSecret, Random};
use meow_core::onion::HopKey;
use meow_core::request::{ClearAnswer, Descriptor, SignedDescriptor};
use meow_core::store::MailboxStore;
use meow_core::transport::{Endpoint, Frame};
use meow_core::wire::{List, Text, WireError};
use meow_core::{Error, ErrorKind};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::hop::HopNode;
use crate::engine::{Budget, HeldPulls, Hops, Share, Shares, Writer};
use crate::onion::Hop;
use crate::service::{DynService, Mail, Table};
use crate::session::Sessions;
use crate::steady::SteadyTime;
use crate::{Admission, Clock, RelayLimits, ServerIdentity};

pub(super) struct Parts {
    pub(super) store: Arc<dyn MailboxStore>,
    pub(super) identity: ServerIdentity,
    pub(super) urls: Vec<Endpoint>,
    pub(super) limits: Arc<RelayLimits>,
    pub(super) admission: Admission,
    pub(super) services: Vec<Arc<dyn DynService>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Box<dyn Random>,
    pub(super) stopping: CancellationToken,
    pub(super) hop: Option<Hop>,
}

pub(super) struct Node {
    pub(super) limits: Arc<RelayLimits>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) table: Table,
    pub(super) mail: Mail,
    pub(super) hops: Arc<Hops>,
    /// For open links, of which no source has more than it leaves to others.
    pub(super) links: Arc<Budget>,
    pub(super) seats: Arc<Semaphore>,
    pub(super) opening: Semaphore,
    pub(super) sessions: Sessions,
    pub(super) stopping: CancellationToken,
    /// There where the relay is a hop of onion chains.
    pub(super) hop: Option<HopNode>,
    urls: Vec<Endpoint>,
    random: Mutex<Box<dyn Random>>,
    identity: Mutex<ServerIdentity>,
    published: RwLock<Arc<Published>>,
}

/// What sources of each kind may ask.
fn shares(limits: &RelayLimits, hop: Option<&Hop>) -> Shares {
    let address = Share { rate: limits.rate, burst: limits.burst, open: limits.active_per_address };
    let times = hop.map_or(1, |hop| hop.limits.server_share);
    let server = Share {
        rate: limits.rate.saturating_mul(times),
        burst: limits.burst.saturating_mul(times),
        // So few links lead from one server to another one that more would be no server's.
        open: limits.active_per_address,
    };
    // Half of all that is worked on, so that what comes with an address is served beside it.
    let half = u32::try_from(limits.active / 2).unwrap_or(u32::MAX).max(1);
    let listener = Share { rate: limits.listener_rate, burst: limits.listener_burst, open: half };
    Shares { address, listener, server, addresses: limits.addresses }
}

/// What requests are opened with and what is told of it, as of the last upkeep.
struct Published {
    keys: crate::identity::Ring,
    hop_keys: Vec<HopKey>,
    descriptor: Frame,
}

impl Node {
    pub(super) fn new(parts: Parts) -> Result<Arc<Self>> {
        let Parts { store, identity, urls, limits, admission, services, clock, random, stopping, hop } =
            parts;
        let table = Table::new(services)?;
        let held = Arc::new(HeldPulls::new(limits.held_pulls, limits.held_per_mailbox));
        let time = SteadyTime::new(Arc::clone(&clock), identity.ring().seen());
        let writer = Writer::start(
            Arc::clone(&store),
            Arc::clone(&held),
            limits.quota(),
            limits.write_queue,
            limits.batch,
        )?;
        let mail = Mail {
            server: *identity.fingerprint(),
            limits: Arc::clone(&limits),
            admission,
            time,
            store,
            writer,
            reading: Semaphore::new(limits.readers),
            held,
            stopping: stopping.clone(),
        };
        let keys = identity.ring().clone();
        let shares = shares(&limits, hop.as_ref());
        let hop = hop.map(|hop| HopNode::new(hop, identity.fingerprint(), Arc::clone(&clock))).transpose()?;
        let node = Self {
            hops: Arc::new(Hops::new(shares)),
            links: Budget::new(limits.links, limits.links, 1),
            seats: Arc::new(Semaphore::new(limits.active)),
            opening: Semaphore::new(limits.opening),
            sessions: Sessions::new(limits.sessions, limits.sessions_per_address, limits.session_time),
            table,
            mail,
            hop,
            urls,
            clock,
            stopping,
            random: Mutex::new(random),
            identity: Mutex::new(identity),
            published: RwLock::new(Arc::new(Published {
                keys,
                hop_keys: Vec::new(),
                descriptor: Frame::new(),
            })),
            limits,
        };
        node.turn_keys()?;
        Ok(Arc::new(node))
    }

    /// The descriptor's packet.
    pub(super) fn descriptor(&self) -> Frame {
        self.published().descriptor.clone()
    }

    /// The sealing key of this number.
    pub(super) fn secret(&self, number: u32) -> Option<DhSecret> {
        self.published().keys.secret(number).cloned()
    }

    /// The online key that a hint of onion packets means.
    pub(super) fn hop_key(&self, hint: u8) -> Option<HopKey> {
        self.published().hop_keys.iter().find(|key| key.hint() == hint).cloned()
    }

    /// Forgets the tags of onion packets for keys that are gone.
    pub(super) async fn forget_tags(&self) {
        if let Some(hop) = &self.hop {
            hop.keep(&self.published().hop_keys).await;
        }
    }

    fn published(&self) -> Arc<Published> {
        // Only ever replaced as a whole.
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn random(&self) -> MutexGuard<'_, Box<dyn Random>> {
        // A source is as good after a panic as before.
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn identity(&self) -> MutexGuard<'_, ServerIdentity> {
        // Its methods change it in one last step.
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes and forgets keys as the time demands, and signs a fresh descriptor. A key is told to others only after it
    /// is durable. Blocks on the disk where a key turns.
    pub(super) fn turn_keys(&self) -> Result<()> {
        let (now, shown) = (self.mail.time.now(), self.mail.time.shown());
        let mut identity = self.identity();
        let turned = identity.ring().turned(now, &mut **self.random())?;
        if let Some(ring) = turned {
            identity.save(ring, &mut **self.random())?;
            tracing::info!("sealing keys turned");
        }
        let descriptor = self.sign(&identity, now, shown)?;
        let keys = identity.ring().clone();
        let hop_keys = if self.hop.is_some() { keys.hop_keys() } else { Vec::new() };
        let published = Arc::new(Published { keys, hop_keys, descriptor });
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = published;
        Ok(())
    }

    fn sign(&self, identity: &ServerIdentity, now: u64, shown: u64) -> Result<Frame> {
        let keys = identity.ring().published(now, shown);
        let urls = self.urls.iter().map(|url| Text::new(url.to_string())).collect::<Result<Vec<_>, _>>();
        let urls = urls.map_err(|_| Error::new(ErrorKind::Usage, "a public URL is longer than 256 bytes"))?;
        let descriptor = Descriptor {
            skp: identity.public(),
            issued: shown,
            expires: keys.iter().map(|key| key.not_after).min().unwrap_or(shown),
            urls: List::new(urls).map_err(|_| WireError::TooLong)?,
            keys: List::new(keys).map_err(|_| WireError::TooLong)?,
            limits: self.limits.mailbox,
            hop: self.hop.as_ref().map(HopNode::onward),
        };
        let signed = SignedDescriptor::sign(descriptor, identity.skp())?;
        Ok(ClearAnswer::Descriptor(Box::new(signed)).to_packet()?.into())
    }

    /// Ends the writer after all that is queued, and notes the time.
    pub(super) async fn rest(&self) {
        if let Some(hop) = &self.hop {
            hop.rest().await;
        }
        self.mail.writer.stop().await;
        let mut identity = self.identity();
        let ring = identity.ring().at(self.mail.time.now());
        if let Err(e) = identity.save(ring, &mut **self.random()) {
            tracing::warn!(kind = e.kind().name(), "the time was not noted: {e}");
        }
    }
}
