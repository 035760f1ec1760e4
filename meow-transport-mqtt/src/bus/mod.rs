//! One connection to a broker: it comes back by itself, tells where messages belong, and packs what channels have to say.

mod broker;
mod options;
mod publish;
mod run;
mod topics;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use meow_core::transport::Endpoint;
use rumqttc::AsyncClient;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::channel::Channel;
use crate::config::BrokerConfig;
use crate::error::MqttError;
use crate::wire::{Prefix, TopicId};

/// How often channels are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// So many topics in a row that are not confirmed in time: the broker does not serve.
const STALLED: usize = 64;

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
    /// Topics that the broker has not confirmed in time, since it last did.
    unconfirmed: AtomicUsize,
    status: watch::Sender<Status>,
    /// Why the connection is not there at the moment.
    trouble: Mutex<Option<MqttError>>,
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
        let (client, events) = AsyncClient::builder(options::options(endpoint, config)?)
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
            unconfirmed: AtomicUsize::new(0),
            status: watch::Sender::new(Status::Connecting),
            trouble: Mutex::default(),
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

    /// Why the connection is not there at the moment, if it was lost.
    pub(crate) fn trouble(&self) -> Option<MqttError> {
        lock(&self.trouble).clone()
    }

    /// Whether the broker leaves so much undone that no more is asked of it for strangers.
    pub(crate) fn stalls(&self) -> bool {
        self.unconfirmed.load(Ordering::Acquire) >= STALLED
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
}
