//! What goes out: hellos, answers, announcements, and the records of channels that have something to say.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{PublishOptions, PublishProperties, QoS};

use super::{Bus, lock};
use crate::channel::Channel;
use crate::error::MqttError;
use crate::wire::TopicId;

/// Messages that the library holds and has not sent yet.
const OUTSTANDING: usize = 64;

impl Bus {
    fn publish(&self, to: TopicId, payload: Bytes) -> Result<(), MqttError> {
        self.put(self.prefix.topic(to), payload, PublishOptions::new(QoS::AtLeastOnce))
    }

    /// Sends a hello or an answer, unless the broker takes so little that more of them would only lie here: whoever misses one
    /// asks again.
    pub(crate) fn offer(&self, to: TopicId, payload: Bytes) -> Result<(), MqttError> {
        if self.outstanding.load(Ordering::Acquire) >= 4 * OUTSTANDING {
            return Ok(());
        }
        self.publish(to, payload)
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

    /// How many channels are there, with those that are still being closed.
    pub(crate) fn channel_count(&self) -> usize {
        lock(&self.channels).len()
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
    pub(super) fn flush(&self) {
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
}
