//! One medium with its machine: a task that moves frames, and the state that its links share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::crypto::SystemRandom;
use meow_core::segment::{Event, LinkId, Machine};
use meow_core::transport::{
    BoxFuture, Frame, Link, LinkProfile, LinkReceiver, LinkSender, Listener, Pattern, Peer,
};
use meow_core::{Error, ErrorKind, Result};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::link;

/// How long a bus stays open that nobody uses: what was lost last may be asked for once more.
const IDLE: Duration = Duration::from_secs(10);
/// How long a medium between two stays open before its first link.
const UNUSED: Duration = Duration::from_secs(60);

/// A medium as this process takes part in it.
pub(super) struct Station {
    state: Mutex<State>,
    /// The task has something to look at.
    wake: Notify,
    start: Instant,
    profile: LinkProfile,
    peer: Peer,
    bus: bool,
    /// Counts accepted links, until their halves are dropped.
    pub(super) open: TaskTracker,
}

pub(super) struct State {
    pub(super) machine: Machine,
    /// Who waits for something of a link.
    watchers: HashMap<LinkId, Arc<Notify>>,
    arrivals: Option<mpsc::Sender<Link>>,
    alive: bool,
}

/// What the task does next.
struct Plan {
    frame: Option<Frame>,
    timeout: Option<Duration>,
    may_receive: bool,
    /// Where a link that waits to be accepted goes.
    arrivals: Option<mpsc::Sender<Link>>,
    /// Nobody uses the medium.
    unused: bool,
}

impl Station {
    /// Takes a medium over. `arrivals` gets the links that others open; `below` is kept as long as the medium.
    pub(super) fn start(
        link: Link,
        arrivals: Option<mpsc::Sender<Link>>,
        below: Option<Listener>,
    ) -> Result<Arc<Self>> {
        let config = super::config(&link.profile)?;
        let mut machine = Machine::new(config, &mut SystemRandom)?;
        machine.listen(arrivals.is_some());
        let state = State { machine, watchers: HashMap::new(), arrivals, alive: true };
        let bus = link.profile.pattern == Pattern::Bus;
        let station = Arc::new(Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            start: Instant::now(),
            profile: super::above(&link.profile),
            peer: link.peer.clone(),
            bus,
            open: TaskTracker::new(),
        });
        let repeat = !link.profile.reliable;
        let task = Task { station: Arc::clone(&station), rx: link.rx, below, bus, repeat, used: bus };
        tokio::spawn(task.run(link.tx));
        Ok(station)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // The machine is whole after every call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn is_alive(&self) -> bool {
        self.state().alive
    }

    pub(super) fn profile(&self) -> &LinkProfile {
        &self.profile
    }

    /// A new link over this medium.
    pub(super) fn open(self: &Arc<Self>) -> Result<Link> {
        let mut state = self.state();
        if !state.alive {
            return Err(link::lost());
        }
        let now = self.now();
        let id = state.machine.open(now);
        Ok(self.link(&mut state, id, false))
    }

    fn link(self: &Arc<Self>, state: &mut State, id: LinkId, accepted: bool) -> Link {
        let notify = Arc::new(Notify::new());
        state.watchers.insert(id, Arc::clone(&notify));
        let tokens = [accepted.then(|| self.open.token()), accepted.then(|| self.open.token())];
        let (tx, rx) = link::halves(Arc::clone(self), id, notify, tokens);
        Link::new(tx, rx, self.profile.clone(), self.peer.clone())
    }

    /// Takes links of others from now on.
    pub(super) fn listen(&self, arrivals: mpsc::Sender<Link>) -> Result<()> {
        let mut state = self.state();
        if state.arrivals.as_ref().is_some_and(|old| !old.is_closed()) {
            let text = "this endpoint is already listened at; close that listener first";
            return Err(Error::new(ErrorKind::AlreadyUsed, text));
        }
        state.arrivals = Some(arrivals);
        state.machine.listen(true);
        drop(state);
        self.wake();
        Ok(())
    }

    /// Takes no more links of others.
    pub(super) fn deafen(&self) {
        let mut state = self.state();
        state.machine.listen(false);
        state.arrivals = None;
        // Nobody will serve those that wait.
        while let Some(id) = state.machine.accept() {
            state.machine.drop_tx(id);
            state.machine.drop_rx(id);
        }
        drop(state);
        self.wake();
    }

    /// Breaks the links of others that are still open.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        state.machine.cut();
        state.tell();
        drop(state);
        self.wake();
    }

    pub(super) fn unwatch(&self, id: LinkId) {
        self.state().watchers.remove(&id);
    }

    /// Waits until nothing is to be sent or acknowledged any more.
    pub(super) async fn flushed(&self) {
        while self.state().alive && !self.state().machine.is_idle() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn plan(&self, can_send: bool) -> Plan {
        let now = self.now();
        let mut state = self.state();
        state.machine.expire(now);
        let frame = if can_send { state.machine.transmit(now) } else { None };
        state.tell();
        let waiting = state.machine.waiting() > 0;
        if state.arrivals.as_ref().is_some_and(mpsc::Sender::is_closed) {
            state.arrivals = None;
            state.machine.listen(false);
        }
        Plan {
            frame,
            timeout: state.machine.timeout(now),
            may_receive: state.machine.may_receive(),
            arrivals: state.arrivals.clone().filter(|_| waiting),
            unused: state.is_unused(self.bus),
        }
    }

    fn hand_over(self: &Arc<Self>, place: mpsc::OwnedPermit<Link>) {
        let mut state = self.state();
        if let Some(id) = state.machine.accept() {
            let link = self.link(&mut state, id, true);
            drop(state);
            place.send(link);
        }
    }

    /// Ends, unless somebody has come in the meantime.
    fn end_unused(&self) -> bool {
        let mut state = self.state();
        state.alive &= !state.is_unused(self.bus);
        !state.alive
    }

    /// The medium is gone.
    fn end(&self) {
        let mut state = self.state();
        state.alive = false;
        state.machine.lost();
        state.arrivals = None;
        state.tell();
    }

    /// A bus takes nothing: all its links are broken. False if nobody is left who waits for links of others.
    fn outlasts_its_links(&self) -> bool {
        let mut state = self.state();
        let listens = self.bus && state.arrivals.is_some();
        if listens {
            state.machine.lost();
            state.machine.listen(true);
            state.tell();
        }
        listens
    }
}

