//! What a broker knows: sessions, kept messages, and what it has seen.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use rumqttc::{Packet, Publish, QoS};
use tokio::sync::mpsc;

use super::{Behaviour, Seen};

/// Messages on their way to one client.
const IN_FLIGHT: usize = 32;

/// What goes to a client.
pub(super) enum Out {
    Packet(Box<Packet>),
    Raw(Bytes),
}

impl Out {
    pub(super) fn is_publish(&self) -> bool {
        matches!(self, Self::Packet(packet) if matches!(**packet, Packet::Publish(_)))
    }

    fn publish(publish: Publish) -> Self {
        Self::Packet(Box::new(Packet::Publish(publish)))
    }
}

#[derive(Default)]
struct Session {
    filters: Vec<String>,
    in_flight: VecDeque<Publish>,
    queue: VecDeque<Publish>,
    number: u16,
    connection: usize,
    out: Option<mpsc::UnboundedSender<Out>>,
    outlives: bool,
    /// The largest payload that the client takes, about.
    most: usize,
}

pub(super) struct Core {
    pub(super) behaviour: Behaviour,
    started: Instant,
    sessions: HashMap<String, Session>,
    pub(super) retained: BTreeMap<String, Bytes>,
    pub(super) seen: Vec<Seen>,
    pub(super) connections: usize,
    /// Messages that will be lost.
    pub(super) to_lose: usize,
    /// Whether it refuses to keep messages, and how many it has refused.
    pub(super) refuses: bool,
    pub(super) refused: usize,
}

impl Core {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            started: Instant::now(),
            sessions: HashMap::new(),
            retained: BTreeMap::new(),
            seen: Vec::new(),
            connections: 0,
            to_lose: 0,
            refuses: false,
            refused: 0,
        }
    }

    pub(super) fn cut(&mut self) {
        // A connection ends with its queue.
        self.sessions.values_mut().for_each(|session| session.out = None);
        self.sessions.retain(|_, session| session.outlives);
    }

    pub(super) fn forget(&mut self) {
        self.sessions.clear();
        self.retained.clear();
    }

    pub(super) fn inject(&self, bytes: &Bytes) {
        for out in self.sessions.values().filter_map(|session| session.out.as_ref()) {
            // A client that is gone gets none.
            let _ = out.send(Out::Raw(bytes.clone()));
        }
    }

    /// A client came: whether its session was there, and what to send once it is told so.
    pub(super) fn connect(
        &mut self,
        client: &str,
        fresh: bool,
        outlives: bool,
        most: usize,
        out: &mpsc::UnboundedSender<Out>,
    ) -> (bool, usize) {
        self.connections += 1;
        if fresh {
            self.sessions.remove(client);
        }
        let present = self.sessions.contains_key(client);
        let session = self.sessions.entry(client.to_owned()).or_default();
        (session.outlives, session.connection, session.out) = (outlives, self.connections, Some(out.clone()));
        session.most = if self.behaviour.ignores_limits { usize::MAX } else { most };
        (present, self.connections)
    }

    /// What was on its way when the connection before broke.
    pub(super) fn resume(&mut self, client: &str) {
        let twice = self.behaviour.twice;
        let Some(session) = self.sessions.get_mut(client) else { return };
        for publish in &session.in_flight {
            let again = Publish { dup: true, ..publish.clone() };
            if let Some(out) = &session.out {
                let _ = out.send(Out::publish(again));
            }
        }
        session.pump(twice);
    }

    pub(super) fn answer(&self, client: &str, packet: Packet) {
        if let Some(out) = self.sessions.get(client).and_then(|session| session.out.as_ref()) {
            // A client that is gone gets none.
            let _ = out.send(Out::Packet(Box::new(packet)));
        }
    }

    pub(super) fn disconnect(&mut self, client: &str, connection: usize, forget: bool) {
        let Some(session) = self.sessions.get_mut(client).filter(|s| s.connection == connection) else {
            return;
        };
        session.out = None;
        if forget || !session.outlives {
            self.sessions.remove(client);
        }
    }

    pub(super) fn subscribe(&mut self, client: &str, filters: &[String]) {
        let twice = self.behaviour.twice;
        let Some(session) = self.sessions.get_mut(client) else { return };
        for filter in filters {
            if !session.filters.contains(filter) {
                session.filters.push(filter.clone());
            }
            for (topic, payload) in self.retained.iter().filter(|(topic, _)| rumqttc::matches(topic, filter))
            {
                let mut publish = Publish::new(topic.clone(), QoS::AtLeastOnce, payload.clone(), None);
                publish.retain = true;
                session.queue.push_back(publish);
            }
        }
        session.pump(twice);
    }

    pub(super) fn filters(&self) -> Vec<String> {
        self.sessions.values().flat_map(|session| session.filters.iter().cloned()).collect()
    }

    /// Whether it refuses a message, as it was told to.
    pub(super) fn refuses(&mut self, retain: bool) -> bool {
        let refuses = self.refuses && retain;
        self.refused += usize::from(refuses);
        refuses
    }

    pub(super) fn unsubscribe(&mut self, client: &str, filters: &[String]) {
        if let Some(session) = self.sessions.get_mut(client) {
            session.filters.retain(|filter| !filters.contains(filter));
        }
    }

    /// Passes a message on; false when nobody wants it.
    pub(super) fn publish(&mut self, topic: String, payload: Bytes, retain: bool) -> bool {
        let seen =
            Seen { topic: topic.clone(), payload: payload.clone(), retain, at: self.started.elapsed() };
        self.seen.push(seen);
        if retain && payload.is_empty() {
            self.retained.remove(&topic);
        } else if retain {
            self.retained.insert(topic.clone(), payload.clone());
        }
        if self.to_lose > 0 {
            self.to_lose -= 1;
            return true;
        }
        let twice = self.behaviour.twice;
        let mut wanted = false;
        for session in self.sessions.values_mut() {
            if session.filters.iter().any(|filter| rumqttc::matches(&topic, filter)) {
                wanted = true;
                session.queue.push_back(Publish::new(topic.clone(), QoS::AtLeastOnce, payload.clone(), None));
                session.pump(twice);
            }
        }
        wanted
    }

    pub(super) fn acknowledged(&mut self, client: &str, number: u16) {
        let twice = self.behaviour.twice;
        if let Some(session) = self.sessions.get_mut(client) {
            session.in_flight.retain(|publish| publish.pkid != number);
            session.pump(twice);
        }
    }
}

impl Session {
    /// Sends what may be sent.
    fn pump(&mut self, twice: bool) {
        while let Some(out) = self.out.as_ref().filter(|_| self.in_flight.len() < IN_FLIGHT) {
            let Some(mut publish) = self.queue.pop_front() else { return };
            if publish.payload.len() > self.most {
                continue;
            }
            self.number = self.number.checked_add(1).unwrap_or(1);
            publish.pkid = self.number;
            // What a broken connection does not take is sent again on the next.
            let _ = out.send(Out::publish(publish.clone()));
            if twice {
                let again = Publish { dup: true, ..publish.clone() };
                let _ = out.send(Out::publish(again));
            }
            self.in_flight.push_back(publish);
        }
    }
}
