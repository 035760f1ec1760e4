//! What a user of this crate can set. Every default stands here.

use std::time::Duration;

use meow_core::crypto::SigningKey;
use meow_core::transport::{Addresses, Names};

/// How links are dialled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Largest frame in bytes (33,792: the largest sealed packet and 1 KiB).
    pub max_frame: usize,
    /// Time for name resolution, handshake and a free stream together (5 s).
    pub connect_timeout: Duration,
    /// How long a connection without open links is kept (20 s).
    pub idle_timeout: Duration,
    /// How long a connection lives on without a sign of the far side (40 s). The shorter one of both sides counts.
    pub silence_timeout: Duration,
    /// How often a connection with open links shows a sign of life when nothing else is sent (15 s).
    pub keep_alive: Duration,
    /// Dials from the socket that this transport listens at, while it does: where a server sees it is then where others can
    /// dial it, also through a NAT (false). When the listener closes, what was dialled so is closed too.
    pub from_listener: bool,
    /// Which addresses may be dialled, asked after a name is resolved (all).
    pub addresses: Addresses,
    /// Who is asked for the addresses of names, once for each connection that is opened (the system).
    pub names: Names,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            max_frame: MAX_FRAME,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(20),
            silence_timeout: Duration::from_secs(40),
            keep_alive: Duration::from_secs(15),
            from_listener: false,
            addresses: Addresses::any(),
            names: Names::system(),
        }
    }
}

/// How a listener serves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The Skp, which every handshake proves. Needed to listen.
    pub identity: Option<SigningKey>,
    /// Largest frame in bytes (33,792).
    pub max_frame: usize,
    /// Time for a handshake (10 s).
    pub handshake_timeout: Duration,
    /// How long a connection lives on without a sign of the far side (40 s).
    pub silence_timeout: Duration,
    /// How long a connection may have no link, at least (60 s): for up to twice that time.
    pub idle_timeout: Duration,
    /// Most open connections; further ones are refused (1,024).
    pub max_connections: usize,
    /// Most open connections of one address, or of one /64 network (128).
    pub max_per_address: usize,
    /// From this many open connections on, an address is made to answer before anything is kept for it (256); so it is from a
    /// quarter of [`max_per_address`](Self::max_per_address) of its own on.
    pub retry_from: usize,
    /// Most links at a time on one connection, those that wait to be accepted among them; further ones wait at the client (256).
    pub max_links: u32,
    /// Most bytes that wait for the rest of their frame on all links together, beyond 64 KiB for each connection; a link that
    /// brings more is broken off (32 MiB).
    pub max_unread: usize,
    /// How long closing waits for open links (10 s).
    pub drain: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            identity: None,
            max_frame: MAX_FRAME,
            handshake_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(40),
            idle_timeout: Duration::from_secs(60),
            max_connections: 1024,
            max_per_address: 128,
            retry_from: 256,
            max_links: 256,
            max_unread: 32 * 1024 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}

const MAX_FRAME: usize = 32 * 1024 + 1024;
