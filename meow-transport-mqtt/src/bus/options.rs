//! How the library is told to connect.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use meow_core::crypto::{Random, SystemRandom};
use meow_core::transport::Endpoint;
use rumqttc::MqttOptions;

use crate::config::BrokerConfig;
use crate::error::MqttError;
use crate::socket;

/// Messages that the broker may send before it gets an acknowledgement.
const RECEIVE_MAXIMUM: u16 = 256;
/// The largest MQTT packet either way: the largest record, its topic, and room for properties.
pub(super) const MAX_PACKET: u32 = 36 * 1024;

pub(super) fn options(endpoint: &Endpoint, config: &BrokerConfig) -> Result<MqttOptions, MqttError> {
    let mut id = [0; 16];
    SystemRandom.fill(&mut id)?;
    // Host and port are the socket's matter; a name in the library's settings could end in its log.
    let mut options = MqttOptions::new(URL_SAFE_NO_PAD.encode(id), ("broker", 1883));
    socket::connect_to(&mut options, endpoint, config)?;
    let seconds = |time: Duration| time.as_secs().max(1);
    options
        .set_keep_alive(u16::try_from(seconds(config.keep_alive)).unwrap_or(u16::MAX))
        .set_clean_start(false)
        .set_session_expiry_interval(Some(u32::try_from(seconds(config.session)).unwrap_or(u32::MAX)))
        .set_receive_maximum(Some(RECEIVE_MAXIMUM))
        .set_max_packet_size(Some(MAX_PACKET))
        .set_max_request_batch(32)
        .set_outgoing_inflight_upper_limit(256);
    if let Some(credentials) = endpoint.credentials() {
        match credentials.password() {
            Some(password) => {
                options.set_credentials(credentials.user(), Bytes::copy_from_slice(password.as_bytes()))
            }
            None => options.set_username(credentials.user()),
        };
    }
    Ok(options)
}
