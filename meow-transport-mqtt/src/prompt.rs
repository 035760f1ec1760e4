//! A connection that acknowledges a broker's confirmations at once where that one waits for it. A broker with Nagle's algorithm on
//! (RFC 896; mosquitto, unless told otherwise) holds back what follows a short packet until that is acknowledged, and a
//! system delays acknowledgements by 40 ms: with both, each answer took so much longer. Other brokers wait for nothing, and
//! are spared the packet. What is longer than a confirmation gets one, which takes the acknowledgement along.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A broker's packets without a record are shorter, within TLS or not, even many together.
const SHORT: usize = 128;
/// When what was held back until a delayed acknowledgement comes, after what was acknowledged so.
const DELAYED: std::ops::Range<Duration> = Duration::from_millis(30)..Duration::from_millis(250);

pub(crate) struct Prompt {
    socket: TcpStream,
    /// When something short came, if nothing was sent since.
    short: Option<Instant>,
    /// Something came so long after that as if it had waited for the acknowledgement.
    waits: bool,
}

impl Prompt {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, short: None, waits: false }
    }

    /// So many bytes were read: has them acknowledged where the broker waits for that, and looks whether it does.
    fn came(&mut self, bytes: usize) {
        let before = self.short.take();
        if bytes >= SHORT && !self.waits {
            self.waits = before.is_some_and(|at| DELAYED.contains(&at.elapsed()));
        } else if bytes < SHORT && self.waits {
            // A socket that is closed cannot, and says so at the next read.
            let _ = self.acknowledge();
        } else if bytes < SHORT {
            self.short = Some(Instant::now());
        }
    }

    /// Holds until the next packet with data is sent. Other systems do without.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn acknowledge(&self) -> io::Result<()> {
        socket2::SockRef::from(&self.socket).set_tcp_quickack(true)
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
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        if read.is_ready() && bytes > 0 {
            self.came(bytes);
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.short = None;
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.short = None;
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[cfg(any(target_os = "linux", target_os = "android"))]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::sleep;

    use super::*;

    async fn pair() -> (Prompt, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Prompt::new(client), listener.accept().await.unwrap().0)
    }

    async fn say(server: &mut TcpStream, client: &mut Prompt, bytes: usize) {
        server.write_all(&vec![7; bytes]).await.unwrap();
        client.read_exact(&mut vec![0; bytes]).await.unwrap();
    }

    /// Two that answer each other soon take acknowledgements along; the system tells whether it would delay them.
    #[tokio::test(start_paused = true)]
    async fn a_broker_that_waits_has_its_confirmations_acknowledged_at_once() {
        let (mut client, mut server) = pair().await;
        let quick = |client: &Prompt| socket2::SockRef::from(&client.socket).tcp_quickack().unwrap();
        let mut delayed = 0;
        for round in 0..20 {
            client.write_all(b"ping").await.unwrap();
            server.read_exact(&mut [0; 4]).await.unwrap();
            say(&mut server, &mut client, 4).await;
            delayed += usize::from(!quick(&client));
            assert!(round == 0 || quick(&client));
            if round == 0 {
                sleep(DELAYED.start + Duration::from_millis(10)).await;
            }
            say(&mut server, &mut client, 500).await;
        }
        if delayed == 0 {
            eprintln!("this system delays no acknowledgement so soon: the test shows little");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn others_are_spared_that() {
        let (mut client, mut server) = pair().await;
        // At once; so late that it waited for something else; after something was sent, or something short.
        say(&mut server, &mut client, 4).await;
        say(&mut server, &mut client, 500).await;
        say(&mut server, &mut client, 4).await;
        sleep(DELAYED.end).await;
        say(&mut server, &mut client, 500).await;
        say(&mut server, &mut client, 4).await;
        sleep(DELAYED.start).await;
        client.write_all(b"ping").await.unwrap();
        say(&mut server, &mut client, 500).await;
        assert!(!client.waits);
        say(&mut server, &mut client, 4).await;
        sleep(DELAYED.start).await;
        say(&mut server, &mut client, 500).await;
        assert!(client.waits);
    }
}
