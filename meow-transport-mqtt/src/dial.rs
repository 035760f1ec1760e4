//! Dialling: one connection for each endpoint, one channel on it for each server, shared by its links.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use meow_core::Result;
use meow_core::crypto::SystemRandom;
use meow_core::transport::{Endpoint, Link, Peer};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Duration, Instant, interval, sleep_until, timeout};
use tokio_util::task::TaskTracker;

use crate::bus::{Bus, Route, TICK};
use crate::channel::{Channel, Side};
use crate::config::ClientConfig;
use crate::error::MqttError;
use crate::upkeep;
use crate::wire::{Announcement, Caller, Hello, Prefix, Reference, TopicId};

/// Links at a time on one channel; further ones wait.
const LINKS: usize = 256;
/// Announcements that wait to be looked at; beyond them they are dropped.
const FOUND: usize = 256;
/// Announcements that are looked at before the search is given up.
const MOST_FOUND: usize = 2048;
/// Announcements of the server that get a hello.
const MOST_HELLOS: usize = 8;
/// Hellos that stay unanswered are sent again.
const AGAIN: Duration = Duration::from_secs(2);

pub(crate) struct Dialer {
    config: ClientConfig,
    places: Mutex<HashMap<Endpoint, Arc<Place>>>,
}

/// A broker as one user sees it.
#[derive(Default)]
struct Place {
    /// Held while a connection is made, so that there is one at a time.
    bus: tokio::sync::Mutex<Option<Arc<Bus>>>,
    servers: Mutex<HashMap<[u8; 32], Arc<Server>>>,
}

/// A server behind it. Held while a channel is opened, so that there is one at a time.
type Server = tokio::sync::Mutex<Option<Arc<Channel>>>;

impl Dialer {
    pub(crate) fn new(config: ClientConfig) -> Arc<Self> {
        Arc::new(Self { config, places: Mutex::default() })
    }

    pub(crate) async fn connect(self: &Arc<Self>, endpoint: &Endpoint) -> Result<Link> {
        let prefix = crate::check(endpoint)?;
        let server = *endpoint.server().ok_or(MqttError::NoServer)?;
        let opening = timeout(self.config.connect_timeout, self.open(endpoint, prefix, server));
        match opening.await {
            Ok(opened) => Ok(opened?),
            Err(_) => Err(self.trouble(endpoint).unwrap_or(MqttError::ConnectTimeout).into()),
        }
    }

