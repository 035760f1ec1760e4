//! Listening: announcements, hellos, and the links that channels bring.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use meow_core::Result;
use meow_core::crypto::{DhSecret, SigningKey, SystemRandom};
use meow_core::request::fingerprint;
use meow_core::transport::{Accept, Endpoint, Link, Listener, Peer};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::{Rate, Unread};
use crate::bus::{Bus, Route, TICK};
use crate::channel::{Channel, Side};
use crate::config::ServerConfig;
use crate::error::MqttError;
use crate::upkeep;
use crate::wire::{Announcement, Hello, Reference, TopicId};

/// Hellos that wait to be opened.
const HELLOS: usize = 256;
/// Hellos that are opened in a second; three times that at once.
const HELLO_RATE: u32 = 100;
/// How long the broker may take to confirm the topic of a new channel.
const SUBSCRIBE: Duration = Duration::from_secs(10);
/// How long a failed announcement waits before it is tried again; the pause doubles with each.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// How long taking the announcement off may take.
const TAKE_OFF: Duration = Duration::from_secs(2);

/// What all channels of one listener share.
struct Shared {
    config: ServerConfig,
    skp: SigningKey,
    reference: Reference,
    bus: Arc<Bus>,
    arrivals: mpsc::Sender<Link>,
    hellos: mpsc::Sender<(TopicId, Bytes)>,
    /// Counts the halves of links.
    open: Arc<TaskTracker>,
    unread: Arc<Unread>,
    /// Set when the listener takes no more links.
    leaving: CancellationToken,
    inboxes: Mutex<VecDeque<Inbox>>,
    callers: Mutex<HashMap<[u8; 32], Caller>>,
}

/// Where hellos come to, under one announcement.
struct Inbox {
    id: TopicId,
    secret: DhSecret,
    announced_at: TopicId,
}

/// A client that has a channel, or gets one.
enum Caller {
    Opening,
    Open { channel: Arc<Channel>, reply: TopicId, answer: Bytes },
}

