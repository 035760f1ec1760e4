//! One's own servers: where mailboxes are made.

use std::sync::Arc;
use std::time::Duration;

use meow_core::lane::{MAX_URL, MAX_URLS, ServerRef, ServerReference};
use meow_core::request::{Answer, RequestKind};
use meow_core::store::{StoreTxn, Table};
use meow_core::transport::Endpoint;
use meow_core::wire::Fixed;
use meow_core::{Error, ErrorKind, Result};

use crate::client::{Client, Inner};
use crate::hearing::silence;
use crate::mailbox::unexpected;
use crate::moving::{leaving, stay};
use crate::records::{ServerReached, ServerRecord, decode, load, next_number, save};
use crate::route::Passage;
use crate::server::{Answered, Ask, Room, Seal, To};

/// A server of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnServer {
    /// Where it is, and the fingerprint that it must prove.
    pub reference: ServerReference,
    /// When it was added, in Unix milliseconds.
    pub added_ms: u64,
    /// Where else it is, as its newest signed descriptor says. The client uses whichever URL works.
    pub listed: Vec<Endpoint>,
    /// The URL by which it answered last.
    pub in_use: Option<Endpoint>,
    /// It is being left ([`move_server`](Client::move_server)): no new mailboxes are made there.
    pub leaving: bool,
    /// Since when it does not answer, in Unix milliseconds. Where it stays so, others take its place
    /// ([`refill_after`](crate::ClientBuilder::refill_after)).
    pub silent_since_ms: Option<u64>,
}

impl OwnServer {
    /// What contacts get to see of it: without credentials and invitation. A place on this machine is named only
    /// where there is no other.
    pub(crate) fn public(&self) -> Result<ServerRef> {
        let own = self.reference.url.clone().without_credentials();
        let mut urls = vec![own.clone()];
        urls.extend(self.listed.iter().filter(|url| url.to_string().len() <= MAX_URL).cloned());
        if urls.iter().any(|url| url.host().is_some()) {
            urls.retain(|url| url.host().is_some());
        }
        urls.truncate(MAX_URLS);
        Ok(ServerRef::new(self.reference.fingerprint, &urls)?)
    }

    fn new(record: ServerRecord, reached: Option<ServerReached>, leaving: bool) -> Self {
        let own = record.url.clone().without_credentials();
        let (mut listed, in_use) = reached.map_or((Vec::new(), None), |r| (r.listed, Some(r.by)));
        listed.retain(|url| *url != own);
        let reference =
            ServerReference { url: record.url, fingerprint: record.fingerprint.0, invite: record.invite };
        Self { reference, added_ms: record.added_ms, listed, in_use, leaving, silent_since_ms: None }
    }
}

/// The own servers, in the order in which they were added.
pub(crate) fn own_servers(txn: &dyn StoreTxn) -> Result<Vec<OwnServer>> {
    let mut records = Vec::new();
    for (_, value) in txn.scan(Table::Servers, &[], None, 1000, false)? {
        records.push(decode::<ServerRecord>(Table::Servers, &value)?);
    }
    records.sort_by_key(|r| r.position);
    let left = leaving(txn)?;
    records
        .into_iter()
        .map(|record| {
            let reached = load(txn, Table::Meta, &reached_key(&record.fingerprint.0))?;
            let leaving = left.contains(&record.fingerprint.0);
            let silent_since_ms = silence(txn, &record.fingerprint.0)?.map(|silence| silence.since_ms);
            Ok(OwnServer { silent_since_ms, ..OwnServer::new(record, reached, leaving) })
        })
        .collect()
}

/// Those at which new mailboxes are made.
pub(crate) fn staying_servers(txn: &dyn StoreTxn) -> Result<Vec<OwnServer>> {
    let mut servers = own_servers(txn)?;
    servers.retain(|server| !server.leaving);
    Ok(servers)
}

/// Takes a server off the list.
pub(crate) fn forget_server(txn: &mut dyn StoreTxn, fingerprint: &[u8; 32]) -> Result<()> {
    stay(txn, fingerprint)?;
    crate::hearing::forget(txn, fingerprint)?;
    txn.delete(Table::Meta, &reached_key(fingerprint))?;
    txn.delete(Table::Servers, fingerprint)
}

