//! A connection that acknowledges a broker's confirmations at once. One with Nagle's algorithm on (RFC 896; mosquitto, unless
//! told otherwise) holds back what follows a short packet until that is acknowledged, and a system delays acknowledgements
//! by 40 ms: with both, each answer took so much longer. What is longer than a confirmation gets one, which takes the
//! acknowledgement along.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A broker's packets without a record are shorter, within TLS or not, even many together.
const SHORT: usize = 128;

pub(crate) struct Prompt(pub(crate) TcpStream);

impl Prompt {
    /// Holds until the next packet with data is sent, so it is said after each read. Other systems do without.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn acknowledge(&self) -> io::Result<()> {
        socket2::SockRef::from(&self.0).set_tcp_quickack(true)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn acknowledge(&self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.0).poll_read(cx, buf);
        let came = buf.filled().len() - before;
        if read.is_ready() && (1..SHORT).contains(&came) {
            // A socket that is closed cannot, and says so at the next read.
            let _ = self.acknowledge();
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Two that answer each other soon take acknowledgements along; the system tells whether it would delay them.
    #[tokio::test]
    async fn what_was_read_is_acknowledged_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut client = Prompt(client);
        let quick = |client: &Prompt| socket2::SockRef::from(&client.0).tcp_quickack().unwrap();
        let (mut delayed, mut word) = (0, [0; 4]);
        for _ in 0..20 {
            client.write_all(b"ping").await.unwrap();
            server.read_exact(&mut word).await.unwrap();
            server.write_all(b"pong").await.unwrap();
            client.0.readable().await.unwrap();
            delayed += usize::from(!quick(&client));
            client.read_exact(&mut word).await.unwrap();
            assert!(quick(&client));
        }
        if delayed == 0 {
            eprintln!("this system delays no acknowledgement so soon: the test shows nothing");
        }
    }
}
