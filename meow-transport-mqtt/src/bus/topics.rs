//! Topics: subscribed, handed to others, left; and the search for announcements.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use rumqttc::QoS;
use tokio::sync::mpsc;

use super::{Bus, Route, lock};
use crate::error::MqttError;
use crate::wire::TopicId;

impl Bus {
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
            Ok(()) => {
                self.unconfirmed.store(0, Ordering::Release);
                Ok(())
            }
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

    /// The broker did not confirm a topic in time.
    pub(crate) fn not_confirmed(&self, id: TopicId) {
        self.unconfirmed.fetch_add(1, Ordering::AcqRel);
        self.leave_topic(id);
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
            // Handed over while the lock is held, so before what a seeker subscribes that comes from here on.
            self.unsubscribe(self.prefix.announcements());
        }
    }
}
