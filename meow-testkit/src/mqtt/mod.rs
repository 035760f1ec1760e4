//! A small MQTT 5 broker inside the test's process (feature `mqtt`): QoS 0 and 1, retained messages, wildcards, sessions
//! that outlive a connection, one account. It can do what a broker in the field does at the worst moment: break all
//! connections, forget everything, deliver twice, send nonsense; and it writes down what a subscriber to `#` would see.
//!
//! For tests and examples. It keeps everything in memory and bounds nothing. Beside it stands the real one, where it is
//! installed.

mod connection;
mod core;
#[cfg(unix)]
mod mosquitto;

#[cfg(unix)]
pub use mosquitto::{Mosquitto, readable};

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use self::core::Core;

/// One message that came to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Bytes,
    /// Whether the broker was asked to keep it.
    pub retain: bool,
    /// When, since the broker started.
    pub at: Duration,
}

/// How a broker behaves.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Behaviour {
    /// User and password that it wants.
    pub account: Option<(String, String)>,
    /// Delivers every message twice, the second time marked as a repetition, as after a lost acknowledgement.
    pub twice: bool,
    /// Sends what is larger than a client takes.
    pub ignores_limits: bool,
    /// Hangs up right after it has accepted a client.
    pub hangs_up: bool,
    /// Sends what comes in quick succession in another order.
    pub swaps: bool,
    /// Takes no packets beyond so many bytes, and says so.
    pub largest: Option<u32>,
    /// Does not offer QoS 1, and says so.
    pub only_qos_0: bool,
}

/// A running broker; it ends, and forgets everything, when dropped.
pub struct Broker {
    address: SocketAddr,
    core: Arc<Mutex<Core>>,
    accepting: AbortHandle,
}

impl Broker {
    /// A broker on a free port of this machine.
    ///
    /// # Errors
    /// Whatever binding meets.
    pub async fn start(behaviour: Behaviour) -> io::Result<Self> {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), behaviour).await
    }

    /// A broker at this address: where another one was, say.
    ///
    /// # Errors
    /// Whatever binding meets.
    pub async fn at(address: SocketAddr, behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let core = Arc::new(Mutex::new(Core::new(behaviour)));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&core))).abort_handle();
        Ok(Self { address, core, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a prefix on it.
    pub fn url(&self, prefix: &str) -> String {
        format!("mqtt://{}/{prefix}", self.address)
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    /// Every message since the start.
    pub fn seen(&self) -> Vec<Seen> {
        self.core().seen.clone()
    }

    /// Strikes out of its notes what it does not keep for subscribers to come: a long attack would fill the memory.
    pub fn forget_seen(&self) {
        let mut core = self.core();
        let Core { seen, retained, .. } = &mut *core;
        seen.retain(|seen| seen.retain && retained.contains_key(&seen.topic));
        seen.shrink_to_fit();
    }

    /// Loses so many of the next messages, though it confirms them.
    pub fn lose(&self, messages: usize) {
        self.core().to_lose = messages;
    }

    /// The topics of the messages that it keeps.
    pub fn retained(&self) -> Vec<String> {
        self.core().retained.keys().cloned().collect()
    }

    /// Refuses to keep messages from now on, as one whose rules have changed; or no more.
    pub fn refuse_retained(&self, refuses: bool) {
        self.core().refuses = refuses;
    }

    /// How many messages it has refused to keep.
    pub fn refused(&self) -> usize {
        self.core().refused
    }

    /// What all clients have subscribed at present.
    pub fn filters(&self) -> Vec<String> {
        self.core().filters()
    }

    /// Leaves a message with it, as a stranger would.
    pub fn leave(&self, topic: &str, payload: impl Into<Bytes>, retain: bool) {
        self.core().publish(topic.to_owned(), payload.into(), retain);
    }

    /// How many connections came in.
    pub fn connections(&self) -> usize {
        self.core().connections
    }

    /// Breaks every connection. Sessions live on.
    pub fn cut(&self) {
        self.core().cut();
    }

    /// Breaks every connection, and forgets all sessions and kept messages.
    pub fn forget(&self) {
        self.core().forget();
    }

    /// Sends these bytes to every client, between two packets.
    pub fn inject(&self, bytes: impl Into<Bytes>) {
        self.core().inject(&bytes.into());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The task holds the connections.
        self.accepting.abort();
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("address", &self.address).finish_non_exhaustive()
    }
}

fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, core: Arc<Mutex<Core>>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted: io::Result<(TcpStream, SocketAddr)> = listener.accept().await;
        match accepted {
            Ok((socket, _)) => drop(connections.spawn(connection::serve(socket, Arc::clone(&core)))),
            // No file descriptor is free, say.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}
