//! One connection to a broker: it comes back by itself, tells where messages belong, and packs what channels have to say.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use meow_core::crypto::{Random, SystemRandom};
use meow_core::transport::Endpoint;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, DisconnectProperties, DisconnectReasonCode, Event,
    EventLoop, MqttOptions, Outgoing, Packet, PublishOptions, PublishProperties, QoS,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::channel::Channel;
use crate::config::BrokerConfig;
use crate::error::MqttError;
use crate::socket;
use crate::wire::{ANNOUNCEMENT, Prefix, TopicId};

/// Messages that the library holds and has not sent yet.
const OUTSTANDING: usize = 64;
/// Messages that the broker may send before it gets an acknowledgement.
const RECEIVE_MAXIMUM: u16 = 256;
/// The largest MQTT packet either way: the largest record, its topic, and room for properties.
const MAX_PACKET: u32 = 36 * 1024;
/// A connection that lived so long was a good one: the pauses start small again.
const GOOD: Duration = Duration::from_secs(5);
/// After so many connections in a row that were not, the session is started afresh; those that ended by a packet which
/// is none count four times.
const SHORT: u32 = 12;
/// How long leaving the broker may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often channels are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Where messages of a topic go. Queues that are full drop what comes: strangers may send as much as they like.
pub(crate) enum Route {
    Channel(Arc<Channel>, TopicId),
    Queue(mpsc::Sender<(TopicId, Bytes)>, TopicId),
}

/// How the connection is.
#[derive(Clone, Debug)]
pub(crate) enum Status {
    Connecting,
    Up,
    Down(MqttError),
    Ended,
}