    /// Why the broker of an endpoint is away, if it is and that is known.
    fn trouble(&self, endpoint: &Endpoint) -> Option<MqttError> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Arc::clone(places.get(&name(endpoint))?);
        drop(places);
        // Held, it is being dialled for the first time, which knows by itself what goes wrong.
        place.bus.try_lock().ok()?.as_ref()?.trouble()
    }

    async fn open(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        prefix: Prefix,
        fingerprint: [u8; 32],
    ) -> Result<Link, MqttError> {
        let place = self.place(endpoint);
        let server = {
            let mut servers = place.servers.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(servers.entry(fingerprint).or_default())
        };
        let channel = {
            let mut current = server.lock().await;
            match current.take().filter(|channel| channel.takes_links()) {
                Some(channel) => {
                    let channel = current.insert(channel).clone();
                    // A channel outlives a broken connection, but not one that the broker takes no more.
                    match channel.trouble().filter(MqttError::lasts) {
                        Some(e) => return Err(e),
                        None => channel,
                    }
                }
                None => {
                    let bus = self.bus(&place, endpoint, prefix).await?;
                    let channel = self.discover(&bus, Reference::new(fingerprint)).await?;
                    current.insert(channel).clone()
                }
            }
        };
        channel.open_link().await
    }

    fn place(&self, endpoint: &Endpoint) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(name(endpoint)).or_default())
    }

    async fn bus(
        self: &Arc<Self>,
        place: &Arc<Place>,
        endpoint: &Endpoint,
        prefix: Prefix,
    ) -> Result<Arc<Bus>, MqttError> {
        let mut current = place.bus.lock().await;
        if let Some(bus) = current.as_ref().filter(|bus| !bus.ended()) {
            bus.up().await?;
            return Ok(Arc::clone(bus));
        }
        let bus = Bus::start(endpoint, prefix, &self.config.broker).await?;
        *current = Some(Arc::clone(&bus));
        tokio::spawn(watch(
            Arc::downgrade(self),
            Arc::clone(place),
            Arc::clone(&bus),
            self.config.idle_timeout,
        ));
        Ok(bus)
    }

    /// Finds the server by its announcement, and opens a channel to it.
    async fn discover(&self, bus: &Arc<Bus>, reference: Reference) -> Result<Arc<Channel>, MqttError> {
        let caller = Caller::new(&mut SystemRandom)?;
        let (answers, mut answered) = mpsc::channel(16);
        let (found, mut finds) = mpsc::channel(FOUND);
        let search = Search { bus, reply: Some(caller.reply) };
        bus.subscribe(caller.reply, Route::Queue(answers, caller.reply)).await?;
        bus.seek(found).await?;
        let mut sent: Vec<(Announcement, Bytes, Hello)> = Vec::new();
        let mut seen = 0;
        let mut again = Instant::now() + AGAIN;
        let opened = loop {
            tokio::select! {
                answer = answered.recv() => {
                    // Nobody brings answers any more once the broker has forgotten what was subscribed.
                    let (_, answer) = answer.ok_or(MqttError::Broken)?;
                    let open = |(_, _, hello): &_| caller.answered(&reference, hello, &answer).ok();
                    if let Some(opened) = sent.iter().find_map(open) {
                        break opened;
                    }
                }
                announcement = finds.recv() => {
                    let announcement = announcement.ok_or(MqttError::Broken)?;
                    seen += 1;
                    if seen > MOST_FOUND {
                        return Err(MqttError::NotFound);
                    }
                    let Ok(announcement) = Announcement::open(&reference, &announcement) else { continue };
                    if sent.len() < MOST_HELLOS && sent.iter().all(|(other, ..)| *other != announcement) {
                        let Ok((bytes, hello)) = caller.hello(&reference, &announcement, &mut SystemRandom) else {
                            continue;
                        };
                        let bytes = Bytes::from(bytes);
                        bus.offer(announcement.inbox, bytes.clone())?;
                        sent.push((announcement, bytes, hello));
                    }
                }
                () = sleep_until(again) => {
                    for (announcement, bytes, _) in &sent {
                        bus.offer(announcement.inbox, bytes.clone())?;
                    }
                    again = Instant::now() + AGAIN;
                }
            }
        };
        let (topic, up, down) = opened;
        let mut peer = Peer::default();
        peer.server = Some(*reference.fingerprint());
        let side = Side::Client { slots: Arc::new(Semaphore::new(LINKS)), idle: self.config.idle_timeout };
        let open = Arc::new(TaskTracker::new());
        let channel = Channel::new(Arc::clone(bus), side, peer, open, (up, topic), (down, caller.reply));
        bus.add(&channel);
        let route = Route::Channel(Arc::clone(&channel), caller.reply);
        for record in bus.reroute(caller.reply, route, &mut answered) {
            channel.receive(caller.reply, &record);
        }
        search.keep_topic();
        Ok(channel)
    }

    fn forget(&self, place: &Arc<Place>) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Two hold it: the map, and who asks.
        places.retain(|_, other| !Arc::ptr_eq(other, place) || Arc::strong_count(other) > 2);
    }
}

/// Whichever server is meant: the connection is the same.
fn name(endpoint: &Endpoint) -> Endpoint {
    endpoint.clone().with_server([0; 32])
}

/// Leaves nothing subscribed when a search ends early.
struct Search<'a> {
    bus: &'a Bus,
    reply: Option<TopicId>,
}

impl Search<'_> {
    fn keep_topic(mut self) {
        self.reply = None;
    }
}

impl Drop for Search<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.reply {
            self.bus.leave_topic(id);
        }
        self.bus.sought();
    }
}

/// Looks after a connection until nobody uses it.
async fn watch(dialer: Weak<Dialer>, place: Arc<Place>, bus: Arc<Bus>, idle: Duration) {
    let mut tick = interval(TICK);
    let mut used = Instant::now();
    while !bus.ended() {
        tick.tick().await;
        let alone = dialer.strong_count() == 0;
        upkeep::look(&bus, alone);
        if !bus.channels().is_empty() {
            used = Instant::now();
        } else if alone || used.elapsed() > idle {
            // Who dials holds the lock until the channel is there.
            let Ok(mut current) = place.bus.try_lock() else { continue };
            if current.as_ref().is_some_and(|other| Arc::ptr_eq(other, &bus)) {
                *current = None;
            }
            bus.stop();
        }
    }
    if let Some(dialer) = dialer.upgrade() {
        dialer.forget(&place);
    }
}