/// There is no such server.
pub(crate) fn server_gone() -> Error {
    Error::new(ErrorKind::NotFound, "no such server; `meow server list` lists them")
}

fn reached_key(fingerprint: &[u8; 32]) -> Vec<u8> {
    [b"reached ".as_slice(), fingerprint].concat()
}

impl Inner {
    /// Those at which new mailboxes can be made: not those that stay silent, as long as there are others.
    pub(crate) fn usable_servers(&self, txn: &dyn StoreTxn) -> Result<Vec<OwnServer>> {
        let all = staying_servers(txn)?;
        let mut alive = Vec::new();
        for server in &all {
            if !self.is_dead(txn, &server.reference.fingerprint, self.refill_after_ms)? {
                alive.push(server.clone());
            }
        }
        Ok(if alive.is_empty() { all } else { alive })
    }

    /// Asks a server straight, by a request that is sealed to its key.
    ///
    /// # Errors
    /// As [`Servers::ask`](crate::server::Servers::ask), and those of the store; `Unreachable` where the policy does not allow
    /// this passage (any more).
    pub(crate) async fn ask(
        self: &Arc<Self>,
        passage: &Passage,
        server: &ServerRef,
        kind: RequestKind,
        room: Room,
        wait: Duration,
    ) -> Result<Answer> {
        match self.ask_sealed(passage, server, Seal::Key(&kind), room, wait).await? {
            Answered::Sealed { answer, .. } => Ok(answer),
            Answered::NoSession { .. } => Err(unexpected()),
        }
    }

    /// Asks a server: one of the user's own by the user's URL too, with credentials; any by those that it lists.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(crate) async fn ask_sealed(
        self: &Arc<Self>,
        passage: &Passage,
        server: &ServerRef,
        seal: Seal<'_>,
        room: Room,
        wait: Duration,
    ) -> Result<Answered> {
        let fingerprint = *server.fingerprint();
        let own = self
            .read(move |txn| {
                let record: Option<ServerRecord> = load(txn, Table::Servers, &fingerprint)?;
                let Some(record) = record else { return Ok(None) };
                Ok(Some((record.url, load::<ServerReached>(txn, Table::Meta, &reached_key(&fingerprint))?)))
            })
            .await?;
        let allowed = self.by(passage);
        let Some((url, reached)) = own else {
            let to = To { server, private_url: None, allowed: &allowed };
            return self.servers.ask(&Ask { to, seal, room, wait }).await;
        };
        if let Some(reached) = &reached {
            self.servers.told().remembers(&fingerprint, reached.listed.clone(), reached.issued);
        }
        let to = To { server, private_url: Some(&url), allowed: &allowed };
        let answered = self.servers.ask(&Ask { to, seal, room, wait }).await;
        self.note_reached(fingerprint, reached).await?;
        answered
    }

    /// Keeps how a server of one's own is reached, for a start at which its first URL is dead.
    async fn note_reached(
        self: &Arc<Self>,
        fingerprint: [u8; 32],
        before: Option<ServerReached>,
    ) -> Result<()> {
        let Some((listed, by, issued)) = self.servers.told().last(&fingerprint) else { return Ok(()) };
        let (mut now, added) = (ServerReached { listed, by, issued }, before.is_none());
        if before.as_ref() == Some(&now) {
            return Ok(());
        }
        self.write(move |txn, _| match txn.get(Table::Servers, &fingerprint)? {
            Some(_) => {
                let key = reached_key(&fingerprint);
                let known: Option<ServerReached> = load(txn, Table::Meta, &key)?;
                if let Some(known) = known.filter(|_| !added) {
                    // Another process may have seen a newer one.
                    now.issued = now.issued.max(known.issued);
                }
                save(txn, Table::Meta, &key, &now)
            }
            // It was removed while it was asked.
            None => Ok(()),
        })
        .await
    }
}