pub(crate) struct Bus {
    client: AsyncClient,
    prefix: Prefix,
    config: BrokerConfig,
    routes: Mutex<HashMap<String, Route>>,
    /// Those who look for announcements.
    seekers: Mutex<Vec<mpsc::Sender<Bytes>>>,
    channels: Mutex<Vec<Arc<Channel>>>,
    talkative: Mutex<Vec<Arc<Channel>>>,
    work: Notify,
    outstanding: AtomicUsize,
    status: watch::Sender<Status>,
    /// The broker lost what it held for this connection.
    pub(crate) fresh: Notify,
    stop: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these hold is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bus {
    /// Connects, and stays connected until it is [`stop`](Self::stop)ped. The first connection has to succeed.
    pub(crate) async fn start(
        endpoint: &Endpoint,
        prefix: Prefix,
        config: &BrokerConfig,
    ) -> Result<Arc<Self>, MqttError> {
        let (client, events) = AsyncClient::builder(options(endpoint, config)?)
            .unbounded()
            .try_build()
            .map_err(|_| MqttError::Protocol)?;
        let bus = Arc::new(Self {
            client,
            prefix,
            config: config.clone(),
            routes: Mutex::default(),
            seekers: Mutex::default(),
            channels: Mutex::default(),
            talkative: Mutex::default(),
            work: Notify::new(),
            outstanding: AtomicUsize::new(0),
            status: watch::Sender::new(Status::Connecting),
            fresh: Notify::new(),
            stop: CancellationToken::new(),
        });
        // Ends the task too when this future is dropped.
        let guard = bus.stop.clone().drop_guard();
        tokio::spawn(Arc::clone(&bus).run(events));
        bus.up().await?;
        guard.disarm();
        Ok(bus)
    }

    pub(crate) fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// Waits for the connection. An error only when there never was one, or it was ended.
    pub(crate) async fn up(&self) -> Result<(), MqttError> {
        let mut status = self.status.subscribe();
        loop {
            match &*status.borrow_and_update() {
                Status::Up => return Ok(()),
                Status::Down(e) => return Err(e.clone()),
                Status::Ended => return Err(MqttError::Broken),
                Status::Connecting => {}
            }
            status.changed().await.map_err(|_| MqttError::Broken)?;
        }
    }

    pub(crate) fn ended(&self) -> bool {
        self.stop.is_cancelled() || matches!(*self.status.borrow(), Status::Ended | Status::Down(_))
    }

    /// Leaves the broker once what was handed over is sent.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the connection is over.
    pub(crate) async fn over(&self) {
        let mut status = self.status.subscribe();
        // The sender lives as long as this.
        let _ = status.wait_for(|status| matches!(status, Status::Ended | Status::Down(_))).await;
    }

    /// Subscribes, and waits until the broker has confirmed it.
    ///
    /// # Cancel safety
    /// Dropped, it may leave the topic subscribed: call [`leave_topic`](Self::leave_topic).
    pub(crate) async fn subscribe(&self, id: TopicId, route: Route) -> Result<(), MqttError> {
        let topic = self.prefix.topic(id);
        lock(&self.routes).insert(topic.clone(), route);
        let subscribed = self.confirm(topic.clone()).await;
        if subscribed.is_err() {
            lock(&self.routes).remove(&topic);
        }
        subscribed
    }

    async fn confirm(&self, filter: String) -> Result<(), MqttError> {
        let notice = self.client.subscribe_tracked(filter, QoS::AtLeastOnce).await;
        match notice.map_err(|_| MqttError::Broken)?.wait_completion_async().await {
            Ok(()) => Ok(()),
            Err(rumqttc::SubscribeNoticeError::V5SubAckFailure(_)) => Err(MqttError::Topics),
            Err(_) => Err(MqttError::Broken),
        }
    }

    /// Hands messages of a topic to another taker, with those that the one before has not taken yet.
    pub(crate) fn reroute(
        &self,
        id: TopicId,
        route: Route,
        left: &mut mpsc::Receiver<(TopicId, Bytes)>,
    ) -> Vec<Bytes> {
        let mut routes = lock(&self.routes);
        routes.insert(self.prefix.topic(id), route);
        let mut rest = Vec::new();
        while let Ok((_, payload)) = left.try_recv() {
            rest.push(payload);
        }
        rest
    }

    pub(crate) fn leave_topic(&self, id: TopicId) {
        let topic = self.prefix.topic(id);
        lock(&self.routes).remove(&topic);
        self.unsubscribe(topic);
    }

    fn unsubscribe(&self, filter: String) {
        // Fails only when the connection is over, and its subscriptions with it.
        let _ = self.client.try_unsubscribe(filter);
    }

    /// Asks for announcements; the broker sends those that it keeps.
    pub(crate) async fn seek(&self, found: mpsc::Sender<Bytes>) -> Result<(), MqttError> {
        lock(&self.seekers).push(found);
        self.confirm(self.prefix.announcements()).await
    }

    /// Takes off the seekers that have gone.
    pub(crate) fn sought(&self) {
        let mut seekers = lock(&self.seekers);
        seekers.retain(|seeker| !seeker.is_closed());
        if seekers.is_empty() {
            drop(seekers);
            self.unsubscribe(self.prefix.announcements());
        }
    }

    /// Sends a hello or an answer.
    pub(crate) fn publish(&self, to: TopicId, payload: Bytes) -> Result<(), MqttError> {
        self.put(self.prefix.topic(to), payload, PublishOptions::new(QoS::AtLeastOnce))
    }

    fn put(&self, topic: String, payload: Bytes, options: PublishOptions) -> Result<(), MqttError> {
        self.outstanding.fetch_add(1, Ordering::AcqRel);
        self.client.try_publish(topic, payload, options).map_err(|_| MqttError::Broken)
    }

    /// Leaves an announcement with the broker, and waits until it is there. An empty one takes it off.
    pub(crate) async fn announce(
        &self,
        at: TopicId,
        payload: Bytes,
        expires: Duration,
    ) -> Result<(), MqttError> {
        let mut options = PublishOptions::new(QoS::AtLeastOnce).retained();
        if !payload.is_empty() {
            let seconds = u32::try_from(expires.as_secs().max(1)).unwrap_or(u32::MAX);
            let properties =
                PublishProperties { message_expiry_interval: Some(seconds), ..Default::default() };
            options = options.properties(properties);
        }
        self.outstanding.fetch_add(1, Ordering::AcqRel);
        let topic = self.prefix.announcement(at);
        let notice =
            self.client.publish_tracked(topic, payload, options).await.map_err(|_| MqttError::Broken)?;
        match notice.wait_completion_async().await {
            Ok(()) => Ok(()),
            // Nobody looks for a server at this moment.
            Err(rumqttc::PublishNoticeError::V5PubAck(rumqttc::PubAckReason::NoMatchingSubscribers)) => {
                Ok(())
            }
            Err(
                rumqttc::PublishNoticeError::V5PubAck(_) | rumqttc::PublishNoticeError::RetainNotSupported,
            ) => Err(MqttError::Topics),
            Err(_) => Err(MqttError::Broken),
        }
    }

    pub(crate) fn add(&self, channel: &Arc<Channel>) {
        lock(&self.channels).push(Arc::clone(channel));
    }

    pub(crate) fn channels(&self) -> Vec<Arc<Channel>> {
        lock(&self.channels).clone()
    }

    /// A channel has something to say.
    pub(crate) fn has_work(&self, channel: Arc<Channel>) {
        lock(&self.talkative).push(channel);
        self.work.notify_one();
    }

    /// Publishes what channels have to say, as far as there is room.
    fn flush(&self) {
        if self.outstanding.load(Ordering::Acquire) >= OUTSTANDING {
            return;
        }
        let talkative = std::mem::take(&mut *lock(&self.talkative));
        for channel in talkative {
            channel.queued.store(false, Ordering::Release);
            loop {
                if self.outstanding.load(Ordering::Acquire) >= OUTSTANDING {
                    if !channel.queued.swap(true, Ordering::AcqRel) {
                        lock(&self.talkative).push(channel);
                    }
                    break;
                }
                match channel.next_record() {
                    Some((topic, record)) => {
                        // Fails only when the connection is over, and the channel with it.
                        let _ = self.publish(topic, record);
                    }
                    None => {
                        if channel.done() {
                            self.forget(&channel);
                        }
                        break;
                    }
                }
            }
        }
    }

    fn forget(&self, channel: &Arc<Channel>) {
        let mut channels = lock(&self.channels);
        let before = channels.len();
        channels.retain(|other| !Arc::ptr_eq(other, channel));
        let known = channels.len() < before;
        drop(channels);
        if known {
            channel.topics().into_iter().for_each(|id| self.leave_topic(id));
        }
    }

    async fn run(self: Arc<Self>, mut events: EventLoop) {
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
            match event {
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
                Some(Err(ConnectionError::RequestsDone)) => break,
                Some(Err(e)) => {
                    let meaning = meaning(&e);
                    if !ever {
                        self.status.send_replace(Status::Down(meaning));
                        return;
                    }
                    tracing::debug!("the connection to the broker is lost: {meaning}");
                    self.status.send_replace(Status::Connecting);
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

fn options(endpoint: &Endpoint, config: &BrokerConfig) -> Result<MqttOptions, MqttError> {
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

/// Between half of it and all.
fn jittered(pause: Duration) -> Duration {
    let mut dice = [0];
    // Without randomness the pause is whole.
    let share = SystemRandom.fill(&mut dice).map_or(1.0, |()| 0.5 + f64::from(dice[0]) / 510.0);
    pause.mul_f64(share)
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
