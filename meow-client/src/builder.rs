//! Making and opening clients.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meow_core::crypto::{PasswordCost, Random, Secret, SystemRandom};
use meow_core::identity::{Master, RecoveryKeys};
use meow_core::store::{ClientStore, Table};
use meow_core::transport::{Addresses, Endpoint};
use meow_core::{Error, ErrorKind, Result};
use meow_transport::Transports;
use tokio::sync::{Notify, watch};
use zeroize::Zeroizing;

use crate::client::{Client, Inner, blocking};
use crate::clock::{Clock, SystemClock};
use crate::counted::Counted;
use crate::direct::Direct;
use crate::hearing::Hearing;
use crate::keys::{KeyStorage, KeyVault};
use crate::others::Trouble;
use crate::random::SharedRandom;
use crate::records::{DEVICE, Device, check_records, load, mark_records, save};
use crate::server::Servers;
use crate::sessions::Sessions;
use crate::unlock::Unlock;

/// Opens the store with the key that the user key gives. `create` says that there must be none yet.
pub trait OpenStore: Send + Sync + 'static {
    /// Opens or makes the store.
    ///
    /// # Errors
    /// Kinds `Damaged`, `NewerVersion`, `WrongSecret`, `System`.
    fn open(&self, key: &Secret, create: bool) -> Result<Arc<dyn ClientStore>>;
}

#[cfg(feature = "sqlite")]
impl OpenStore for crate::home::Home {
    fn open(&self, key: &Secret, create: bool) -> Result<Arc<dyn ClientStore>> {
        Ok(if create { Arc::new(self.create_store(key)?) } else { Arc::new(self.open_store(key)?) })
    }
}

/// The 24 words of a new identity, to be written down now: they are kept nowhere. Wiped when dropped.
pub struct Words(Zeroizing<String>);

impl Words {
    /// The words, separated by spaces.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words(..)")
    }
}

