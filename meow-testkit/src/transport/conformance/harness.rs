//! What the cases share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use meow_core::ErrorKind;
use meow_core::transport::{
    Endpoint, Frame, Link, LinkProfile, Listener, Pattern, SharedTransport, Transport,
};
use meow_transport::Transports;
use tokio::task::{JoinHandle, JoinSet};

use crate::transport::medium::Medium;

/// How a case failed.
pub struct Failure(String);

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// Shown by a test that unwraps, so line breaks stay line breaks.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<meow_core::Error> for Failure {
    fn from(e: meow_core::Error) -> Self {
        Self(format!("{e:?}"))
    }
}

/// Fails the case unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::transport::conformance::Failure::new(format!($($text)+)));
        }
    };
}
pub(super) use ensure;

/// A transport under test, and where it can listen.
pub struct Subject {
    pub(super) transport: SharedTransport,
    pub(super) listen: Endpoint,
    dial: Box<dyn Fn(&Endpoint) -> Endpoint + Send + Sync>,
    pub(super) bad: Vec<Endpoint>,
    pub(super) medium: Option<Box<dyn Medium>>,
    pub(super) nothing_between: bool,
    pub(super) links: usize,
    pub(super) limit: Duration,
}

impl Subject {
    /// `listen` is used again and again, so it needs a port of 0, or another form that can be listened at anew.
    pub fn new(transport: impl Transport, listen: Endpoint) -> Self {
        Self::shared(Arc::new(transport), listen)
    }

    /// The links that a whole registry makes of this scheme, with all that it puts on top.
    ///
    /// # Errors
    /// `UnknownScheme` if nothing in it serves the endpoint.
    pub fn of(transports: Transports, listen: Endpoint) -> Result<Self, Failure> {
        let schemes = transports.get(&listen)?.schemes();
        Ok(Self::shared(Arc::new(Registry { transports, schemes }), listen))
    }

    fn shared(transport: SharedTransport, listen: Endpoint) -> Self {
        let dial = Box::new(Endpoint::clone);
        let (bad, links, limit) = (Vec::new(), 200, super::LIMIT);
        Self { transport, listen, dial, bad, medium: None, nothing_between: false, links, limit }
    }

    /// A path that loses things, for [`profile_is_true`](super::profile_is_true): every subject needs one, or
    /// [`nothing_between`](Self::nothing_between). What [`dial_by`](Self::dial_by) changes is changed in its endpoint too.
    #[must_use]
    pub fn through(mut self, medium: impl Medium + 'static) -> Self {
        self.medium = Some(Box::new(medium));
        self
    }

    /// Nothing stands between the two ends where anything could be lost, as within one process: only the good path is
    /// measured.
    #[must_use]
    pub fn nothing_between(mut self) -> Self {
        self.nothing_between = true;
        self
    }

    /// How many links are open at once in [`many_links`](super::many_links) (200). Fewer only where the medium
    /// itself cannot carry so many.
    #[must_use]
    pub fn links(mut self, links: usize) -> Self {
        self.links = links;
        self
    }

    /// The longest that one case may take ([`LIMIT`](super::LIMIT)), where the medium is slow and its time is simulated. What a case waits
    /// for in vain, or for a loss to be noticed, is in proportion.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Long enough for a loss to be noticed.
    pub(super) fn notice(&self) -> Duration {
        self.limit / 3
    }

    /// How to dial what listens at a given local endpoint, where the two differ: another host name for the
    /// certificate, the other end of a cable.
    #[must_use]
    pub fn dial_by(mut self, dial: impl Fn(&Endpoint) -> Endpoint + Send + Sync + 'static) -> Self {
        self.dial = Box::new(dial);
        self
    }

    /// Endpoints of this scheme that the transport must refuse, beside those with an unknown option.
    #[must_use]
    pub fn refusing(mut self, bad: impl IntoIterator<Item = Endpoint>) -> Self {
        self.bad.extend(bad);
        self
    }

    pub(super) fn pattern(&self) -> Result<Pattern, Failure> {
        Ok(self.transport.estimate(&self.listen)?.pattern)
    }

