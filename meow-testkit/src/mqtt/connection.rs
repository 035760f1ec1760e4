//! One connection of a client.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use rumqttc::{
    ConnAck, ConnAckProperties, Connect, ConnectAuth, ConnectReturnCode, Disconnect, Packet, PubAck,
    PubAckReason, QoS, SubAck, SubscribeReasonCode, UnsubAck, UnsubAckReason,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::codec::Decoder;

use super::core::{Core, Out};
use super::{Behaviour, lock};

struct Packets {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    codec: rumqttc::Codec,
}

impl Packets {
    /// `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Packet>> {
        loop {
            match self.codec.decode(&mut self.buffer) {
                Ok(Some(packet)) => return Ok(Some(packet)),
                Ok(None) if self.socket.read_buf(&mut self.buffer).await? == 0 => return Ok(None),
                Ok(None) => {}
                Err(e) => return Err(io::Error::other(e)),
            }
        }
    }
}

/// Serves a client until it leaves, breaks the protocol, or is cut off: then there is nobody to tell.
pub(super) async fn serve(socket: TcpStream, core: Arc<Mutex<Core>>) {
    let _ = converse(socket, &core).await;
}

async fn converse(socket: TcpStream, core: &Mutex<Core>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (read, mut write) = socket.into_split();
    let codec = rumqttc::Codec { max_incoming_size: Some(1 << 20), max_outgoing_size: None };
    let mut packets = Packets { socket: read, buffer: BytesMut::new(), codec };
    let Some(Packet::Connect(connect, _, auth)) = packets.next().await? else { return Ok(()) };
    let (out, queue) = mpsc::unbounded_channel();
    let behaviour = lock(core).behaviour.clone();
    if behaviour.account.as_ref().is_some_and(|account| !fits(&auth, account)) {
        return send(&mut write, [Packet::ConnAck(acknowledged(false, ConnectReturnCode::NotAuthorized))])
            .await;
    }
    let expiry = connect.properties.as_ref().and_then(|properties| properties.session_expiry_interval);
    let largest = connect.properties.as_ref().and_then(|properties| properties.max_packet_size);
    // The rest of a packet is its topic and a few bytes.
    let most =
        largest.map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(600));
    let Connect { client_id: client, clean_start, .. } = connect;
    let (present, connection) = lock(core).connect(&client, clean_start, expiry.unwrap_or(0) > 0, most, &out);
    let mut accepted = acknowledged(present, ConnectReturnCode::Success);
    accepted.properties = limits(&behaviour);
    send(&mut write, [Packet::ConnAck(accepted)]).await?;
    lock(core).resume(&client);
    // From here on only the core holds a sender: it cuts the connection by dropping that.
    drop(out);
    let forget = tokio::select! {
        left = receive(&mut packets, core, &client) => matches!(left, Ok(true)),
        _ = write_all(&mut write, queue, behaviour.swaps) => false,
        () = std::future::ready(()), if behaviour.hangs_up => false,
    };
    lock(core).disconnect(&client, connection, forget);
    Ok(())
}

fn fits(auth: &ConnectAuth, (user, word): &(String, String)) -> bool {
    matches!(auth, ConnectAuth::UsernamePassword { username, password }
        if username == user && password == word.as_bytes())
}

fn acknowledged(session_present: bool, code: ConnectReturnCode) -> ConnAck {
    ConnAck { session_present, code, properties: None }
}

/// What a broker says of itself, if there is anything to say.
fn limits(behaviour: &Behaviour) -> Option<ConnAckProperties> {
    (behaviour.largest.is_some() || behaviour.only_qos_0).then(|| ConnAckProperties {
        max_packet_size: behaviour.largest,
        max_qos: behaviour.only_qos_0.then_some(0),
        session_expiry_interval: None,
        receive_max: None,
        retain_available: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    })
}

async fn send(write: &mut OwnedWriteHalf, packets: impl IntoIterator<Item = Packet>) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    for packet in packets {
        packet.write(&mut buffer, None).map_err(io::Error::other)?;
    }
    write.write_all(&buffer).await
}

async fn write_all(
    write: &mut OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Out>,
    swaps: bool,
) -> io::Result<()> {
    let mut waiting: Vec<Out> = Vec::new();
    while queue.recv_many(&mut waiting, 64).await > 0 {
        if swaps && waiting.iter().all(Out::is_publish) {
            waiting.reverse();
        }
        let mut buffer = BytesMut::new();
        for item in waiting.drain(..) {
            match item {
                Out::Packet(packet) => drop(packet.write(&mut buffer, None).map_err(io::Error::other)?),
                Out::Raw(bytes) => buffer.extend_from_slice(&bytes),
            }
        }
        write.write_all(&buffer).await?;
    }
    Ok(())
}

/// Ends with true when the client leaves and wants its session forgotten.
async fn receive(packets: &mut Packets, core: &Mutex<Core>, client: &str) -> io::Result<bool> {
    while let Some(packet) = packets.next().await? {
        let answer = match packet {
            Packet::Publish(publish) => {
                let topic = String::from_utf8(publish.topic.to_vec()).map_err(io::Error::other)?;
                let mut core = lock(core);
                let reason = if core.refuses(publish.retain) {
                    PubAckReason::NotAuthorized
                } else if core.publish(topic, publish.payload, publish.retain) {
                    PubAckReason::Success
                } else {
                    PubAckReason::NoMatchingSubscribers
                };
                (publish.qos != QoS::AtMostOnce).then_some(Packet::PubAck(PubAck {
                    pkid: publish.pkid,
                    reason,
                    properties: None,
                }))
            }
            Packet::PubAck(ack) => {
                lock(core).acknowledged(client, ack.pkid);
                None
            }
            Packet::Subscribe(subscribe) => {
                let filters: Vec<String> = subscribe.filters.into_iter().map(|filter| filter.path).collect();
                let return_codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce); filters.len()];
                let ack = SubAck { pkid: subscribe.pkid, return_codes, properties: None };
                lock(core).answer(client, Packet::SubAck(ack));
                lock(core).subscribe(client, &filters);
                None
            }
            Packet::Unsubscribe(unsubscribe) => {
                lock(core).unsubscribe(client, &unsubscribe.filters);
                let reasons = vec![UnsubAckReason::Success; unsubscribe.filters.len()];
                Some(Packet::UnsubAck(UnsubAck { pkid: unsubscribe.pkid, reasons, properties: None }))
            }
            Packet::PingReq => Some(Packet::PingResp),
            Packet::Disconnect(Disconnect { properties, .. }) => {
                return Ok(properties.is_some_and(|properties| properties.session_expiry_interval == Some(0)));
            }
            _ => return Err(io::Error::other("not for a broker")),
        };
        if let Some(answer) = answer {
            lock(core).answer(client, answer);
        }
    }
    Ok(false)
}
