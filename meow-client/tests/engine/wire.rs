//! Links within the process, as one party dials them: which are under way, which are open, and what they carry.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use meow_core::Result;
use meow_core::transport::{
    Endpoint, Frame, Host, Link, LinkProfile, LinkReceiver, LinkSender, Listener, RecvFrames, SendFrames,
    Transport,
};
use meow_transport::Transports;

/// `memory:`, seen by who dials.
#[derive(Clone)]
pub(crate) struct Wire {
    medium: Transports,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Whom dialling takes long, until it is let go on.
    held: HashSet<String>,
    dialled: Vec<String>,
    /// Whom a link was begun to, for as long as it lives.
    links: Vec<(String, Weak<()>)>,
    /// Those of them that are open.
    open: Vec<(String, Weak<()>)>,
}

impl Wire {
    pub(crate) fn new(medium: Transports) -> Self {
        Self { medium, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// From now on links to these, and no others, stay under way.
    pub(crate) fn hold(&self, names: &[&str]) {
        self.seen().held = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// How often somebody was dialled since the last call.
    pub(crate) fn dialled(&self, name: &str) -> usize {
        let mut seen = self.seen();
        let before = seen.dialled.len();
        seen.dialled.retain(|other| other != name);
        before - seen.dialled.len()
    }

    /// Links to somebody that are under way.
    pub(crate) fn under_way(&self, name: &str) -> usize {
        let seen = self.seen();
        alive(&seen.links, name) - alive(&seen.open, name)
    }

    /// Links to somebody that this party has not closed.
    pub(crate) fn open(&self, name: &str) -> usize {
        alive(&self.seen().open, name)
    }
}

fn alive(all: &[(String, Weak<()>)], name: &str) -> usize {
    all.iter().filter(|(other, life)| other == name && life.strong_count() > 0).count()
}

fn name(endpoint: &Endpoint) -> String {
    match endpoint.host() {
        Some(Host::Name(name)) => name.clone(),
        other => panic!("{other:?}"),
    }
}

impl Transport for Wire {
    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        self.medium.estimate(endpoint)
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let (name, life) = (name(endpoint), Arc::new(()));
        {
            let mut seen = self.seen();
            seen.dialled.push(name.clone());
            seen.links.push((name.clone(), Arc::downgrade(&life)));
        }
        while self.seen().held.contains(&name) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let link = self.medium.connect(endpoint).await?;
        self.seen().open.push((name, Arc::downgrade(&life)));
        let tx = Tx { tx: link.tx, _life: Arc::clone(&life) };
        Ok(Link::new(tx, Rx { rx: link.rx, _life: life }, link.profile, link.peer))
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        self.medium.listen(endpoint).await
    }
}

struct Tx {
    tx: LinkSender,
    _life: Arc<()>,
}

impl SendFrames for Tx {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        self.tx.send(frame).await
    }

    async fn finish(&mut self) -> Result<()> {
        self.tx.finish().await
    }
}

struct Rx {
    rx: LinkReceiver,
    _life: Arc<()>,
}

impl RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        self.rx.recv().await
    }
}
