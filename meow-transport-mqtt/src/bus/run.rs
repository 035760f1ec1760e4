//! The task of a connection: it connects again, hands out what comes, and leaves.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use meow_core::crypto::{Random, SystemRandom};
use rumqttc::{
    ConnectReturnCode, ConnectionError, DisconnectProperties, DisconnectReasonCode, Event, EventLoop,
    Outgoing, Packet,
};
use tokio::time::{Instant, sleep};

use super::{Bus, Route, Status, broker, lock};
use crate::channel::Channel;
use crate::error::MqttError;
use crate::socket;
use crate::wire::ANNOUNCEMENT;

/// A connection that lived so long was a good one: the pauses start small again.
const GOOD: Duration = Duration::from_secs(5);
/// After so many connections in a row that were not, the session is started afresh; those that ended by a packet which
/// is none count four times.
const SHORT: u32 = 12;
/// How long leaving the broker may take.
const FAREWELL: Duration = Duration::from_secs(2);

impl Bus {
    pub(super) async fn run(self: Arc<Self>, mut events: EventLoop) {
        let (mut pause, mut ever) = (self.config.first_pause, false);
        // When the connection came about, if there is one; and how many in a row did not last.
        let (mut since, mut short) = (None, 0);
        loop {
            let event = {
                let mut polled = pin!(events.poll());
                loop {
                    tokio::select! {
                        biased;
                        event = &mut polled => break Some(event),
                        () = self.work.notified(), if ever => self.flush(),
                        () = self.stop.cancelled() => break None,
                    }
                }
            };
            match event.map(understood) {
                None => break,
                Some(Ok(Event::Incoming(Packet::ConnAck(ack)))) => {
                    since = Some(Instant::now());
                    events.options.set_clean_start(false);
                    self.connected(ack.session_present, ever);
                    ever = true;
                }
                Some(Ok(Event::Incoming(Packet::Publish(message)))) => {
                    self.deliver(&message.topic, message.payload)
                }
                Some(Ok(Event::Outgoing(Outgoing::Publish(_)))) => {
                    let less = |count: usize| count.checked_sub(1);
                    // What is sent again after a break was counted before.
                    let _ = self.outstanding.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
                }
                Some(Ok(_)) => {}
                Some(Err(None)) => break,
                Some(Err(Some(meaning))) => {
                    if !ever {
                        self.status.send_replace(Status::Down(meaning));
                        return;
                    }
                    if matches!(meaning, MqttError::Broker(_)) {
                        // What it said holds for as long as this connection lives.
                        events.clean();
                    }
                    self.lost(&meaning);
                    match since.take().map(|since: Instant| since.elapsed() >= GOOD) {
                        Some(true) => (pause, short) = (self.config.first_pause, 0),
                        Some(false) if matches!(meaning, MqttError::Protocol) => short += SHORT / 3,
                        Some(false) => short += 1,
                        None => {}
                    }
                    if short >= SHORT {
                        // Something that the broker keeps for this session may break it each time: let go of it.
                        events.options.set_clean_start(true);
                    }
                    tokio::select! {
                        () = sleep(jittered(pause)) => {}
                        () = self.stop.cancelled() => break,
                    }
                    pause = (pause * 2).min(self.config.longest_pause);
                }
            }
            self.flush();
        }
        self.farewell(events).await;
    }

    fn lost(&self, why: &MqttError) {
        let known = lock(&self.trouble).replace(why.clone()).is_some_and(|before| before.lasts());
        if why.lasts() && !known {
            tracing::warn!("the broker does not take this connection any more: {why}");
        } else {
            tracing::debug!("the connection to the broker is lost: {why}");
        }
        self.status.send_replace(Status::Connecting);
    }