    pub(super) async fn listen(&self) -> Result<Listener, Failure> {
        // Of a case before, the last listener may still be on its way out.
        for _ in 0..100 {
            match self.transport.listen(&self.listen).await {
                Err(e) if e.kind() == ErrorKind::AlreadyUsed => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                listening => return Ok(listening?),
            }
        }
        Ok(self.transport.listen(&self.listen).await?)
    }

    pub(super) fn dialled(&self, local: &Endpoint) -> Endpoint {
        (self.dial)(local)
    }

    pub(super) async fn connect(&self, local: &Endpoint) -> Result<Link, Failure> {
        Ok(self.transport.connect(&self.dialled(local)).await?)
    }

    /// A listener whose links get back what they send.
    pub(super) async fn echo_server(&self) -> Result<EchoServer, Failure> {
        let mut listener = self.listen().await?;
        let local = listener.local().clone();
        let task = tokio::spawn(async move {
            let mut links = JoinSet::new();
            while let Ok(Some(link)) = listener.accept().await {
                links.spawn(echo(link));
            }
        });
        Ok(EchoServer { local, task })
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// A registry as one transport.
struct Registry {
    transports: Transports,
    schemes: &'static [&'static str],
}

impl Transport for Registry {
    fn schemes(&self) -> &'static [&'static str] {
        self.schemes
    }
    fn estimate(&self, endpoint: &Endpoint) -> meow_core::Result<LinkProfile> {
        self.transports.estimate(endpoint)
    }
    async fn connect(&self, endpoint: &Endpoint) -> meow_core::Result<Link> {
        self.transports.connect(endpoint).await
    }
    async fn listen(&self, endpoint: &Endpoint) -> meow_core::Result<Listener> {
        self.transports.listen(endpoint).await
    }
}

pub(super) struct EchoServer {
    pub(super) local: Endpoint,
    task: JoinHandle<()>,
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends back what comes in: at once, or on an exchange when all is there.
pub(super) async fn echo(mut link: Link) -> meow_core::Result<()> {
    if link.profile.pattern == Pattern::Exchange {
        for frame in receive_all(&mut link).await? {
            link.tx.send(frame).await?;
        }
    } else {
        while let Some(frame) = link.rx.recv().await? {
            link.tx.send(frame).await?;
        }
    }
    link.tx.finish().await
}

pub(super) async fn receive_all(link: &mut Link) -> meow_core::Result<Vec<Frame>> {
    let mut frames = Vec::new();
    while let Some(frame) = link.rx.recv().await? {
        frames.push(frame);
    }
    Ok(frames)
}

/// Sends these frames and takes what comes back, both to the end.
pub(super) async fn round_trip(mut link: Link, frames: Vec<Frame>) -> Result<Vec<Frame>, Failure> {
    if link.profile.pattern == Pattern::Exchange {
        for frame in frames {
            link.tx.send(frame).await?;
        }
        link.tx.finish().await?;
        return Ok(receive_all(&mut link).await?);
    }
    let Link { mut tx, mut rx, .. } = link;
    let send = async {
        for frame in frames {
            tx.send(frame).await?;
        }
        tx.finish().await
    };
    let receive = async {
        let mut back = Vec::new();
        while let Some(frame) = rx.recv().await? {
            back.push(frame);
        }
        Ok(back)
    };
    let ((), back): ((), Vec<Frame>) = tokio::try_join!(send, receive)?;
    Ok(back)
}

/// Frames of these lengths, but none longer than the link takes.
pub(super) fn frames<const N: usize>(profile: &LinkProfile, lengths: [usize; N]) -> [Frame; N] {
    let mut number = 0;
    lengths.map(|length| {
        number += 1;
        frame(number, length.min(profile.max_frame))
    })
}

/// A frame that differs from others of another number or length.
pub(super) fn frame(number: usize, length: usize) -> Frame {
    let mut byte = number as u8;
    let bytes = std::iter::repeat_with(|| {
        byte = byte.wrapping_mul(31).wrapping_add(7);
        byte
    });
    let mut frame: Vec<u8> = number.to_be_bytes().into_iter().chain(bytes).take(length).collect();
    // Frames too short for the number still differ by their first byte.
    if let Some(first) = frame.first_mut() {
        *first = number as u8;
    }
    frame.into()
}
