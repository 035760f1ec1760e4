//! What the options make of the limits: those of the library, and of each transport.

use std::num::NonZeroU32;
use std::time::Duration;

use meow_server::{HopLimits, RelayLimits};

use crate::settings::Settings;

impl Settings {
    /// The library's limits with those that are set.
    pub(crate) fn limits(&self) -> RelayLimits {
        let mut limits = RelayLimits::default();
        let mailbox = &mut limits.mailbox;
        set(&mut mailbox.mailbox_bytes, self.mailbox_limit.map(|size| size.0));
        set(&mut mailbox.mailbox_items, self.mailbox_items);
        set(&mut mailbox.keep_secs, self.keep_days.map(|days| u32::from(days) * 24 * 3600));
        set(&mut mailbox.wait_secs, self.hold_secs);
        set(&mut limits.store_bytes, self.store_limit.map(|size| size.0));
        set(&mut limits.links, self.max_open.map(|n| n as usize));
        set(&mut limits.held_pulls, self.max_open.map(|n| n as usize));
        set(&mut limits.active, self.max_active.map(|n| n as usize));
        set(&mut limits.active_per_address, self.active_per_address);
        set(&mut limits.rate, self.rate);
        set(&mut limits.burst, self.burst);
        set(&mut limits.listener_rate, self.listener_rate);
        set(&mut limits.listener_burst, self.listener_burst);
        set(&mut limits.sessions, self.sessions.map(|n| n as usize));
        set(&mut limits.sessions_per_address, self.sessions_per_address.map(|n| n as usize));
        set(&mut limits.presences, self.presences.map(|n| n as usize));
        set(&mut limits.presences_per_address, self.presences_per_address.map(|n| n as usize));
        set(&mut limits.session_time, self.session_time.map(|secs| Duration::from_secs(secs.into())));
        set(&mut limits.stop_time, self.stop_secs.map(|secs| Duration::from_secs(secs.into())));
        limits
    }

    /// The library's limits of a hop with those that are set.
    pub(crate) fn hop_limits(&self) -> HopLimits {
        let mut limits = HopLimits::default();
        set(&mut limits.server_share, self.hop_server_share);
        // What does not fit is beyond what the library allows, and refused there.
        set(
            &mut limits.queue_bytes,
            self.hop_memory.map(|size| usize::try_from(size.0).unwrap_or(usize::MAX)),
        );
        set(&mut limits.held, self.hop_held.map(|n| n as usize));
        set(&mut limits.tags, self.hop_tags.map(|n| n as usize));
        limits
    }

    /// Whether anything is set that means nothing where the relay is no hop.
    pub(crate) fn names_hops(&self) -> bool {
        self.hop_to.is_some()
            || self.hop_allow.is_some()
            || self.hop_server_share.is_some()
            || self.hop_memory.is_some()
            || self.hop_held.is_some()
            || self.hop_tags.is_some()
    }

    /// How QUIC is served, but for the key.
    pub(crate) fn udp(&self) -> meow_transport_udp::ServerConfig {
        let (mut server, limits) = (meow_transport_udp::ServerConfig::default(), self.limits());
        server.max_connections = limits.links;
        set(&mut server.max_per_address, self.connections_per_address.map(|n| n.get() as usize));
        server.max_unread = server.max_unread.max(unread(&limits));
        server.drain = limits.stop_time;
        server
    }

    /// How clients behind a broker are served, but for the key.
    pub(crate) fn mqtt(&self) -> meow_transport_mqtt::ServerConfig {
        let (mut server, limits) = (meow_transport_mqtt::ServerConfig::default(), self.limits());
        server.max_channels = limits.links;
        set(&mut server.link_rate, self.channel_rate.map(NonZeroU32::get));
        server.max_unread = server.max_unread.max(unread(&limits));
        server.drain = limits.stop_time;
        server
    }

    /// How HTTP is served, but for what is read from files.
    pub(crate) fn http(&self) -> meow_transport_http::ServerConfig {
        let (mut server, limits) = (meow_transport_http::ServerConfig::default(), self.limits());
        server.max_connections = limits.links;
        // An exchange holds a request and then its answer.
        server.max_buffered = server.max_buffered.max(unread(&limits).saturating_mul(2));
        server.drain = limits.stop_time;
        server
    }
}

