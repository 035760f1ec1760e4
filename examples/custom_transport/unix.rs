//! `unix:///path`: links over Unix domain sockets, by the public API alone.
//!
//! Each way, a frame is its length as u32 big-endian and its bytes; a length of 0 says that no more follow. A task for each
//! direction does the I/O, so that every method of a link is an operation on a channel, and cancel-safe for that.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meow::core::transport::{
    Accept, Endpoint, Frame, Link, LinkProfile, Listener, Pattern, Peer, RecvFrames, SendFrames, Transport,
    check_frame,
};
use meow::{Error, ErrorKind, Result, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

/// Largest frame in bytes: the largest sealed packet and 1 KiB.
const MAX_FRAME: usize = 33_792;
/// Frames that wait in each direction; then `send` waits.
const QUEUED: usize = 4;
/// How long a listener that closes waits for open links.
const DRAIN: Duration = Duration::from_secs(4);

/// The scheme `unix`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unix;

impl Transport for Unix {
    fn schemes(&self) -> &'static [&'static str] {
        &["unix"]
    }

    fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
        socket(endpoint)?;
        let mut profile = LinkProfile::new(Pattern::Session, MAX_FRAME);
        profile.rtt = Duration::ZERO;
        profile.exposes_address = false;
        Ok(profile)
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
        let profile = self.estimate(endpoint)?;
        let stream = UnixStream::connect(socket(endpoint)?).await.map_err(|e| {
            Error::new(ErrorKind::Unreachable, "nobody listens at this socket").with_source(e)
        })?;
        Ok(link(stream, profile, None))
    }

    async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        let (profile, path) = (self.estimate(endpoint)?, socket(endpoint)?);
        if UnixStream::connect(&path).await.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
            // Left behind by a process that is gone.
            std::fs::remove_file(&path).map_err(unusable)?;
        }
        let socket = UnixListener::bind(&path).map_err(unusable)?;
        let acceptor = Acceptor { socket: Some(socket), path, profile, cut: watch::Sender::new(false) };
        Ok(Listener::new(acceptor, endpoint.clone()))
    }
}

fn socket(endpoint: &Endpoint) -> Result<PathBuf> {
    endpoint.options().finish()?;
    match endpoint.device_path() {
        Some(path) if endpoint.credentials().is_none() => Ok(Path::new(path.as_ref()).to_owned()),
        _ => {
            Err(Error::new(ErrorKind::Usage, "a unix endpoint is a path and nothing else: unix:///run/name"))
        }
    }
}

fn unusable(e: io::Error) -> Error {
    let kind = if e.kind() == io::ErrorKind::AddrInUse { ErrorKind::AlreadyUsed } else { ErrorKind::System };
    Error::new(kind, "cannot listen at this socket; choose another path").with_source(e)
}

fn broken() -> Error {
    Error::new(ErrorKind::Unreachable, "the far side hung up; connect again").with_retry(Retry::Now)
}

struct Acceptor {
    socket: Option<UnixListener>,
    path: PathBuf,
    profile: LinkProfile,
    /// Held by every open link; true when the listener's patience with them ends.
    cut: watch::Sender<bool>,
}

impl Acceptor {
    fn stop(&mut self) {
        if self.socket.is_some() {
            // The name first: once the socket is closed, somebody else may take it. It may have been removed by hand;
            // nobody is reached by it either way.
            drop(std::fs::remove_file(&self.path));
            self.socket = None;
        }
    }
}

impl Accept for Acceptor {
    async fn accept(&mut self) -> Result<Option<Link>> {
        let Some(socket) = &self.socket else { return Ok(None) };
        let (stream, _) = socket.accept().await.map_err(unusable)?;
        Ok(Some(link(stream, self.profile.clone(), Some(self.cut.subscribe()))))
    }

