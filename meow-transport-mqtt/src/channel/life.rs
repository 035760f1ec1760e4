//! What time asks of a channel.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::state::OwnTopic;
use super::{Channel, Side};
use crate::wire::{Item, TopicId};

/// How long a missing record is waited for.
const GAP: Duration = Duration::from_secs(10);
/// How long a server waits for the first record of a channel.
const FIRST_RECORD: Duration = Duration::from_secs(15);
/// How long a server keeps a channel on which nothing happens.
const FORGOTTEN: Duration = Duration::from_secs(180);

/// What the bus does about a channel after looking at it.
#[derive(Default)]
pub(crate) struct Chores {
    pub(crate) retired: Vec<TopicId>,
    pub(crate) move_on: bool,
}

impl Channel {
    /// What is due by now.
    pub(crate) fn tick(self: &Arc<Self>, now: Instant, alone: bool) -> Chores {
        let mut chores = Chores::default();
        let mut state = self.state();
        if state.ended {
            return chores;
        }
        let missing = state.into.gap.is_some_and(|since| now - since > GAP);
        let silent = state.probe.is_some_and(|due| now > due);
        let over = match &self.side {
            Side::Client { idle, .. } => state.links.is_empty() && (alone || now - state.idle_since > *idle),
            Side::Server { .. } if !state.known => now - state.idle_since > FIRST_RECORD,
            Side::Server { .. } => state.links.is_empty() && now - state.heard > FORGOTTEN,
        };
        if missing || silent || over {
            state.end(true);
        } else {
            if !state.links.is_empty() && now - state.heard > self.config.probe_interval {
                self.probe(&mut state, now);
            }
            state.into.topics.retain(|topic| {
                let retired = topic.retire.is_some_and(|at| now > at);
                if retired {
                    chores.retired.push(topic.id);
                }
                !retired
            });
            let worn = |topic: &OwnTopic| topic.used && now - topic.since > self.config.topic_life;
            if !state.into.moving && state.into.topics.last().is_some_and(worn) {
                state.into.moving = true;
                chores.move_on = true;
            }
        }
        let say = !state.out.pending.is_empty() || state.ended;
        drop(state);
        if say {
            self.wake();
        }
        chores
    }

    /// The far side shall send to a new topic, which is subscribed; or it could not be.
    pub(crate) fn moved(self: &Arc<Self>, to: Option<TopicId>) {
        let mut state = self.state();
        state.into.moving = false;
        if let Some(id) = to.filter(|_| !state.ended) {
            state.into.topics.push(OwnTopic { id, since: Instant::now(), used: false, retire: None });
            state.say(Item::Move(id));
        }
        drop(state);
        self.wake();
    }

    /// After the connection to the broker broke and came back with all that it held: whether the far side is there still.
    pub(crate) fn resumed(self: &Arc<Self>) {
        let mut state = self.state();
        if !state.ended && !state.links.is_empty() {
            self.probe(&mut state, Instant::now());
            drop(state);
            self.wake();
        }
    }
}