/// Bytes of as many requests as are worked on at once: a transport that took fewer would make the limit empty.
fn unread(limits: &RelayLimits) -> usize {
    limits.active.saturating_mul(64 << 10)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(file: &str) -> Settings {
        toml::from_str(file).unwrap()
    }

    #[test]
    fn each_option_sets_its_limit() {
        let settings = settings(
            "store-limit = 1\nmailbox-limit = 2\nmailbox-items = 3\nkeep-days = 4\nhold-secs = 5\nmax-open = 6\n\
             max-active = 7\nactive-per-address = 8\nconnections-per-address = 9\nrate = 10\nburst = 11\n\
             listener-rate = 12\nlistener-burst = 13\nchannel-rate = 14\nsessions = 15\nsessions-per-address = 16\n\
             session-time = 17\npresences = 18\npresences-per-address = 19\nstop-secs = 20\nhop-server-share = 21\n\
             hop-memory = \"22k\"\nhop-held = 23\nhop-tags = 24\n",
        );
        let relay = settings.limits();
        let (mailbox, secs) = (&relay.mailbox, Duration::from_secs);
        assert_eq!((relay.store_bytes, mailbox.mailbox_bytes, mailbox.mailbox_items), (1, 2, 3));
        assert_eq!((mailbox.keep_secs, mailbox.wait_secs), (4 * 86_400, 5));
        assert_eq!((relay.links, relay.held_pulls, relay.active, relay.active_per_address), (6, 6, 7, 8));
        assert_eq!((relay.rate, relay.burst, relay.listener_rate, relay.listener_burst), (10, 11, 12, 13));
        assert_eq!((relay.sessions, relay.sessions_per_address, relay.session_time), (15, 16, secs(17)));
        assert_eq!((relay.presences, relay.presences_per_address, relay.stop_time), (18, 19, secs(20)));
        let hop = settings.hop_limits();
        assert_eq!((hop.server_share, hop.queue_bytes, hop.held, hop.tags), (21, 22 << 10, 23, 24));
        let (http, udp, mqtt) = (settings.http(), settings.udp(), settings.mqtt());
        assert_eq!([http.max_connections, udp.max_connections, mqtt.max_channels], [6; 3]);
        assert_eq!((udp.max_per_address, mqtt.link_rate), (9, 14));
        assert_eq!([http.drain, udp.drain, mqtt.drain], [secs(20); 3]);
    }

    #[test]
    fn what_is_not_set_is_as_in_the_library() {
        let settings = settings("");
        assert_eq!(format!("{:?}", settings.limits()), format!("{:?}", RelayLimits::default()));
        assert_eq!(format!("{:?}", settings.hop_limits()), format!("{:?}", HopLimits::default()));
        let (udp, mqtt) = (settings.udp(), settings.mqtt());
        assert_eq!(udp.max_per_address, meow_transport_udp::ServerConfig::default().max_per_address);
        assert_eq!(mqtt.link_rate, meow_transport_mqtt::ServerConfig::default().link_rate);
    }

    #[test]
    fn transports_hold_what_may_be_worked_on_and_no_less_than_by_default() {
        let bytes = |file: &str| {
            let settings = settings(file);
            [settings.http().max_buffered, settings.udp().max_unread, settings.mqtt().max_unread]
        };
        let default = [64 << 20, 32 << 20, 32 << 20];
        assert_eq!(bytes(""), default);
        assert_eq!(bytes("max-active = 1"), default);
        assert_eq!(bytes("max-active = 4096"), default.map(|bytes| 8 * bytes));
    }

    #[test]
    fn a_limit_of_a_hop_is_known_as_one() {
        assert!(!settings("rate = 1\nhop = true").names_hops());
        let options =
            ["hop-to = []", "hop-allow = []", "hop-server-share = 1", "hop-memory = 1", "hop-held = 1"];
        for option in options.into_iter().chain(["hop-tags = 1"]) {
            assert!(settings(option).names_hops(), "{option}");
        }
    }
}
