//! A client's connection: the bytes of a request out, those of its response in.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::client::TlsStream;
use tokio_util::io::poll_read_buf;

/// What one read takes, and what each buffer of an unused connection may keep.
const ROOM: usize = 16 * 1024;

/// A connection that nobody drives but the exchange that holds it: no task stands between a link and its socket.
pub(crate) struct Conn {
    /// The address that was dialled.
    pub(crate) to: IpAddr,
    stream: Stream,
    request: BytesMut,
    written: usize,
    flushed: bool,
    /// The server takes no more. It may have answered all the same.
    deaf: bool,
    /// What has come and nobody has looked at.
    pub(crate) arrived: BytesMut,
    /// One timer for all exchanges of this connection.
    pub(crate) deadline: Pin<Box<Sleep>>,
}

impl Conn {
    pub(crate) fn new(to: IpAddr, stream: Stream) -> Self {
        let deadline = Box::pin(tokio::time::sleep_until(Instant::now()));
        let (request, arrived) = (BytesMut::new(), BytesMut::new());
        Self { to, stream, request, written: 0, flushed: true, deaf: false, arrived, deadline }
    }

    /// An empty buffer to make the next request in.
    pub(crate) fn buffer(&mut self) -> BytesMut {
        std::mem::take(&mut self.request)
    }

    /// Sends the request, which begins at this place in the buffer. What cannot be written at once needs
    /// [`write`](Self::write).
    pub(crate) fn send(&mut self, request: BytesMut, from: usize, cx: &mut Context<'_>) {
        (self.request, self.written, self.flushed) = (request, from, false);
        self.write(cx);
    }

    /// Writes what can be written of the request. Reading tells whether the connection has failed.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>) {
        let mut stream = Pin::new(&mut self.stream);
        while !self.flushed && !self.deaf {
            let left = &self.request[self.written..];
            let polled = match left.is_empty() {
                true => stream.as_mut().poll_flush(cx).map_ok(|()| None),
                false => stream.as_mut().poll_write(cx, left).map_ok(Some),
            };
            match polled {
                Poll::Pending => return,
                Poll::Ready(Ok(None)) => self.flushed = true,
                Poll::Ready(Ok(Some(0)) | Err(_)) => self.deaf = true,
                Poll::Ready(Ok(Some(count))) => self.written += count,
            }
        }
    }

    /// Reads once. False at the connection's end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.arrived.reserve(ROOM);
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.arrived).map_ok(|count| count > 0)
    }

    /// Makes it ready to be kept after an exchange. False if it cannot carry another one.
    pub(crate) fn rest(&mut self) -> bool {
        for buffer in [&mut self.request, &mut self.arrived] {
            if buffer.capacity() > ROOM {
                *buffer = BytesMut::new();
            }
        }
        self.request.clear();
        self.flushed && self.arrived.is_empty()
    }

    /// Whether the server neither closed it nor said anything since the last answer.
    pub(crate) fn is_good(&mut self) -> bool {
        if !self.arrived.is_empty() {
            return false;
        }
        // A task that has used up its turn would be told that nothing came, whatever came.
        let look = pin!(tokio::task::unconstrained(poll_fn(|cx| self.poll_read(cx))));
        // Who waits for the next answer reads before that, so nobody need be woken by this look.
        look.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// The socket, with or without TLS.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