impl State {
    fn is_unused(&self, bus: bool) -> bool {
        let listens = bus && self.arrivals.is_some();
        self.machine.open_links() == 0 && !listens && self.machine.is_idle()
    }

    /// Wakes those who wait for what has happened.
    pub(super) fn tell(&mut self) {
        while let Some(event) = self.machine.event() {
            if let Event::Changed(id) = event
                && let Some(watcher) = self.watchers.get(&id)
            {
                watcher.notify_waiters();
            }
        }
    }
}

struct Task {
    station: Arc<Station>,
    rx: LinkReceiver,
    below: Option<Listener>,
    bus: bool,
    repeat: bool,
    /// A link was open here already: one between two that is over ends its medium.
    used: bool,
}

type Sending = BoxFuture<'static, (LinkSender, Result<()>)>;

impl Task {
    async fn run(mut self, tx: LinkSender) {
        let mut idle = Some(tx);
        let mut sending: Option<Sending> = None;
        // The far side of a medium between two has finished; what is to be sent still goes.
        let mut heard_all = false;
        loop {
            let plan = self.station.plan(idle.is_some());
            if let Some(frame) = plan.frame
                && let Some(mut tx) = idle.take()
            {
                sending = Some(Box::pin(async move {
                    let sent = tx.send(frame).await;
                    (tx, sent)
                }));
            }
            let unused = plan.unused && sending.is_none();
            self.used |= !plan.unused;
            if unused && !self.bus && self.used {
                break;
            }
            let start = self.station.start;
            let patience = unused.then(|| self.station.now() + if self.bus { IDLE } else { UNUSED });
            let until = plan.timeout.or(patience);
            let arrivals = plan.arrivals;
            tokio::select! {
                () = self.station.wake.notified() => {}
                (tx, sent) = wait(&mut sending) => {
                    sending = None;
                    match sent {
                        Ok(()) => {
                            let now = self.station.now();
                            self.station.state().machine.sent(now);
                        }
                        // It is heard of again, or `recv` says that it is gone.
                        Err(e) if self.station.outlasts_its_links() => {
                            tracing::warn!(kind = e.kind().name(), "the links of a bus are broken: {e}");
                        }
                        Err(e) => {
                            tracing::debug!(kind = e.kind().name(), "a medium was lost while sending: {e}");
                            break;
                        }
                    }
                    idle = Some(tx);
                }
                frame = self.rx.recv(), if plan.may_receive && !heard_all => match frame {
                    Ok(Some(frame)) => {
                        let now = self.station.now();
                        self.station.state().machine.receive(now, &frame);
                    }
                    Ok(None) if !self.bus && !self.repeat => {
                        heard_all = true;
                        self.station.state().machine.heard_all();
                    }
                    Ok(None) => break,
                    Err(e) => {
                        tracing::debug!(kind = e.kind().name(), "a medium was lost: {e}");
                        break;
                    }
                },
                place = reserve(arrivals) => if let Some(place) = place {
                    self.station.hand_over(place);
                },
                () = at(until.map(|until| start + until)) => {
                    if unused && plan.timeout.is_none() && self.station.end_unused() {
                        break;
                    }
                }
            }
        }
        self.station.end();
        if !self.bus
            && !self.repeat
            && let Some(mut tx) = idle
            && let Err(e) = tx.finish().await
        {
            tracing::debug!(kind = e.kind().name(), "a medium did not end cleanly: {e}");
        }
        drop(self.below);
    }
}

async fn wait(sending: &mut Option<Sending>) -> (LinkSender, Result<()>) {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

/// A place in the queue of the listener; none if it is gone.
async fn reserve(arrivals: Option<mpsc::Sender<Link>>) -> Option<mpsc::OwnedPermit<Link>> {
    match arrivals {
        Some(arrivals) => arrivals.reserve_owned().await.ok(),
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
