//! What a user of this crate can set. Every default stands here.

use std::fmt;
use std::time::Duration;

use meow_core::transport::{Addresses, Names};
use zeroize::Zeroizing;

use crate::forwarded::Network;
use crate::framing::Limits;

/// Whose certificates a client believes for `https`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Roots {
    /// The operating system's.
    #[default]
    Native,
    /// These PEM certificates and no others.
    Only(Vec<u8>),
    /// The operating system's and these PEM certificates.
    NativeAnd(Vec<u8>),
}

/// How links are dialled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// What an exchange may carry in each direction.
    pub limits: Limits,
    /// Time for name resolution, TCP and TLS together (10 s).
    pub connect_timeout: Duration,
    /// Time from the end of the request to the end of the answer; long enough for long polls (120 s).
    pub answer_timeout: Duration,
    /// How long a connection that is not in use is kept (20 s; shorter than a server's patience of 30 s).
    pub idle_timeout: Duration,
    /// Most connections to one host at a time; `connect` waits for a free one (256).
    pub connections_per_host: usize,
    /// Most unused connections kept for one host (32).
    pub idle_per_host: usize,
    /// Whose certificates are believed.
    pub roots: Roots,
    /// Which addresses may be dialled, asked after a name is resolved (all).
    pub addresses: Addresses,
    /// Who is asked for the addresses of names, once for each connection that is opened (the system).
    pub names: Names,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(20),
            connections_per_host: 256,
            idle_per_host: 32,
            roots: Roots::Native,
            addresses: Addresses::any(),
            names: Names::system(),
        }
    }
}

/// The certificate that a server proves itself with.
#[derive(Clone)]
pub struct Identity {
    /// The certificate and its intermediates, PEM, the server's own first.
    pub chain: Vec<u8>,
    /// The private key, PEM.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(hidden)")
    }
}

/// A user that a server lets in by basic authentication.
#[derive(Clone)]
pub struct Account {
    /// The user; must hold no colon.
    pub user: String,
    /// The password.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account(hidden)")
    }
}

/// How a listener serves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// What an exchange may carry in each direction.
    pub limits: Limits,
    /// Needed to listen on `https`.
    pub identity: Option<Identity>,
    /// If there is any, every request must name one of them. They hold for all listeners of this transport.
    pub accounts: Vec<Account>,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Time for a TLS handshake (10 s).
    pub handshake_timeout: Duration,
    /// How long a connection may make no progress: no request header completed (which is also how long an idle
    /// one is kept) and no byte of an answer taken (30 s). It ends after 1 to 1.5 times this.
    pub stall_timeout: Duration,
    /// Time for the body of a request (30 s).
    pub body_timeout: Duration,
    /// Largest header of a request, in bytes (16 KiB, no less than 8 KiB). More than 100 lines are refused too.
    pub max_header_bytes: usize,
    /// Most open connections; further ones wait in the system's queue (1,024). One address alone has a third of them at most, and
    /// one network of 24 bits (IPv6: 48) half, beyond which its connections are closed at once; this machine and the
    /// trusted proxies have as many as are free.
    pub max_connections: usize,
    /// Most requests at a time on one HTTP/2 connection (64).
    pub max_streams: u32,
    /// Most bytes of all requests and answers in memory together, beside 4 KiB for each connection; what goes beyond
    /// is refused (64 MiB).
    pub max_buffered: usize,
    /// Most links that wait to be accepted; further requests are told to come back (1,024).
    pub max_waiting: usize,
    /// How long closing waits for open exchanges (10 s).
    pub drain: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            identity: None,
            accounts: Vec::new(),
            trusted_proxies: Vec::new(),
            handshake_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            max_header_bytes: 16 * 1024,
            max_connections: 1024,
            max_streams: 64,
            max_buffered: 64 * 1024 * 1024,
            max_waiting: 1024,
            drain: Duration::from_secs(10),
        }
    }
}
