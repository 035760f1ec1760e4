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
        let at = name(endpoint);
        // Dropped last: others name places, and what does not answer is kept no longer than somebody dials it.
        let _leave = Leave { dialer: self, at: &at };
        let place = self.place(&at);
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
                    let bus = self.bus(&place, &at, prefix).await?;
                    let channel = self.discover(&bus, Reference::new(fingerprint)).await?;
                    current.insert(channel).clone()
                }
            }
        };
        channel.open_link().await
    }

    fn place(&self, at: &Endpoint) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(at.clone()).or_default())
    }

    async fn bus(
        self: &Arc<Self>,
        place: &Arc<Place>,
        at: &Endpoint,
        prefix: Prefix,
    ) -> Result<Arc<Bus>, MqttError> {
        let mut current = place.bus.lock().await;
        if let Some(bus) = current.as_ref().filter(|bus| !bus.ended()) {
            bus.up().await?;
            return Ok(Arc::clone(bus));
        }
        let bus = Bus::start(at, prefix, &self.config.broker).await?;
        *current = Some(Arc::clone(&bus));
        tokio::spawn(watch(
            Arc::downgrade(self),
            at.clone(),
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
        let (found, finds) = mpsc::channel(FOUND);
        let mut search = Search { bus, reply: Some(caller.reply), finds };
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
                announcement = search.finds.recv() => {
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

    /// Takes off what nobody uses: the place, or servers at it.
    fn forget(&self, at: &Endpoint) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = places.get(at) else { return };
        // Held by this map alone: by nobody who dials there, and by no connection.
        if Arc::strong_count(place) == 1 {
            places.remove(at);
        } else {
            place.sweep();
        }
    }
}

impl Place {
    /// Takes off the servers to which there is no channel, and which nobody seeks.
    fn sweep(&self) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|_, server| {
            // Whoever seeks it holds it beside this map.
            Arc::strong_count(server) > 1
                || server
                    .try_lock()
                    .is_ok_and(|channel| channel.as_ref().is_some_and(|channel| channel.takes_links()))
        });
    }
}

/// Forgets what nobody uses of a place when who dialled it is done or has given up.
struct Leave<'a> {
    dialer: &'a Dialer,
    at: &'a Endpoint,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.dialer.forget(self.at);
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
    finds: mpsc::Receiver<Bytes>,
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
        // This one seeks no more.
        self.finds.close();
        self.bus.sought();
    }
}

/// Looks after a connection until nobody uses it.
async fn watch(dialer: Weak<Dialer>, at: Endpoint, place: Arc<Place>, bus: Arc<Bus>, idle: Duration) {
    let mut tick = interval(TICK);
    let mut used = Instant::now();
    while !bus.ended() {
        tick.tick().await;
        let alone = dialer.strong_count() == 0;
        upkeep::look(&bus, alone);
        place.sweep();
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
    drop(place);
    if let Some(dialer) = dialer.upgrade() {
        dialer.forget(&at);
    }
}

#[cfg(test)]
mod tests {
    use meow_core::crypto::SigningKey;
    use meow_core::transport::Transport as _;
    use meow_testkit::mqtt::{Behaviour, Broker};

    use super::*;
    use crate::{Mqtt, ServerConfig};

    #[tokio::test]
    async fn a18_places_and_servers_that_do_not_answer_are_not_kept() {
        let broker = Broker::start(Behaviour::default()).await.unwrap();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let connect_timeout = Duration::from_millis(300);
        let dialer = Dialer::new(ClientConfig { connect_timeout, ..ClientConfig::default() });
        let places = || dialer.places.lock().unwrap().values().cloned().collect::<Vec<_>>();
        // A broker that is silent, and one that is not there.
        for number in 0..2 {
            let at: Endpoint = format!("mqtt://cat:fish@127.0.0.1:{port}/p{number}").parse().unwrap();
            assert!(dialer.connect(&at.with_server([1; 32])).await.is_err());
        }
        drop(silent);
        let at: Endpoint = format!("mqtt://cat:fish@127.0.0.1:{port}/p").parse().unwrap();
        assert!(dialer.connect(&at.with_server([1; 32])).await.is_err());
        assert_eq!(places().len(), 0);
        // A broker at which there are no such servers.
        for server in 1..=3 {
            let at: Endpoint = broker.url("cats").parse().unwrap();
            assert!(dialer.connect(&at.with_server([server; 32])).await.is_err());
        }
        assert!(places().len() == 1 && places()[0].servers.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_server_that_left_is_not_kept() {
        let broker = Broker::start(Behaviour::default()).await.unwrap();
        let listener = async |seed| {
            let identity = Some(SigningKey::from_seed(&[seed; 32]));
            let server = ServerConfig { identity, ..ServerConfig::default() };
            let mqtt = Mqtt::new(ClientConfig::default(), server);
            mqtt.listen(&broker.url("cats").parse().unwrap()).await.unwrap()
        };
        let (mut leaving, staying) = (listener(7).await, listener(8).await);
        let dialer = Dialer::new(ClientConfig::default());
        drop(dialer.connect(leaving.local()).await.unwrap());
        // In use all the while, so that the place stays.
        let _link = dialer.connect(staying.local()).await.unwrap();
        let place = dialer.place(&name(staying.local()));
        assert_eq!(place.servers.lock().unwrap().len(), 2);
        leaving.close().await.unwrap();
        let gone = async {
            while place.servers.lock().unwrap().len() > 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(Duration::from_secs(60), gone).await.is_ok());
    }
}
