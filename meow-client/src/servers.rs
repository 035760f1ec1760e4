//! One's own servers: where mailboxes are made.

use std::time::Duration;

use meow_core::lane::{ServerRef, ServerReference};
use meow_core::store::{StoreTxn, Table};
use meow_core::transport::Endpoint;
use meow_core::wire::Fixed;
use meow_core::{Error, ErrorKind, Result};

use crate::client::Client;
use crate::records::{ServerRecord, decode, load, next_number, save};

/// A server of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnServer {
    /// Where it is, and the fingerprint that it must prove.
    pub reference: ServerReference,
    /// When it was added, in Unix milliseconds.
    pub added_ms: u64,
}

impl OwnServer {
    /// What contacts get to see of it: without credentials and invitation.
    pub(crate) fn public(&self) -> Result<ServerRef> {
        let url = self.reference.url.clone().without_credentials();
        Ok(ServerRef::new(self.reference.fingerprint, &[url])?)
    }

    fn from_record(record: ServerRecord) -> Self {
        let reference =
            ServerReference { url: record.url, fingerprint: record.fingerprint.0, invite: record.invite };
        Self { reference, added_ms: record.added_ms }
    }
}

/// The own servers, in the order in which they were added.
pub(crate) fn own_servers(txn: &dyn StoreTxn) -> Result<Vec<OwnServer>> {
    let mut records = Vec::new();
    for (_, value) in txn.scan(Table::Servers, &[], None, 1000, false)? {
        records.push(decode::<ServerRecord>(Table::Servers, &value)?);
    }
    records.sort_by_key(|r| r.position);
    Ok(records.into_iter().map(OwnServer::from_record).collect())
}

/// The URL with credentials under which a server of one's own is dialled.
pub(crate) fn private_url(txn: &dyn StoreTxn, fingerprint: &[u8; 32]) -> Result<Option<Endpoint>> {
    let record: Option<ServerRecord> = load(txn, Table::Servers, fingerprint)?;
    Ok(record.map(|r| r.url))
}

impl Client {
    /// Adds a server of one's own, after asking it for its descriptor and checking its fingerprint. New
    /// contacts get mailboxes on every server of one's own, at most four.
    ///
    /// # Errors
    /// `WrongPeer` when another server answers there, `Unreachable`, `UnknownScheme`. For a server that is in
    /// the list already, URL, credentials and invitation are replaced.
    ///
    /// # Cancel safety
    /// Dropping the future adds the server or does not.
    pub async fn add_server(&self, reference: &ServerReference) -> Result<()> {
        self.inner.servers.descriptor(&reference.url, &reference.fingerprint).await?;
        let reference = reference.clone();
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
                save(txn, Table::Servers, &reference.fingerprint, &record)
            })
            .await
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
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        "no such server; `meow server list` lists them",
                    ));
                }
                txn.delete(Table::Servers, &fingerprint)
            })
            .await
    }

    /// Asks a server for its descriptor: how long that took, and how far its clock is from ours in seconds.
    ///
    /// # Errors
    /// `Unreachable`, `WrongPeer`, or what the transport says.
    pub async fn probe_server(&self, reference: &ServerReference) -> Result<(Duration, i64)> {
        let start = tokio::time::Instant::now();
        let descriptor = self.inner.servers.descriptor(&reference.url, &reference.fingerprint).await?;
        let ours = i64::try_from(self.inner.now_ms() / 1000).unwrap_or(i64::MAX);
        let theirs = i64::try_from(descriptor.issued).unwrap_or(i64::MAX);
        Ok((start.elapsed(), theirs.saturating_sub(ours)))
    }

    /// Forgets what was learnt of the network: call it when the device changed networks. Running polls
    /// start over.
    pub fn network_changed(&self) {
        self.inner.servers.forget();
        self.inner.network.notify_waiters();
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