pub(crate) async fn listen(config: &ServerConfig, endpoint: &Endpoint) -> Result<Listener> {
    let prefix = crate::check(endpoint)?;
    let skp = config.identity.clone().ok_or(MqttError::NoIdentity)?;
    let reference = Reference::new(fingerprint(&skp.public()));
    let local = endpoint.clone().with_server(*reference.fingerprint());
    let starting = async {
        let bus = Bus::start(endpoint, prefix, &config.broker).await?;
        let (arrivals, queue) = mpsc::channel(config.max_waiting.max(1));
        let (hellos, calls) = mpsc::channel(HELLOS);
        let shared = Arc::new(Shared {
            config: config.clone(),
            skp,
            reference,
            bus,
            arrivals,
            hellos,
            open: Arc::new(TaskTracker::new()),
            unread: Arc::new(Unread::new(config.max_unread)),
            leaving: CancellationToken::new(),
            inboxes: Mutex::default(),
            callers: Mutex::default(),
        });
        // From here on, being dropped ends the connection.
        let acceptor = Acceptor { shared: Some(Arc::clone(&shared)), queue };
        shared.announce().await?;
        tokio::spawn(Arc::clone(&shared).keep_announcing());
        tokio::spawn(Arc::clone(&shared).answer(calls));
        tokio::spawn(Arc::clone(&shared).keep_up());
        Ok::<_, MqttError>(acceptor)
    };
    let acceptor = timeout(config.start_timeout, starting).await.unwrap_or(Err(MqttError::ConnectTimeout))?;
    Ok(Listener::new(acceptor, local))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these hold is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Takes hellos at a new inbox, and says so in a new place; then takes the announcement before off. The inbox before
    /// is kept for those who have just read of it.
    async fn announce(&self) -> Result<(), MqttError> {
        let secret = DhSecret::generate(&mut SystemRandom)?;
        let id = TopicId::generate(&mut SystemRandom)?;
        let announced_at = TopicId::generate(&mut SystemRandom)?;
        let announcement = Announcement { key: secret.public(), inbox: id };
        let sealed = announcement.seal(&self.reference, &self.skp, &mut SystemRandom)?;
        self.bus.subscribe(id, Route::Queue(self.hellos.clone(), id)).await?;
        let before = lock(&self.inboxes).back().map(|inbox| inbox.announced_at);
        lock(&self.inboxes).push_back(Inbox { id, secret, announced_at });
        let announced =
            self.bus.announce(announced_at, sealed.into(), self.config.announce_interval * 3).await;
        if announced.is_err() {
            // Nobody reads of this inbox, and the next try makes another one.
            lock(&self.inboxes).retain(|inbox| inbox.id != id);
            self.bus.leave_topic(id);
            return announced;
        }
        while let Some(old) = self.superseded() {
            self.bus.leave_topic(old.id);
        }
        if let Some(before) = before
            && let Err(e) = self.bus.announce(before, Bytes::new(), Duration::ZERO).await
        {
            // It expires by itself; until then its inbox is the one that is kept.
            tracing::debug!("an old announcement stays on the broker: {e}");
        }
        Ok(())
    }

    /// The inbox that is one too many.
    fn superseded(&self) -> Option<Inbox> {
        let mut inboxes = lock(&self.inboxes);
        if inboxes.len() > 2 { inboxes.pop_front() } else { None }
    }

    async fn keep_announcing(self: Arc<Self>) {
        let (mut wait, mut pause) = (self.config.announce_interval, PAUSE);
        loop {
            tokio::select! {
                () = sleep(wait) => {}
                () = self.bus.fresh.notified() => {}
                () = self.leaving.cancelled() => return,
            }
            let announced = tokio::select! {
                announced = self.announce() => announced,
                () = self.leaving.cancelled() => return,
            };
            wait = match announced {
                Ok(()) => {
                    pause = PAUSE;
                    self.config.announce_interval
                }
                Err(e) => {
                    tracing::warn!("the announcement on the broker could not be renewed: {e}");
                    let wait = pause;
                    pause = (pause * 2).min(LONGEST);
                    wait
                }
            };
        }
    }

    async fn keep_up(self: Arc<Self>) {
        let mut tick = interval(TICK);
        while !self.bus.ended() {
            tick.tick().await;
            upkeep::look(&self.bus, false);
            let gone = |caller: &Caller| matches!(caller, Caller::Open { channel, .. } if channel.ended());
            lock(&self.callers).retain(|_, caller| !gone(caller));
        }
    }

    async fn answer(self: Arc<Self>, mut calls: mpsc::Receiver<(TopicId, Bytes)>) {
        let mut rate = Rate::new(HELLO_RATE, 3, Instant::now());
        loop {
            let call = tokio::select! {
                call = calls.recv() => call,
                () = self.leaving.cancelled() => None,
            };
            let Some((inbox, bytes)) = call else { return };
            if let Ok(caller) = Hello::caller(&self.reference, &bytes)
                && rate.take(Instant::now())
            {
                self.call(caller, inbox, &bytes);
            }
        }
    }

    fn call(self: &Arc<Self>, caller: [u8; 32], inbox: TopicId, bytes: &[u8]) {
        let mut callers = lock(&self.callers);
        match callers.get(&caller) {
            Some(Caller::Opening) => return,
            Some(Caller::Open { reply, answer, .. }) => {
                // The answer may be lost; who lost it too is no worse off.
                let _ = self.bus.offer(*reply, answer.clone());
                return;
            }
            None => {}
        }
        if !self.has_room(&mut callers) {
            tracing::debug!("a hello stays unanswered: there are too many channels");
            return;
        }
        let secret =
            lock(&self.inboxes).iter().find(|other| other.id == inbox).map(|inbox| inbox.secret.clone());
        let Some(secret) = secret else { return };
        let Ok(up) = TopicId::generate(&mut SystemRandom) else { return };
        let Ok(answered) = Hello::answer(&self.reference, &secret, up, bytes, &mut SystemRandom) else {
            return;
        };
        callers.insert(caller, Caller::Opening);
        drop(callers);
        let rate = Mutex::new(Rate::new(self.config.link_rate, 4, Instant::now()));
        let side = Side::Server {
            arrivals: self.arrivals.clone(),
            max_links: self.config.max_links,
            rate,
            unread: Arc::clone(&self.unread),
        };
        let channel = Channel::new(
            Arc::clone(&self.bus),
            side,
            // A hello proves nothing of who made it: no address, and no Skp where it is a server's.
            Peer::default(),
            Arc::clone(&self.open),
            (answered.down, answered.reply),
            (answered.up, up),
        );
        tokio::spawn(Arc::clone(self).open(caller, channel, up, answered.reply, answered.answer.into()));
    }

    /// Whether there is room for another channel. If none is left, the one that has been without links for longest gives way,
    /// for a while at least: whoever opens channels to keep others out has to use them.
    fn has_room(&self, callers: &mut HashMap<[u8; 32], Caller>) -> bool {
        // A broker that confirms nothing and takes nothing lets channels pile up that are over.
        if self.bus.stalls() || self.bus.channel_count() >= 2 * self.config.max_channels {
            return false;
        }
        if callers.len() < self.config.max_channels {
            return true;
        }
        let unused = |(key, caller): (&[u8; 32], &Caller)| match caller {
            Caller::Open { channel, .. } => channel.unused_since().map(|since| (since, *key)),
            Caller::Opening => None,
        };
        let longest = callers.iter().filter_map(unused).min();
        let Some((_, key)) = longest.filter(|(since, _)| since.elapsed() >= self.config.unused) else {
            return false;
        };
        if let Some(Caller::Open { channel, .. }) = callers.remove(&key) {
            channel.end();
        }
        true
    }

    /// Answers once the broker brings what the client will send.
    async fn open(
        self: Arc<Self>,
        caller: [u8; 32],
        channel: Arc<Channel>,
        up: TopicId,
        reply: TopicId,
        answer: Bytes,
    ) {
        let subscribing = self.bus.subscribe(up, Route::Channel(Arc::clone(&channel), up));
        let subscribed = timeout(SUBSCRIBE, subscribing).await;
        if !matches!(subscribed, Ok(Ok(()))) || self.leaving.is_cancelled() {
            match subscribed {
                Ok(_) => self.bus.leave_topic(up),
                Err(_) => self.bus.not_confirmed(up),
            }
            lock(&self.callers).remove(&caller);
            return;
        }
        self.bus.add(&channel);
        // A client that gets none says hello again.
        let _ = self.bus.offer(reply, answer.clone());
        lock(&self.callers).insert(caller, Caller::Open { channel, reply, answer });
    }

    /// Takes no more links, lets the open ones end for a bounded time, then leaves the broker.
    async fn wind_up(self: Arc<Self>) {
        self.leaving.cancel();
        self.bus.channels().iter().for_each(Channel::leave);
        let announced: Vec<TopicId> = lock(&self.inboxes).iter().map(|inbox| inbox.announced_at).collect();
        for at in announced {
            // A broker that is gone keeps it until it expires.
            let _ = timeout(TAKE_OFF, self.bus.announce(at, Bytes::new(), Duration::ZERO)).await;
        }
        self.open.close();
        // Whether all ended by themselves or time ran out: nothing is left open below.
        let _ = timeout(self.config.drain, self.open.wait()).await;
        self.bus.stop();
        self.bus.over().await;
    }
}

struct Acceptor {
    /// None once closed.
    shared: Option<Arc<Shared>>,
    queue: mpsc::Receiver<Link>,
}

impl Acceptor {
    /// Nobody will serve those that wait in the queue; dropping them tells their diallers.
    fn turn_away(&mut self) {
        self.queue.close();
        while self.queue.try_recv().is_ok() {}
    }
}

impl Accept for Acceptor {
    async fn accept(&mut self) -> Result<Option<Link>> {
        Ok(self.queue.recv().await)
    }

    async fn close(&mut self) -> Result<()> {
        self.turn_away();
        if let Some(shared) = &self.shared {
            Arc::clone(shared).wind_up().await;
            self.shared = None;
        }
        Ok(())
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.turn_away();
        if let Some(shared) = self.shared.take() {
            // What is new from here on is for nobody, even before the winding up has begun.
            shared.leaving.cancel();
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(shared.wind_up())),
                Err(_) => shared.bus.stop(),
            }
        }
    }
}