    fn connected(&self, resumed: bool, again: bool) {
        if again && resumed {
            self.channels().iter().for_each(Channel::resumed);
        } else if again {
            // Whatever was under way is lost, and so are the subscriptions.
            tracing::debug!("the broker has forgotten this connection; channels are closed");
            self.outstanding.store(0, Ordering::Release);
            lock(&self.routes).retain(|_, route| matches!(route, Route::Channel(..)));
            self.channels().iter().for_each(Channel::end);
            self.fresh.notify_one();
        }
        *lock(&self.trouble) = None;
        self.unconfirmed.store(0, Ordering::Release);
        self.status.send_replace(Status::Up);
    }

    fn deliver(&self, topic: &[u8], payload: Bytes) {
        let Ok(topic) = std::str::from_utf8(topic) else { return };
        let routes = lock(&self.routes);
        match routes.get(topic) {
            Some(Route::Channel(channel, id)) => {
                let (channel, id) = (Arc::clone(channel), *id);
                drop(routes);
                channel.receive(id, &payload);
            }
            // A full queue drops it.
            Some(Route::Queue(queue, id)) => drop(queue.try_send((*id, payload))),
            None if payload.len() == ANNOUNCEMENT && self.prefix.announces(topic) => {
                drop(routes);
                lock(&self.seekers).iter().for_each(|seeker| drop(seeker.try_send(payload.clone())));
            }
            None => {}
        }
    }

    /// Sends what there is, and ends the broker's session.
    async fn farewell(&self, mut events: EventLoop) {
        let leaving = async {
            self.channels().iter().for_each(Channel::end);
            self.flush();
            let properties = DisconnectProperties {
                session_expiry_interval: Some(0),
                reason_string: None,
                user_properties: Vec::new(),
                server_reference: None,
            };
            let reason = DisconnectReasonCode::NormalDisconnection;
            // Acknowledgements are waited for; what fails now has no one to hear of it.
            let asked = self.client.disconnect_with_properties_timeout(reason, properties, FAREWELL).await;
            while asked.is_ok()
                && !matches!(events.poll().await, Err(_) | Ok(Event::Outgoing(Outgoing::Disconnect)))
            {
            }
        };
        if matches!(*self.status.borrow(), Status::Up) {
            let _ = tokio::time::timeout(FAREWELL * 2, leaving).await;
        }
        self.channels().iter().for_each(Channel::end);
        lock(&self.channels).clear();
        lock(&self.talkative).clear();
        lock(&self.routes).clear();
        lock(&self.seekers).clear();
        self.status.send_replace(Status::Ended);
    }
}

/// Between half of it and all.
fn jittered(pause: Duration) -> Duration {
    let mut dice = [0];
    // Without randomness the pause is whole.
    let share = SystemRandom.fill(&mut dice).map_or(1.0, |()| 0.5 + f64::from(dice[0]) / 510.0);
    pause.mul_f64(share)
}

/// What an event means. An error of none: there is nothing more to do.
fn understood(event: Result<Event, ConnectionError>) -> Result<Event, Option<MqttError>> {
    match event {
        Ok(Event::Incoming(Packet::ConnAck(ack))) => match broker::lacks(&ack) {
            Some(what) => Err(Some(MqttError::Broker(what))),
            None => Ok(Event::Incoming(Packet::ConnAck(ack))),
        },
        Err(ConnectionError::RequestsDone) => Err(None),
        event => event.map_err(|e| Some(meaning(&e))),
    }
}

fn meaning(e: &ConnectionError) -> MqttError {
    match e {
        ConnectionError::Io(e) => socket::meaning(e),
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword
            | ConnectReturnCode::NotAuthorized
            | ConnectReturnCode::Banned
            | ConnectReturnCode::BadAuthenticationMethod,
        ) => MqttError::Refused,
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::ServerBusy
            | ConnectReturnCode::ServerUnavailable
            | ConnectReturnCode::ServiceUnavailable
            | ConnectReturnCode::QuotaExceeded
            | ConnectReturnCode::ConnectionRateExceeded,
        ) => MqttError::Busy,
        ConnectionError::Timeout(_) => MqttError::Unreachable,
        ConnectionError::MqttState(rumqttc::StateError::ConnectionAborted) => MqttError::Unreachable,
        _ => MqttError::Protocol,
    }
}
