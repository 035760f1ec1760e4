//! What a broker has to offer.

use rumqttc::ConnAck;

use super::options::MAX_PACKET;

/// What is missing for links, as the broker said when it took the connection.
pub(super) fn lacks(ack: &ConnAck) -> Option<&'static str> {
    let properties = ack.properties.as_ref()?;
    if properties.max_packet_size.is_some_and(|most| most < MAX_PACKET) {
        Some("it takes no packets of 36,864 bytes (mosquitto: max_packet_size)")
    } else if properties.max_qos == Some(0) {
        Some("it does not offer QoS 1 (mosquitto: max_qos)")
    } else if properties.retain_available == Some(0) {
        Some("it keeps no messages (mosquitto: retain_available)")
    } else if properties.wildcard_subscription_available == Some(0) {
        Some("it does not take wildcards in subscriptions")
    } else {
        None
    }
}