    async fn close(&mut self) -> Result<()> {
        self.stop();
        // All ended by themselves, or time ran out: then those that are left are cut.
        drop(tokio::time::timeout(DRAIN, self.cut.closed()).await);
        self.cut.send_replace(true);
        Ok(())
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop();
    }
}

enum Item {
    Frame(Frame),
    End,
}

fn link(stream: UnixStream, profile: LinkProfile, cut: Option<watch::Receiver<bool>>) -> Link {
    let (from, to) = stream.into_split();
    let (out, waiting) = mpsc::channel(QUEUED);
    let (arrived, queue) = mpsc::channel(QUEUED);
    let (over, gone) = watch::channel(false);
    tokio::spawn(write(to, waiting, gone.clone()));
    tokio::spawn(read(from, arrived, over, cut));
    let tx = Tx { queue: out, finished: false, gone: gone.clone() };
    Link::new(tx, Rx { queue, ended: false, _gone: gone }, profile, Peer::default())
}

/// Writes what waits until the link is dropped or broken.
async fn write(mut to: OwnedWriteHalf, mut waiting: mpsc::Receiver<Item>, mut gone: watch::Receiver<bool>) {
    let writing = async {
        while let Some(item) = waiting.recv().await {
            let frame = if let Item::Frame(frame) = item { frame } else { Frame::new() };
            // At most max_frame bytes: `send` has checked.
            let length = u32::try_from(frame.len()).unwrap_or_default().to_be_bytes();
            to.write_all(&[&length, frame.as_ref()].concat()).await?;
        }
        io::Result::Ok(())
    };
    tokio::select! {
        // A failure shows where we read: the socket is closed.
        _ = writing => {}
        () = told(&mut gone) => {}
    }
}

/// Reads frames until the far side is gone, both halves of the link are dropped, or the listener cuts it.
async fn read(
    mut from: OwnedReadHalf,
    arrived: mpsc::Sender<Item>,
    over: watch::Sender<bool>,
    mut cut: Option<watch::Receiver<bool>>,
) {
    let reading = async {
        loop {
            let length = from.read_u32().await? as usize;
            if length > MAX_FRAME {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut frame = vec![0; length];
            from.read_exact(&mut frame).await?;
            let item = if frame.is_empty() { Item::End } else { Item::Frame(frame.into()) };
            // Where nobody receives any more, we still read, to see the far side go.
            drop(arrived.send(item).await);
        }
        #[allow(unreachable_code, reason = "names the type")]
        io::Result::Ok(())
    };
    let cut = async {
        match &mut cut {
            Some(cut) => told(cut).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = reading => {}
        () = cut => {}
        () = over.closed() => {}
    }
    over.send_replace(true);
}

/// Waits until a flag is raised; for ever if nobody can raise it any more.
async fn told(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|raised| *raised).await.is_err() {
        std::future::pending().await
    }
}

struct Tx {
    queue: mpsc::Sender<Item>,
    finished: bool,
    gone: watch::Receiver<bool>,
}

impl Tx {
    async fn put(&mut self, item: Item) -> Result<()> {
        tokio::select! {
            biased;
            () = told(&mut self.gone) => Err(broken()),
            sent = self.queue.send(item) => sent.map_err(|_| broken()),
        }
    }
}

impl SendFrames for Tx {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        check_frame(&frame, MAX_FRAME)?;
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
            self.put(Item::End).await?;
            self.finished = true;
        }
        Ok(())
    }

    fn closed(&mut self) -> impl Future<Output = ()> + Send {
        told(&mut self.gone)
    }
}

struct Rx {
    queue: mpsc::Receiver<Item>,
    ended: bool,
    /// Says that somebody still holds the link.
    _gone: watch::Receiver<bool>,
}

impl RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        if self.ended {
            return Ok(None);
        }
        match self.queue.recv().await {
            Some(Item::Frame(frame)) => Ok(Some(frame)),
            Some(Item::End) => {
                self.ended = true;
                Ok(None)
            }
            None => Err(broken()),
        }
    }
}
