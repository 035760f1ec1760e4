//! Links, listeners and their boxed halves.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;

use super::{BoxFuture, Endpoint, LinkProfile};
use crate::{Error, ErrorKind, Result, Retry};

/// One message-framed unit of a link. Never empty on the wire; at most `LinkProfile::max_frame` bytes.
pub type Frame = bytes::Bytes;

/// The check that every [`SendFrames::send`] starts with.
///
/// # Errors
/// [`ErrorKind::Usage`] for an empty frame, [`ErrorKind::Limit`] for one over `max_frame` bytes.
pub fn check_frame(frame: &Frame, max_frame: usize) -> Result<()> {
    if frame.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "a frame must not be empty"));
    }
    if frame.len() > max_frame {
        let text = format!("the frame has {} bytes, this link takes {max_frame}; split it", frame.len());
        return Err(Error::new(ErrorKind::Limit, text).with_retry(Retry::Never));
    }
    Ok(())
}

/// The sending half that an implementer writes.
pub trait SendFrames: Send {
    /// Sends one frame. A frame over `max_frame`, or an empty one, is an error of kind `Limit` or `Usage`
    /// and leaves the link usable. Waits when the link is congested (back-pressure). After another error the link is
    /// lost; but a bus is lost only once `recv` says so: it may take the next frame.
    ///
    /// # Cancel safety
    /// A dropped `send` leaves the frame unsent or the link closed, never half a frame.
    fn send(&mut self, frame: Frame) -> impl Future<Output = Result<()>> + Send;

    /// Says that no more frames follow. The receiving half stays usable.
    ///
    /// # Cancel safety
    /// May be called again after being dropped.
    fn finish(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Waits until the far side can receive no more: it hung up, or the link broke. A server that holds a long
    /// poll waits for this beside the mail, and lets go of the poll. On a link that cannot tell (a radio) this
    /// never ends, which is what the default does.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    fn closed(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// The receiving half that an implementer writes.
pub trait RecvFrames: Send {
    /// The next frame, or `None` once the far side finished cleanly.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped `recv` loses no frame.
    fn recv(&mut self) -> impl Future<Output = Result<Option<Frame>>> + Send;
}

/// The accepting side that an implementer writes.
pub trait Accept: Send {
    /// The next incoming link, or `None` once the listener is closed.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped `accept` loses no link.
    fn accept(&mut self) -> impl Future<Output = Result<Option<Link>>> + Send;

    /// Stops taking new links, lets open ones end by themselves for a bounded time, then closes them.
    fn close(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// Boxed twin of [`SendFrames`].
trait DynSend: Send {
    fn send(&mut self, frame: Frame) -> BoxFuture<'_, Result<()>>;
    fn finish(&mut self) -> BoxFuture<'_, Result<()>>;
    fn closed(&mut self) -> BoxFuture<'_, ()>;
}
impl<T: SendFrames> DynSend for T {
    fn send(&mut self, frame: Frame) -> BoxFuture<'_, Result<()>> {
        Box::pin(SendFrames::send(self, frame))
    }
    fn finish(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(SendFrames::finish(self))
    }
    fn closed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(SendFrames::closed(self))
    }
}
trait DynRecv: Send {
    fn recv(&mut self) -> BoxFuture<'_, Result<Option<Frame>>>;
}
impl<T: RecvFrames> DynRecv for T {
    fn recv(&mut self) -> BoxFuture<'_, Result<Option<Frame>>> {
        Box::pin(RecvFrames::recv(self))
    }
}
trait DynAccept: Send {
    fn accept(&mut self) -> BoxFuture<'_, Result<Option<Link>>>;
    fn close(&mut self) -> BoxFuture<'_, Result<()>>;
}
impl<T: Accept> DynAccept for T {
    fn accept(&mut self) -> BoxFuture<'_, Result<Option<Link>>> {
        Box::pin(Accept::accept(self))
    }
    fn close(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(Accept::close(self))
    }
}

/// The owned sending half of a link.
pub struct LinkSender(Box<dyn DynSend>);

impl LinkSender {
    /// See [`SendFrames::send`].
    ///
    /// # Cancel safety
    /// A dropped `send` leaves the frame unsent or the link closed, never half a frame.
    pub async fn send(&mut self, frame: Frame) -> Result<()> {
        self.0.send(frame).await
    }
    /// See [`SendFrames::finish`].
    ///
    /// # Cancel safety
    /// May be called again after being dropped.
    pub async fn finish(&mut self) -> Result<()> {
        self.0.finish().await
    }
    /// See [`SendFrames::closed`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn closed(&mut self) {
        self.0.closed().await;
    }
}

/// The owned receiving half of a link.
pub struct LinkReceiver(Box<dyn DynRecv>);

impl LinkReceiver {
    /// See [`RecvFrames::recv`].
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped `recv` loses no frame.
    pub async fn recv(&mut self) -> Result<Option<Frame>> {
        self.0.recv().await
    }
}

/// Who is at the far end, as far as the transport knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The network address, where there is one: of the side that dialled (behind a listed reverse proxy: the forwarded one), or the
    /// one that was dialled, if the server itself is there.
    pub address: Option<IpAddr>,
    /// The port at that address, where the far side may dial and listen by one socket (udp).
    pub port: Option<u16>,
    /// The Skp fingerprint that the far side proved in its handshake, where the transport can.
    pub server: Option<[u8; 32]>,
}

impl Peer {
    /// A peer known by address only.
    pub fn at(address: IpAddr) -> Self {
        Self { address: Some(address), port: None, server: None }
    }
}

/// An open message-framed connection, as two owned halves.
#[non_exhaustive]
pub struct Link {
    /// Frames out.
    pub tx: LinkSender,
    /// Frames in.
    pub rx: LinkReceiver,
    /// What this link can do; the truth, unlike an estimate.
    pub profile: LinkProfile,
    /// Who is at the far end.
    pub peer: Peer,
}

impl Link {
    /// Puts a link together from the implementer's halves.
    pub fn new(
        tx: impl SendFrames + 'static,
        rx: impl RecvFrames + 'static,
        profile: LinkProfile,
        peer: Peer,
    ) -> Self {
        Self { tx: LinkSender(Box::new(tx)), rx: LinkReceiver(Box::new(rx)), profile, peer }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// A listening transport.
pub struct Listener {
    inner: Box<dyn DynAccept>,
    local: Endpoint,
}

impl Listener {
    /// Wraps the implementer's acceptor. `local` is the endpoint really bound: port 0 replaced by the
    /// port that the system gave.
    pub fn new(inner: impl Accept + 'static, local: Endpoint) -> Self {
        Self { inner: Box::new(inner), local }
    }

    /// The endpoint really bound.
    pub fn local(&self) -> &Endpoint {
        &self.local
    }

    /// See [`Accept::accept`].
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped `accept` loses no link.
    pub async fn accept(&mut self) -> Result<Option<Link>> {
        self.inner.accept().await
    }

    /// See [`Accept::close`].
    pub async fn close(&mut self) -> Result<()> {
        self.inner.close().await
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("local", &self.local).finish_non_exhaustive()
    }
}
