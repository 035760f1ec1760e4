//! `memory://name`: links inside one process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meow_core::transport::{
    Accept, Endpoint, Frame, Host, Link, LinkProfile, Listener, Pattern, Peer, RecvFrames, SendFrames,
    Transport,
};
use meow_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

const MAX_FRAME: usize = 32 * 1024 + 1024;
const QUEUED_FRAMES: usize = 16;
const QUEUED_LINKS: usize = 64;
const DRAIN: Duration = Duration::from_secs(10);

/// The `memory` scheme. Each value is a world of its own: only clones of it reach its listeners.
///
/// Links are sessions. Each direction queues at most 16 frames, then `send` waits.
#[derive(Clone)]
pub struct Memory {
    rooms: Arc<Mutex<Rooms>>,
    max_frame: usize,
    drain: Duration,
}

type Rooms = HashMap<String, Room>;

/// What a dialler needs of a listener.
#[derive(Clone)]
struct Room {
    seats: mpsc::Sender<Link>,
    /// Counts the accepting ends that are still held.
    open: TaskTracker,
    /// Set when the listener's patience with open links ends.
    cut: CancellationToken,
}

impl Memory {
    /// A world without listeners.
    pub fn new() -> Self {
        Self { rooms: Arc::default(), max_frame: MAX_FRAME, drain: DRAIN }
    }

    /// The same world as seen with another largest frame, in bytes. It holds for links dialled from here.
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes;
        self
    }

    /// How long closing a listener waits for its open links (default 10 s).
    #[must_use]
    pub fn drain(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        // The map is whole after every statement that holds the lock.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn profile(&self) -> LinkProfile {
        let mut profile = LinkProfile::new(Pattern::Session, self.max_frame);
        profile.rtt = Duration::ZERO;
        profile.exposes_address = false;
        profile
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("max_frame", &self.max_frame).finish_non_exhaustive()
    }
}

fn room(endpoint: &Endpoint) -> Result<String> {
    endpoint.options().finish()?;
    let bare = endpoint.path() == "/" && endpoint.port().is_none() && endpoint.credentials().is_none();
    match endpoint.host().map(Host::to_string) {
        Some(name) if bare => Ok(name),
        _ => Err(Error::new(ErrorKind::Usage, "a memory endpoint is a name and nothing else: memory://name")),
    }
}

impl Transport for Memory {
    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        room(endpoint)?;
        Ok(self.profile())
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let room = room(endpoint)?;
        let nobody =
            || Error::new(ErrorKind::Unreachable, "nobody listens at this memory endpoint; listen first");
        let Room { seats, open, cut } = self.rooms().get(&room).cloned().ok_or_else(nobody)?;
        let seat = seats.reserve_owned().await.map_err(|_| nobody())?;
        let (out, far_in) = mpsc::channel(QUEUED_FRAMES);
        let (far_out, into) = mpsc::channel(QUEUED_FRAMES);
        let end = |queue_out, queue_in, held: [Option<TaskTrackerToken>; 2]| {
            let [tx_held, rx_held] = held;
            let tx = Tx {
                queue: queue_out,
                max_frame: self.max_frame,
                finished: false,
                cut: cut.clone(),
                _held: tx_held,
            };
            let rx = Rx { queue: queue_in, ended: false, cut: cut.clone(), _held: rx_held };
            Link::new(tx, rx, self.profile(), Peer::default())
        };
        seat.send(end(far_out, far_in, [Some(open.token()), Some(open.token())]));
        Ok(end(out, into, [None, None]))
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        let name = room(endpoint)?;
        let (seats, arrivals) = mpsc::channel(QUEUED_LINKS);
        let room = Room { seats, open: TaskTracker::new(), cut: CancellationToken::new() };
        let mut rooms = self.rooms();
        if rooms.get(&name).is_some_and(|old| !old.seats.is_closed()) {
            let text = "this memory endpoint is already listened at; choose another name";
            return Err(Error::new(ErrorKind::AlreadyUsed, text));
        }
        rooms.insert(name.clone(), room.clone());
        drop(rooms);
        let (open, cut) = (room.open, room.cut);
        let acceptor = Acceptor { world: self.clone(), name, arrivals, open, cut };
        Ok(Listener::new(acceptor, endpoint.clone()))
    }
}

struct Acceptor {
    world: Memory,
    name: String,
    arrivals: mpsc::Receiver<Link>,
    open: TaskTracker,
    cut: CancellationToken,
}

impl Acceptor {
    /// Takes the name off, unless a later listener has it already.
    fn leave(&mut self) {
        self.arrivals.close();
        let mut rooms = self.world.rooms();
        if rooms.get(&self.name).is_some_and(|room| room.seats.is_closed()) {
            rooms.remove(&self.name);
        }
    }
}

impl Accept for Acceptor {
    async fn accept(&mut self) -> Result<Option<Link>> {
        Ok(self.arrivals.recv().await)
    }

    async fn close(&mut self) -> Result<()> {
        self.leave();
        // Nobody will serve those that wait in the queue; dropping them tells their diallers.
        while self.arrivals.try_recv().is_ok() {}
        self.open.close();
        // Whether all ended by themselves or time ran out: nothing is left open below.
        let _ = tokio::time::timeout(self.world.drain, self.open.wait()).await;
        self.cut.cancel();
        Ok(())
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.leave();
    }
}

enum Item {
    Frame(Frame),
    Fin,
}

fn broken() -> Error {
    Error::new(ErrorKind::Unreachable, "the far side hung up; connect again").with_retry(Retry::Now)
}

struct Tx {
    queue: mpsc::Sender<Item>,
    max_frame: usize,
    finished: bool,
    cut: CancellationToken,
    _held: Option<TaskTrackerToken>,
}

impl Tx {
    async fn put(&mut self, item: Item) -> Result<()> {
        tokio::select! {
            biased;
            () = self.cut.cancelled() => Err(broken()),
            sent = self.queue.send(item) => sent.map_err(|_| broken()),
        }
    }
}

impl SendFrames for Tx {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        meow_core::transport::check_frame(&frame, self.max_frame)?;
        if self.finished {
            return Err(Error::new(
                ErrorKind::Usage,
                "this link was finished; open another one to send more",
            ));
        }
        self.put(Item::Frame(frame)).await
    }

    async fn finish(&mut self) -> Result<()> {
        if !self.finished {
            self.put(Item::Fin).await?;
            self.finished = true;
        }
        Ok(())
    }

    async fn closed(&mut self) {
        tokio::select! {
            () = self.cut.cancelled() => {}
            () = self.queue.closed() => {}
        }
    }
}

struct Rx {
    queue: mpsc::Receiver<Item>,
    ended: bool,
    cut: CancellationToken,
    _held: Option<TaskTrackerToken>,
}

impl RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        if self.ended {
            return Ok(None);
        }
        let item = tokio::select! {
            biased;
            // What has arrived is still handed out after a cut.
            item = self.queue.recv() => item,
            () = self.cut.cancelled() => None,
        };
        match item {
            Some(Item::Frame(frame)) => Ok(Some(frame)),
            Some(Item::Fin) => {
                self.ended = true;
                Ok(None)
            }
            None => Err(broken()),
        }
    }
}
