//! What a user of this crate can set. Every default stands here.

use std::time::Duration;

use meow_core::crypto::SigningKey;
use meow_core::transport::{Addresses, Names};

/// Which certificate authorities a broker's certificate may come from (`mqtts`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Roots {
    /// Those of the system.
    #[default]
    Native,
    /// These, as PEM.
    Only(Vec<u8>),
    /// Those of the system and these, as PEM.
    NativeAnd(Vec<u8>),
}

/// How a broker is reached, by diallers and listeners alike.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// Which authorities are believed.
    pub roots: Roots,
    /// At which addresses a broker may be dialled, asked after its name is resolved, each time anew (all).
    pub addresses: Addresses,
    /// Who is asked for the addresses of names, once for each connection to a broker (the system).
    pub names: Names,
    /// How often the broker gets a sign of life when nothing else is sent (30 s).
    pub keep_alive: Duration,
    /// How long the broker keeps queued messages for a connection that broke (60 s).
    pub session: Duration,
    /// The first pause before connecting again; it doubles, up to the longest (100 ms).
    pub first_pause: Duration,
    /// The longest pause (5 s).
    pub longest_pause: Duration,
    /// How long a topic of a channel is used (60 s).
    pub topic_life: Duration,
    /// How long the far side of a channel may take to answer a ping (8 s).
    pub probe_timeout: Duration,
    /// How often the far side is asked when links are open and nothing is heard (15 s).
    pub probe_interval: Duration,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            roots: Roots::Native,
            addresses: Addresses::any(),
            names: Names::system(),
            keep_alive: Duration::from_secs(30),
            session: Duration::from_secs(60),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            topic_life: Duration::from_secs(60),
            probe_timeout: Duration::from_secs(8),
            probe_interval: Duration::from_secs(15),
        }
    }
}

/// How links are dialled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// How the broker is reached.
    pub broker: BrokerConfig,
    /// Time for broker, announcement, hello and a free link together (5 s).
    pub connect_timeout: Duration,
    /// How long a channel, and then a connection, without links is kept (20 s).
    pub idle_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            broker: BrokerConfig::default(),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(20),
        }
    }
}

/// How a listener serves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// How the broker is reached.
    pub broker: BrokerConfig,
    /// The Skp, which signs announcements. Needed to listen.
    pub identity: Option<SigningKey>,
    /// Time for the broker and the first announcement (10 s).
    pub start_timeout: Duration,
    /// How long an announcement and its inbox are used (120 s). The broker forgets one after three times that.
    pub announce_interval: Duration,
    /// Most channels; further hellos stay unanswered, unless a channel gives way (1,024).
    pub max_channels: usize,
    /// A channel that had no link for so long gives way to a new one when there are too many (20 s).
    pub unused: Duration,
    /// Most links at a time on one channel; further ones are broken off (256).
    pub max_links: usize,
    /// Most links that one channel may open in a second, on average (100); four times that at once.
    pub link_rate: u32,
    /// Most links that wait to be accepted; further ones are broken off (1,024).
    pub max_waiting: usize,
    /// Most bytes that lie unread on all links together; a link that brings more is broken off (32 MiB).
    pub max_unread: usize,
    /// How long closing waits for open links (10 s).
    pub drain: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            broker: BrokerConfig::default(),
            identity: None,
            start_timeout: Duration::from_secs(10),
            announce_interval: Duration::from_secs(120),
            max_channels: 1024,
            unused: Duration::from_secs(20),
            max_links: 256,
            link_rate: 100,
            max_waiting: 1024,
            max_unread: 32 * 1024 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}
