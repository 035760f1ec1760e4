//! Which servers answer, and since when others do not: what stays silent for long, while others are heard, is dead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meow_core::policy::Route;
use meow_core::store::{StoreTxn, Table};
use meow_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::client::Inner;
use crate::records::{load, save};
use crate::route::Passage;

/// Prefix of the notes on servers that do not answer; then the fingerprint.
const SILENT: &[u8] = b"silent:";
/// Failures before a server counts as dead, however long ago the first one was.
const TRIES: u32 = 2;
/// How long others go before a server that did not answer, in milliseconds.
const REST_MS: u64 = 5 * 60 * 1000;

/// Since when a server does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silence {
    /// The first failure, in Unix milliseconds.
    pub(crate) since_ms: u64,
    /// The last one.
    last_ms: u64,
    tries: u32,
    /// It was asked through a chain: the chain may be what failed.
    through: bool,
}

/// What this process has heard of servers.
#[derive(Default)]
pub(crate) struct Hearing(Mutex<State>);

#[derive(Default)]
struct State {
    /// When each answered last, in Unix milliseconds.
    heard: HashMap<[u8; 32], u64>,
    silent: HashMap<[u8; 32], Silence>,
    /// When any answered last, asked straight and through a chain.
    any: [u64; 2],
}

impl Hearing {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every statement that holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether others go first: it has just failed.
    pub(crate) fn rests(&self, server: &[u8; 32], now_ms: u64) -> bool {
        self.state().silent.get(server).is_some_and(|silence| now_ms.abs_diff(silence.last_ms) < REST_MS)
    }

    /// Whether something else was heard, in the same way, since a server fell silent.
    fn network_is_up(&self, silence: &Silence) -> bool {
        let [straight, through] = self.state().any;
        (if silence.through { through } else { straight }) > silence.since_ms
    }
}

fn key(server: &[u8; 32]) -> Vec<u8> {
    [SILENT, server].concat()
}

/// Since when a server does not answer; `None` where nothing speaks against it.
pub(crate) fn silence(txn: &dyn StoreTxn, server: &[u8; 32]) -> Result<Option<Silence>> {
    load(txn, Table::Meta, &key(server))
}

/// Whether any server does not answer.
pub(crate) fn any_silent(txn: &dyn StoreTxn) -> Result<bool> {
    Ok(!txn.scan(Table::Meta, SILENT, None, 1, false)?.is_empty())
}

/// Forgets that a server does not answer.
pub(crate) fn forget(txn: &mut dyn StoreTxn, server: &[u8; 32]) -> Result<()> {
    txn.delete(Table::Meta, &key(server))
}

/// Whether a server does not answer, or another one does in its place. A refusal is an answer.
pub(crate) fn is_away(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Unreachable | ErrorKind::WrongPeer)
}

impl Inner {
    /// Notes what came of asking a server about a contact. A refusal is an answer.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn note_asked<T>(
        self: &Arc<Self>,
        passage: &Passage,
        server: &[u8; 32],
        asked: &Result<T>,
    ) -> Result<()> {
        let through = matches!(passage.route(), Route::Matriochka(_));
        let (now, server) = (self.now_ms(), *server);
        match asked {
            Err(e) if is_away(e) => {
                // Where the policy forbids the route by now, it is not the server that is silent.
                match self.still_leads(passage).await? {
                    true => self.silent(server, through, now).await,
                    false => Ok(()),
                }
            }
            // It may be this device's own trouble.
            Err(_) => Ok(()),
            Ok(_) => {
                let look = {
                    let mut state = self.hearing.state();
                    let [straight, chains] = &mut state.any;
                    *(if through { chains } else { straight }) = now;
                    let first = state.heard.insert(server, now).is_none();
                    state.silent.remove(&server).is_some() || first
                };
                if look && self.read(move |txn| silence(txn, &server)).await?.is_some() {
                    self.write(move |txn, _| forget(txn, &server)).await?;
                }
                Ok(())
            }
        }
    }

    /// A server that counted as silent has answered after all, whatever it was asked.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn heard(self: &Arc<Self>, server: [u8; 32]) -> Result<()> {
        self.hearing.state().silent.remove(&server);
        match self.read(move |txn| silence(txn, &server)).await? {
            Some(_) => self.write(move |txn, _| forget(txn, &server)).await,
            None => Ok(()),
        }
    }

    async fn silent(self: &Arc<Self>, server: [u8; 32], through: bool, now: u64) -> Result<()> {
        let noted = self
            .write(move |txn, _| {
                let before = silence(txn, &server)?;
                let noted = match before {
                    Some(before) => {
                        Silence { last_ms: now, tries: before.tries.saturating_add(1), through, ..before }
                    }
                    None => Silence { since_ms: now, last_ms: now, tries: 1, through },
                };
                save(txn, Table::Meta, &key(&server), &noted)?;
                Ok(noted)
            })
            .await?;
        self.hearing.state().silent.insert(server, noted);
        Ok(())
    }

    /// Whether a server has been silent for so long, in milliseconds, while others in the network were heard.
    pub(crate) fn is_dead(&self, txn: &dyn StoreTxn, server: &[u8; 32], after_ms: u64) -> Result<bool> {
        let Some(silence) = silence(txn, server)? else { return Ok(false) };
        let long = self.now_ms().saturating_sub(silence.since_ms) >= after_ms && silence.tries >= TRIES;
        Ok(long && self.hearing.network_is_up(&silence))
    }
}
