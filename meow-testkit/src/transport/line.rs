//! A serial line of pseudo-terminals that several stations share, for tests and examples: what one writes, all others read.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::medium::Dice;

/// Chunks that wait for a station that does not read; further ones are lost, as on a real line.
const WAITING: usize = 1024;

/// A line. Needs a tokio runtime; dropping it unplugs every station.
#[derive(Debug)]
pub struct Line {
    dir: PathBuf,
    stations: Vec<Option<Station>>,
    queues: Queues,
    baud: Option<u32>,
    /// By station.
    carried: Arc<Vec<AtomicU64>>,
    losses: Arc<Vec<Loss>>,
    hold: Arc<Hold>,
}

/// Stops the line in the middle of what a station sends.
#[derive(Debug)]
struct Hold {
    /// Whose bytes count, and how many still pass.
    mark: Mutex<Option<(usize, u64)>>,
    held: watch::Sender<bool>,
}

impl Hold {
    /// How many of so many bytes of a station pass; none while the line is held.
    async fn pass(&self, station: usize, bytes: usize) -> usize {
        // The sender lives as long as this.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        let mut mark = locked(&self.mark);
        let Some((whose, left)) = &mut *mark else { return bytes };
        if *whose != station {
            return bytes;
        }
        let through = usize::try_from(*left).map_or(bytes, |left| bytes.min(left));
        *left -= through as u64;
        if through < bytes {
            *mark = None;
            self.held.send_replace(true);
        }
        through
    }
}

type Queue = Option<mpsc::Sender<Arc<[u8]>>>;
type Queues = Arc<Mutex<Vec<Queue>>>;

/// What gets lost of all that a station sends and hears.
#[derive(Debug)]
struct Loss {
    thousandths: AtomicU16,
    lost: AtomicU64,
    /// Where whole frames are lost: what ends them, and what has begun of one that is sent and of one that is heard.
    frames: Mutex<Option<(u8, [Vec<u8>; 2])>>,
    dice: Mutex<Dice>,
}

/// Which way bytes go, as a station sees it.
#[derive(Clone, Copy)]
enum Way {
    Out,
    In,
}

impl Loss {
    fn new(seed: u64) -> Self {
        let dice = Mutex::new(Dice(seed));
        Self { thousandths: AtomicU16::new(0), lost: AtomicU64::new(0), frames: Mutex::new(None), dice }
    }

    fn hits(&self) -> bool {
        let hits = locked(&self.dice).hits(self.thousandths.load(Ordering::Relaxed));
        self.lost.fetch_add(hits.into(), Ordering::Relaxed);
        hits
    }