impl Client {
    /// Adds a server of one's own, after asking it for its descriptor and checking its fingerprint. From then on the
    /// client uses whichever works of this URL and those that the descriptor lists. New contacts get mailboxes on
    /// every server of one's own, at most four. Where the policy for new contacts does not let this device go straight to
    /// servers, it is not asked: then a chain must lead there.
    ///
    /// # Errors
    /// `WrongPeer` when another server answers there, `Unreachable`, `UnknownScheme`. For a server that is in
    /// the list already, URL, credentials and invitation are replaced.
    ///
    /// # Cancel safety
    /// Dropping the future adds the server or does not.
    pub async fn add_server(&self, reference: &ServerReference) -> Result<()> {
        // The way out where an operator's clock was ahead once.
        self.inner.servers.told().takes_older(&reference.fingerprint);
        if self.inner.default_policy().await?.shows_to_servers() {
            self.inner.servers.descriptor(&reference.url, &reference.fingerprint).await?;
        } else {
            self.inner.leads_to(&reference.to_server_ref()?).await?;
        }
        let (reference, fingerprint) = (reference.clone(), reference.fingerprint);
        self.inner
            .write(move |txn, inner| {
                let known: Option<ServerRecord> = load(txn, Table::Servers, &reference.fingerprint)?;
                let position = match known {
                    Some(r) => r.position,
                    None => next_number(txn, b"server")?,
                };
                let record = ServerRecord {
                    url: reference.url,
                    fingerprint: Fixed(reference.fingerprint),
                    invite: reference.invite,
                    added_ms: inner.now_ms(),
                    position,
                };
                stay(txn, &record.fingerprint.0)?;
                save(txn, Table::Servers, &record.fingerprint.0, &record)
            })
            .await?;
        self.inner.heard(fingerprint).await?;
        self.inner.note_reached(fingerprint, None).await
    }

    /// One's own servers, in the order in which they were added.
    ///
    /// # Errors
    /// `Damaged`, `System`.
    pub async fn servers(&self) -> Result<Vec<OwnServer>> {
        self.inner.read(own_servers).await
    }

    /// Takes a server off the list. Mailboxes that contacts already use there stay in use.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_server(&self, fingerprint: [u8; 32]) -> Result<()> {
        self.inner
            .write(move |txn, _| {
                if txn.get(Table::Servers, &fingerprint)?.is_none() {
                    return Err(server_gone());
                }
                forget_server(txn, &fingerprint)
            })
            .await
    }

    /// Asks a server for its descriptor: how long that took, and how far its clock is from ours in seconds.
    ///
    /// # Errors
    /// `Usage` where the policy for new contacts does not let this device go straight to servers;
    /// `Unreachable`, `WrongPeer`, or what the transport says.
    pub async fn probe_server(&self, reference: &ServerReference) -> Result<(Duration, i64)> {
        if !self.inner.default_policy().await?.shows_to_servers() {
            let text =
                "not asked: the policy for new contacts does not let this device go straight to servers";
            return Err(Error::new(ErrorKind::Usage, text));
        }
        let start = tokio::time::Instant::now();
        let descriptor = self.inner.servers.descriptor(&reference.url, &reference.fingerprint).await?;
        self.inner.heard(reference.fingerprint).await?;
        let ours = i64::try_from(self.inner.now_ms() / 1000).unwrap_or(i64::MAX);
        let theirs = i64::try_from(descriptor.issued).unwrap_or(i64::MAX);
        Ok((start.elapsed(), theirs.saturating_sub(ours)))
    }

    /// Forgets what was learnt of the network: call it when the device changed networks. Running polls
    /// start over, and direct links end.
    pub fn network_changed(&self) {
        self.inner.servers.forget();
        self.inner.directory().forget();
        self.inner.direct.hang_up();
        self.inner.network.send_replace(());
        self.inner.outbox.notify_one();
    }

    /// Stops all network use of [`run`](Self::run) until [`resume`](Self::resume): for a phone that sleeps.
    pub fn suspend(&self) {
        self.inner.suspended.send_replace(true);
    }

    /// Ends a [`suspend`](Self::suspend).
    pub fn resume(&self) {
        self.inner.suspended.send_replace(false);
        self.network_changed();
    }
}
