//! What time asks of channels: pings, ends, and new topics.

use std::sync::Arc;
use std::time::Duration;

use meow_core::crypto::SystemRandom;
use tokio::time::{Instant, timeout};

use crate::bus::{Bus, Route};
use crate::channel::Channel;
use crate::wire::TopicId;

/// How long the broker may take to confirm a topic.
const SUBSCRIBE: Duration = Duration::from_secs(10);

/// Looks at every channel. With `alone`, nobody opens links any more.
pub(crate) fn look(bus: &Arc<Bus>, alone: bool) {
    let now = Instant::now();
    for channel in bus.channels() {
        let chores = channel.tick(now, alone);
        chores.retired.into_iter().for_each(|id| bus.leave_topic(id));
        if chores.move_on {
            tokio::spawn(move_on(Arc::clone(bus), channel));
        }
    }
}

/// Gives a channel another topic to take records at.
async fn move_on(bus: Arc<Bus>, channel: Arc<Channel>) {
    let Ok(id) = TopicId::generate(&mut SystemRandom) else { return channel.moved(None) };
    let route = Route::Channel(Arc::clone(&channel), id);
    match timeout(SUBSCRIBE, bus.subscribe(id, route)).await {
        Ok(Ok(())) if !channel.ended() => channel.moved(Some(id)),
        Err(_) => {
            bus.not_confirmed(id);
            channel.moved(None);
        }
        // Not in time, or not any more: the next look tries again.
        _ => {
            bus.leave_topic(id);
            channel.moved(None);
        }
    }
}
