//! A serial line of pseudo-terminals that several stations share, for tests and examples: what one writes, all others read.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Chunks that wait for a station that does not read; further ones are lost, as on a real line.
const WAITING: usize = 1024;

/// A line. Needs a tokio runtime; dropping it unplugs every station.
#[derive(Debug)]
pub struct Line {
    dir: PathBuf,
    stations: Vec<Option<Station>>,
    queues: Queues,
    baud: Option<u32>,
    carried: Arc<AtomicU64>,
}

type Queue = Option<mpsc::Sender<Arc<[u8]>>>;
type Queues = Arc<std::sync::Mutex<Vec<Queue>>>;

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
        let queues: Queues = Arc::new(std::sync::Mutex::new((0..stations).map(|_| None).collect()));
        let nobody = (0..stations).map(|_| None).collect();
        let mut line = Self { dir, stations: nobody, queues, baud, carried: Arc::default() };
        (0..stations).try_for_each(|n| line.plug(n))?;
        Ok(line)
    }

    /// Bytes that stations have written so far.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
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
        tasks.spawn(read(Arc::clone(&near), station, Arc::clone(&self.queues), Arc::clone(&self.carried)));
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
        spread(&self.queues, usize::MAX, bytes);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A folder of temporary files: nothing depends on its removal.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn lock(queues: &Queues) -> std::sync::MutexGuard<'_, Vec<Queue>> {
    queues.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn spread(queues: &Queues, from: usize, bytes: &[u8]) {
    let bytes: Arc<[u8]> = bytes.into();
    for (_, queue) in lock(queues).iter().enumerate().filter(|(to, _)| *to != from) {
        if let Some(queue) = queue {
            // Who does not read loses what comes.
            let _ = queue.try_send(Arc::clone(&bytes));
        }
    }
}

async fn read(near: Arc<AsyncFd<File>>, station: usize, queues: Queues, carried: Arc<AtomicU64>) {
    let mut buffer = [0; 1024];
    loop {
        let Ok(mut ready) = near.readable().await else { return };
        match ready.try_io(|near| near.get_ref().read(&mut buffer)) {
            Ok(Ok(n)) if n > 0 => {
                carried.fetch_add(n as u64, Ordering::Relaxed);
                spread(&queues, station, buffer.get(..n).unwrap_or_default());
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
            match ready.try_io(|near| near.get_ref().write(rest)) {
                Ok(Ok(n)) => rest = rest.get(n..).unwrap_or_default(),
                Ok(Err(_)) => return,
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