    /// What arrives of these bytes.
    fn pass(&self, bytes: Arc<[u8]>, way: Way) -> Arc<[u8]> {
        if self.thousandths.load(Ordering::Relaxed) == 0 || bytes.is_empty() {
            return bytes;
        }
        let mut frames = locked(&self.frames);
        let Some((delimiter, begun)) = &mut *frames else {
            if !self.hits() {
                return bytes;
            }
            let mut rest = bytes.to_vec();
            rest.remove((locked(&self.dice).draw() % rest.len() as u64) as usize);
            return rest.into();
        };
        let [out, heard] = begun;
        let begun = match way {
            Way::Out => out,
            Way::In => heard,
        };
        let mut whole = Vec::new();
        for part in bytes.split_inclusive(|byte| byte == delimiter) {
            begun.extend_from_slice(part);
            if part.last() == Some(delimiter) {
                let frame = std::mem::take(begun);
                // A delimiter alone is no frame.
                if frame.len() == 1 || !self.hits() {
                    whole.extend(frame);
                }
            }
        }
        whole.into()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The near end of a pseudo-terminal.
#[derive(Debug)]
struct Station {
    /// Keeps the terminal as it is while nobody has it open.
    _far: OwnedFd,
    _tasks: JoinSet<()>,
}

impl Line {
    /// A line as fast as the machine.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(stations: usize) -> io::Result<Self> {
        Self::paced(stations, None)
    }

    /// A line that passes on so many bits a second, ten for a byte.
    ///
    /// # Errors
    /// What the system says.
    pub fn paced(stations: usize, baud: Option<u32>) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("meow-line-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir)?;
        let queues: Queues = Arc::new(Mutex::new((0..stations).map(|_| None).collect()));
        let nobody = (0..stations).map(|_| None).collect();
        let losses = Arc::new((0..stations).map(|seed| Loss::new(seed as u64)).collect());
        let carried = Arc::new((0..stations).map(|_| AtomicU64::new(0)).collect());
        let hold = Arc::new(Hold { mark: Mutex::new(None), held: watch::channel(false).0 });
        let mut line = Self { dir, stations: nobody, queues, baud, carried, losses, hold };
        (0..stations).try_for_each(|n| line.plug(n))?;
        Ok(line)
    }

    /// Bytes that stations have written so far.
    pub fn carried(&self) -> u64 {
        self.carried.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Bytes that this station has written so far.
    pub fn carried_by(&self, station: usize) -> u64 {
        self.carried.get(station).map_or(0, |bytes| bytes.load(Ordering::Relaxed))
    }

    /// Holds the whole line once this station has sent so many more bytes: what stations write then waits, until
    /// [`go_on`](Self::go_on).
    pub fn hold_after(&self, station: usize, bytes: u64) {
        *locked(&self.hold.mark) = Some((station, bytes));
    }

    /// Waits until the line is held.
    pub async fn held(&self) {
        // The sender lives as long as this.
        let _ = self.hold.held.subscribe().wait_for(|held| *held).await;
    }

    /// Ends a hold.
    pub fn go_on(&self) {
        self.hold.held.send_replace(false);
    }

    /// From now on a byte is lost in so many of a thousand pieces that this station sends or hears. With a `delimiter`, so
    /// many of a thousand frames that end by it are lost whole: as on a radio behind a modem that checks them.
    pub fn lose(&self, station: usize, thousandths: u16, delimiter: Option<u8>) {
        if let Some(loss) = self.losses.get(station) {
            *locked(&loss.frames) = delimiter.map(|delimiter| (delimiter, Default::default()));
            loss.thousandths.store(thousandths, Ordering::Relaxed);
        }
    }

    /// How many bytes, or frames, this station has lost so far.
    pub fn lost(&self, station: usize) -> u64 {
        self.losses.get(station).map_or(0, |loss| loss.lost.load(Ordering::Relaxed))
    }

    /// The device of a station; the same after it was unplugged and plugged in again.
    pub fn path(&self, station: usize) -> PathBuf {
        self.dir.join(format!("tty{station}"))
    }

    /// The URL of a station's device, with these options (`?mode=...`, or nothing).
    pub fn url(&self, station: usize, options: &str) -> String {
        format!("serial://{}{options}", self.path(station).display())
    }

    /// Pulls a station off the line: its device is gone.
    pub fn unplug(&mut self, station: usize) {
        if let Some(place) = self.stations.get_mut(station) {
            *place = None;
        }
        if let Some(queue) = lock(&self.queues).get_mut(station) {
            *queue = None;
        }
        // It may be gone already.
        let _ = std::fs::remove_file(self.path(station));
    }

    /// Plugs a station in.
    ///
    /// # Errors
    /// What the system says.
    pub fn plug(&mut self, station: usize) -> io::Result<()> {
        self.unplug(station);
        let near = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&near)?;
        rustix::pty::unlockpt(&near)?;
        let name = rustix::pty::ptsname(&near, Vec::new())?;
        let far = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let mut raw = tcgetattr(&far)?;
        raw.make_raw();
        tcsetattr(&far, OptionalActions::Now, &raw)?;
        let flags = rustix::fs::fcntl_getfl(&near)?;
        rustix::fs::fcntl_setfl(&near, flags | OFlags::NONBLOCK)?;
        // The other constructor is `unsafe`; a file keeps its descriptor for as long as it lives.
        #[allow(deprecated, reason = "the successor is an unsafe function")]
        let near = Arc::new(AsyncFd::new(File::from(near))?);
        let (queue, waiting) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        let (queues, losses) = (Arc::clone(&self.queues), Arc::clone(&self.losses));
        let (carried, hold) = (Arc::clone(&self.carried), Arc::clone(&self.hold));
        tasks.spawn(read(Arc::clone(&near), station, queues, losses, carried, hold));
        tasks.spawn(write(near, waiting, self.baud));
        if let Some(place) = lock(&self.queues).get_mut(station) {
            *place = Some(queue);
        }
        if let Some(place) = self.stations.get_mut(station) {
            *place = Some(Station { _far: far, _tasks: tasks });
        }
        symlink(Path::new(&*name.to_string_lossy()), self.path(station))
    }

    /// Noise: these bytes reach every station.
    pub fn noise(&self, bytes: &[u8]) {
        spread(&self.queues, &self.losses, usize::MAX, bytes.into());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A folder of temporary files: nothing depends on its removal.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn lock(queues: &Queues) -> std::sync::MutexGuard<'_, Vec<Queue>> {
    locked(queues)
}

fn spread(queues: &Queues, losses: &[Loss], from: usize, bytes: Arc<[u8]>) {
    let bytes = losses.get(from).map_or(Arc::clone(&bytes), |loss| loss.pass(bytes, Way::Out));
    for (to, queue) in lock(queues).iter().enumerate().filter(|(to, _)| *to != from) {
        if let (Some(queue), Some(loss)) = (queue, losses.get(to)) {
            // Who does not read loses what comes.
            let _ = queue.try_send(loss.pass(Arc::clone(&bytes), Way::In));
        }
    }
}

async fn read(
    near: Arc<AsyncFd<File>>,
    station: usize,
    queues: Queues,
    losses: Arc<Vec<Loss>>,
    carried: Arc<Vec<AtomicU64>>,
    hold: Arc<Hold>,
) {
    let mut buffer = [0; 1024];
    loop {
        let Ok(mut ready) = near.readable().await else { return };
        match ready.try_io(|near| near.get_ref().read(&mut buffer)) {
            Ok(Ok(n)) if n > 0 => {
                let mut rest = buffer.get(..n).unwrap_or_default();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(hold.pass(station, rest.len()).await);
                    if let Some(bytes) = carried.get(station) {
                        bytes.fetch_add(now.len() as u64, Ordering::Relaxed);
                    }
                    spread(&queues, &losses, station, now.into());
                    rest = later;
                }
            }
            Ok(_) => return,
            Err(_) => {}
        }
    }
}

async fn write(near: Arc<AsyncFd<File>>, mut waiting: mpsc::Receiver<Arc<[u8]>>, baud: Option<u32>) {
    let mut free = tokio::time::Instant::now();
    while let Some(bytes) = waiting.recv().await {
        let mut rest = &*bytes;
        while !rest.is_empty() {
            let Ok(mut ready) = near.writable().await else { return };
            // To be asked first: what would block takes it away.
            let closed = ready.ready().is_write_closed();
            match ready.try_io(|near| near.get_ref().write(rest)) {
                Ok(Ok(n)) => rest = rest.get(n..).unwrap_or_default(),
                Ok(Err(_)) => return,
                // Unplugged with a full terminal: it stays ready, and would be tried for ever without a pause.
                Err(_) if closed => return,
                Err(_) => {}
            }
        }
        if let Some(baud) = baud {
            let time = Duration::from_secs_f64(bytes.len() as f64 * 10.0 / f64::from(baud));
            free = free.max(tokio::time::Instant::now()) + time;
            tokio::time::sleep_until(free).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads nothing has a full terminal. Its task has to end with the station: one that tried for ever would hold
    /// the only thread of this runtime.
    #[test]
    fn a_station_with_a_full_terminal_is_unplugged() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let free = (0..20).all(|_| {
            let _inside = runtime.enter();
            let mut line = Line::new(2).unwrap();
            for _ in 0..8 {
                line.noise(&[b'n'; 4096]);
            }
            // Time for the tasks of both stations to fill their terminals.
            std::thread::sleep(Duration::from_millis(10));
            line.unplug(0);
            let (tell, told) = std::sync::mpsc::channel();
            runtime.spawn(async move { tell.send(()) });
            told.recv_timeout(Duration::from_secs(60)).is_ok()
        });
        // Waiting for a task that never ends would be waiting for ever.
        runtime.shutdown_background();
        assert!(free, "a task holds the thread");
    }
}
