#![doc = include_str!("../README.md")]

pub use meow_core as core;
pub use meow_transport as transport;

pub use meow_core::card::CardFile;
pub use meow_core::delivery::Delivery;
pub use meow_core::lane::ServerReference;
pub use meow_core::message::Content;
pub use meow_core::policy::{Chain, Policy, Pool, Route};
pub use meow_core::transport::Endpoint;
pub use meow_core::{Error, ErrorKind, Result, Retry};
pub use meow_transport::Transports;

/// HTTP and HTTPS links.
#[cfg(feature = "http")]
pub use meow_transport_http as http;

/// QUIC links.
#[cfg(feature = "udp")]
pub use meow_transport_udp as udp;

/// Links through an MQTT broker.
#[cfg(feature = "mqtt")]
pub use meow_transport_mqtt as mqtt;

/// Links over serial lines, TNCs and radio modems.
#[cfg(feature = "serial")]
pub use meow_transport_serial as serial;

/// The client engine.
#[cfg(feature = "client")]
pub use meow_client as client;
#[cfg(feature = "client")]
pub use meow_client::{Client, Event, EventKind, MessageId, Unlock};

/// The relay.
#[cfg(feature = "server")]
pub use meow_server as server;

/// Every transport that the features of this crate bring, with its defaults.
pub trait EnabledTransports {
    /// A registry of them.
    fn enabled() -> Transports;

    /// The same for a client that listens for its contacts ([`direct_at`](meow_client::ClientBuilder::direct_at)): `udp` has one
    /// socket for dialling and listening, and proves a key that is made for this value and belongs to nobody.
    ///
    /// # Errors
    /// `System` without randomness.
    #[cfg(all(feature = "client", feature = "udp"))]
    fn enabled_for_contacts() -> Result<Transports>;
}

impl EnabledTransports for Transports {
    fn enabled() -> Transports {
        let transports = Transports::new();
        #[cfg(feature = "http")]
        let transports = transports.with(meow_transport_http::Http::default());
        #[cfg(feature = "udp")]
        let transports = transports.with(meow_transport_udp::Udp::default());
        #[cfg(feature = "mqtt")]
        let transports = transports.with(meow_transport_mqtt::Mqtt::default());
        #[cfg(feature = "serial")]
        let transports = transports.with(meow_transport_serial::Serial::new());
        transports
    }

    #[cfg(all(feature = "client", feature = "udp"))]
    fn enabled_for_contacts() -> Result<Transports> {
        use meow_core::crypto::{SigningKey, SystemRandom};
        let (mut dial, mut listen) =
            (meow_transport_udp::ClientConfig::default(), meow_transport_udp::ServerConfig::default());
        dial.from_listener = true;
        listen.identity = Some(SigningKey::generate(&mut SystemRandom)?);
        Ok(Self::enabled().with(meow_transport_udp::Udp::new(dial, listen)))
    }
}

/// The code in the guide, compiled.
#[cfg(all(doctest, feature = "http", feature = "client", feature = "server", feature = "udp"))]
mod guide {
    #[doc = include_str!("../docs/guide/embedding.md")]
    mod embedding {}
    #[doc = include_str!("../docs/guide/extending.md")]
    mod extending {}
}