/// Puts a client together.
pub struct ClientBuilder {
    storage: Option<(Arc<dyn KeyStorage>, Arc<dyn OpenStore>)>,
    transports: Transports,
    clock: Arc<dyn Clock>,
    random: SharedRandom,
    cost: PasswordCost,
    direct_at: Vec<Endpoint>,
    direct_addresses: Addresses,
    refill_after: Duration,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            storage: None,
            transports: Transports::new(),
            clock: Arc::new(SystemClock),
            random: SharedRandom::new(SystemRandom),
            cost: PasswordCost::STANDARD,
            direct_at: Vec::new(),
            direct_addresses: Addresses::public(),
            refill_after: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl ClientBuilder {
    /// Keeps everything in this directory, encrypted: a key file and an SQLite store.
    #[cfg(feature = "sqlite")]
    #[must_use]
    pub fn home(self, directory: impl Into<std::path::PathBuf>) -> Self {
        let home = Arc::new(crate::home::Home::new(directory));
        self.storage(home.clone(), home)
    }

    /// Keeps everything in a store of your own.
    #[must_use]
    pub fn storage(mut self, keys: Arc<dyn KeyStorage>, store: Arc<dyn OpenStore>) -> Self {
        self.storage = Some((keys, store));
        self
    }

    /// The ways to servers.
    #[must_use]
    pub fn transports(mut self, transports: Transports) -> Self {
        self.transports = transports;
        self
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long a server of one's own may be silent, while others are heard, before another of one's own takes its place for
    /// every contact: a day, unless something else is said here.
    #[must_use]
    pub fn refill_after(mut self, silent: Duration) -> Self {
        self.refill_after = silent;
        self
    }

    /// Another source of randomness than the system's.
    #[must_use]
    pub fn random(mut self, random: impl Random + 'static) -> Self {
        self.random = SharedRandom::new(random);
        self
    }

    /// More work per password guess than [`PasswordCost::STANDARD`].
    #[must_use]
    pub fn password_cost(mut self, cost: PasswordCost) -> Self {
        self.cost = cost;
        self
    }

    /// Listens here for contacts, while [`run`](Client::run) runs: those whose policy says that they may find this device
    /// learn where that is. The transports must be able to listen, and their
    /// links be such that both sides may speak at any time: not http or https, with which [`run`](Client::run) ends. May be given more than once; port 0 lets the system choose.
    #[must_use]
    pub fn direct_at(mut self, endpoint: Endpoint) -> Self {
        self.direct_at.push(endpoint);
        self
    }

    /// Which addresses may be dialled because a contact names them, beside those of this machine's own network: the public
    /// ones, unless something else is said here.
    #[must_use]
    pub fn direct_addresses(mut self, addresses: Addresses) -> Self {
        self.direct_addresses = addresses;
        self
    }

    fn parts(&self) -> Result<(KeyVault, Arc<dyn OpenStore>)> {
        let (keys, store) = self.storage.clone().ok_or_else(|| {
            Error::new(
                ErrorKind::Usage,
                "say where to keep the identity: ClientBuilder::home or ClientBuilder::storage",
            )
        })?;
        Ok((KeyVault::new(keys), store))
    }

    /// Makes a new identity, and gives its 24 words once.
    ///
    /// # Errors
    /// `AlreadyUsed` when there is one already; it is not touched. `System` when nothing can be written.
    pub async fn create(self, unlock: &Unlock) -> Result<(Client, Words)> {
        let (keys, store) = self.parts()?;
        let (unlock, random, cost, now) =
            (unlock.clone(), self.random.clone(), self.cost, self.clock.now_ms());
        let (keys, store, words) = blocking(move || {
            if keys.exists()? {
                return Err(Error::new(
                    ErrorKind::AlreadyUsed,
                    "there is an identity here already; choose another directory for a second one",
                ));
            }
            let mut random = random.lock();
            let master = Master::generate(&mut *random)?;
            let root = master.root(0);
            // The store first: a key file without a store would look like a lost one.
            let store = store.open(&root.ukp().store_key(), true)?;
            let device = Device { created_ms: now, next_recovery: 0, recovery: RecoveryKeys::of(&master, 0) };
            store.write(&mut |txn| {
                mark_records(txn)?;
                save(txn, Table::Meta, DEVICE, &device)
            })?;
            keys.create(&unlock, cost, &root, &mut *random)?;
            Ok((keys, store, Words(master.words())))
        })
        .await?;
        Ok((self.assemble(keys, store), words))
    }

    /// Opens an identity that was made before.
    ///
    /// # Errors
    /// `NotFound` when there is none, `WrongSecret` for another password, `Damaged`, `NewerVersion`, `System`; `Usage` for one
    /// that was made before the first release.
    pub async fn open(self, unlock: &Unlock) -> Result<Client> {
        let (keys, store) = self.parts()?;
        let unlock = unlock.clone();
        let (keys, store) = blocking(move || {
            let store = store.open(&keys.ukp(&unlock)?.store_key(), false)?;
            store.read(&mut |txn| match load::<Device>(txn, Table::Meta, DEVICE)? {
                Some(_) => check_records(txn),
                None => {
                    Err(Error::new(ErrorKind::Damaged, "the store holds no device record; restore a backup"))
                }
            })?;
            Ok((keys, store))
        })
        .await?;
        Ok(self.assemble(keys, store))
    }

    fn assemble(self, keys: KeyVault, store: Arc<dyn ClientStore>) -> Client {
        let direct = Direct::new(self.transports.clone(), self.direct_addresses, self.direct_at);
        let servers = Arc::new(Servers::new(self.transports, self.random.clone()));
        Client {
            inner: Arc::new(Inner {
                store,
                keys,
                servers,
                direct,
                directory: Mutex::default(),
                clock: self.clock,
                random: self.random,
                outbox: Notify::new(),
                cover: Notify::new(),
                mailboxes: Notify::new(),
                network: watch::Sender::new(()),
                events: watch::Sender::new(0),
                suspended: watch::Sender::new(false),
                trouble: Trouble::default(),
                fresh: Mutex::new(HashSet::new()),
                counted: Counted::default(),
                hearing: Hearing::default(),
                refill_after_ms: u64::try_from(self.refill_after.as_millis()).unwrap_or(u64::MAX),
                sessions: Sessions::default(),
            }),
        }
    }
}

impl Client {
    /// Starts putting a client together.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Locks the keys under another password or provider. The old one opens nothing afterwards.
    ///
    /// # Errors
    /// `WrongSecret` when `old` is wrong; nothing is changed then.
    pub async fn change_unlock(&self, old: &Unlock, new: &Unlock) -> Result<()> {
        let (inner, old, new) = (Arc::clone(&self.inner), old.clone(), new.clone());
        blocking(move || {
            let mut random = inner.random.lock();
            inner.keys.relock(&old, &new, PasswordCost::STANDARD, &mut *random)
        })
        .await
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientBuilder(..)")
    }
}
