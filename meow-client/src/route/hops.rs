//! What the user says of servers that chains can lead through.

use meow_core::lane::ServerReference;
use meow_core::policy::{MAX_POOL, pool_name};
use meow_core::store::{StoreTxn, Table};
use meow_core::transport::Endpoint;
use meow_core::wire::{Fixed, List, Text};
use meow_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::records::{decode, load, save};
use crate::unlock::Unlock;

/// Prefix of the records; then the fingerprint.
const HOPS: &[u8] = b"hop:";
/// Servers that a user can name.
const MAX_NAMED: usize = 1000;
/// Pools that one server can be in.
const MAX_POOLS: usize = 8;

/// What the user says of a server that chains can lead through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HopMarks {
    /// The user trusts it: it may be the first of a chain, and see this device's address.
    pub trusted: bool,
    /// The pools that it is in, by name.
    pub pools: Vec<String>,
    /// Who runs it. Two strangers' servers of one operator are never in one chain.
    pub operator: Option<String>,
}

/// A server that the user named for chains.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownHop {
    /// Where it is, and the fingerprint that it must prove.
    pub reference: ServerReference,
    /// What the user said of it.
    pub marks: HopMarks,
    /// When it was added, in Unix milliseconds.
    pub added_ms: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct HopRecord {
    url: Endpoint,
    fingerprint: Fixed<32>,
    trusted: bool,
    pools: List<Text<MAX_POOL>, MAX_POOLS>,
    operator: Option<Text<64>>,
    added_ms: u64,
}

impl HopRecord {
    fn new(reference: &ServerReference, marks: &HopMarks, added_ms: u64) -> Result<Self> {
        let pools = marks
            .pools
            .iter()
            .map(|name| pool_name(name).ok_or_else(bad_pool))
            .collect::<Result<Vec<_>>>()?;
        let operator = marks.operator.clone().map(Text::new).transpose();
        Ok(Self {
            url: reference.url.clone(),
            fingerprint: Fixed(reference.fingerprint),
            trusted: marks.trusted,
            pools: List::new(pools).map_err(|_| {
                Error::new(ErrorKind::Limit, format!("a server is in at most {MAX_POOLS} pools"))
            })?,
            operator: operator
                .map_err(|_| Error::new(ErrorKind::Limit, "an operator's name has at most 64 bytes"))?,
            added_ms,
        })
    }
}

impl From<HopRecord> for KnownHop {
    fn from(record: HopRecord) -> Self {
        let marks = HopMarks {
            trusted: record.trusted,
            pools: record.pools.iter().map(|name| name.to_string()).collect(),
            operator: record.operator.map(Text::into_string),
        };
        let fingerprint = record.fingerprint.0;
        let reference = ServerReference { url: record.url, fingerprint, invite: None };
        Self { reference, marks, added_ms: record.added_ms }
    }
}

fn bad_pool() -> Error {
    let text = format!("the name of a pool has 1 to {MAX_POOL} letters, digits, - and _");
    Error::new(ErrorKind::Usage, text)
}

/// Every server that the user named for chains.
pub(crate) fn known_hops(txn: &dyn StoreTxn) -> Result<Vec<KnownHop>> {
    let rows = txn.scan(Table::Meta, HOPS, None, MAX_NAMED, false)?;
    rows.iter().map(|(_, value)| decode::<HopRecord>(Table::Meta, value).map(KnownHop::from)).collect()
}

fn key(fingerprint: &[u8; 32]) -> Vec<u8> {
    [HOPS, fingerprint].concat()
}

/// Keeps a record, in place of the one before.
fn note(txn: &mut dyn StoreTxn, mut record: HopRecord) -> Result<()> {
    let key = key(&record.fingerprint.0);
    match load::<HopRecord>(txn, Table::Meta, &key)? {
        Some(known) => record.added_ms = known.added_ms,
        None if txn.scan(Table::Meta, HOPS, None, MAX_NAMED, false)?.len() == MAX_NAMED => {
            return Err(Error::new(ErrorKind::Limit, "so many servers are noted; remove some first"));
        }
        None => {}
    }
    save(txn, Table::Meta, &key, &record)
}

impl Client {
    /// Notes a server that chains can lead through; for a known one, replaces what was noted. One to be trusted is
    /// asked whether it is a hop; another one is not asked anything, since it would learn this device's address. Needs the
    /// password: whom chains begin at is as weighty as a policy.
    ///
    /// # Errors
    /// `WrongSecret`; `Usage` for a bad name, or one to be trusted that is no hop; `WrongPeer`, `Unreachable`, `Limit`.
    ///
    /// # Cancel safety
    /// Dropping the future notes the server or does not.
    pub async fn add_hop(&self, reference: &ServerReference, marks: HopMarks, unlock: &Unlock) -> Result<()> {
        let inner = &self.inner;
        let record = HopRecord::new(reference, &marks, inner.now_ms())?;
        inner.check_password(unlock).await?;
        if marks.trusted {
            let descriptor = inner.servers.descriptor(&reference.url, &reference.fingerprint).await?;
            if descriptor.hop.is_none() {
                let text = format!("{} is no hop; its operator has to start it with --hop", reference.url);
                return Err(Error::new(ErrorKind::Usage, text));
            }
        }
        inner.write(move |txn, _| note(txn, record)).await?;
        inner.directory().forget();
        Ok(())
    }

    /// The servers that the user named for chains.
    ///
    /// # Errors
    /// `Damaged`, `System`.
    pub async fn hops(&self) -> Result<Vec<KnownHop>> {
        self.inner.read(known_hops).await
    }

    /// Forgets what the user said of a server.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_hop(&self, fingerprint: [u8; 32]) -> Result<()> {
        self.inner
            .write(move |txn, _| match txn.get(Table::Meta, &key(&fingerprint))? {
                Some(_) => txn.delete(Table::Meta, &key(&fingerprint)),
                None => Err(Error::new(ErrorKind::NotFound, "no such server; `meow hop list` lists them")),
            })
            .await?;
        self.inner.directory().forget();
        Ok(())
    }
}
