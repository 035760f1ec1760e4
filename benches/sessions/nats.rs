//! NATS JetStream, spoken to over its own protocol, as far as a publisher needs it that waits for each confirmation, and a
//! consumer that fetches page by page.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::brokers::{PAYLOAD, all, connect, free_address, installed, share};
use crate::{CONNECTIONS, PAGE};

/// In a process of its own.
pub(crate) struct Nats {
    child: Child,
    address: SocketAddr,
    _dir: Arc<tempfile::TempDir>,
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nats {
    pub(crate) async fn start() -> Option<Self> {
        let (dir, address) = (crate::process::folder(), free_address());
        let (config, store) = (dir.path().join("config"), dir.path().join("store"));
        let text = format!("listen: \"{address}\"\njetstream {{ store_dir: \"{}\" }}\n", store.display());
        fs::write(&config, text).unwrap();
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = installed(command.spawn().ok(), "nats-server")?;
        let nats = Self { child, address, _dir: dir };
        let until = Instant::now() + Duration::from_secs(20);
        while connect(address).await.is_err() {
            assert!(Instant::now() < until, "nats-server does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut socket = nats.open("_INBOX.made").await;
        let stream = r#"{"name":"BENCH","subjects":["bench.*"],"storage":"file","retention":"limits"}"#;
        manage(&mut socket, "STREAM.CREATE.BENCH", stream).await;
        for n in 0..CONNECTIONS {
            // One acknowledgement says that all before are there too, as with the relay.
            let consumer = format!(
                r#"{{"stream_name":"BENCH","config":{{"durable_name":"c{n}","filter_subject":"bench.{n}","ack_policy":"all","deliver_policy":"all"}}}}"#
            );
            manage(&mut socket, &format!("CONSUMER.DURABLE.CREATE.BENCH.c{n}"), &consumer).await;
        }
        Some(nats)
    }

    async fn open(&self, inbox: &str) -> BufReader<TcpStream> {
        let mut socket = connect(self.address).await.unwrap();
        let hello = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {inbox} 1\r\n");
        socket.write_all(hello.as_bytes()).await.unwrap();
        socket
    }

    async fn sockets(&self) -> Vec<BufReader<TcpStream>> {
        let mut sockets = Vec::new();
        for n in 0..CONNECTIONS {
            sockets.push(self.open(&format!("_INBOX.bench{n}")).await);
        }
        sockets
    }

    pub(crate) async fn publish(&self, count: usize) -> f64 {
        all(count, self.sockets().await, |n, mut socket| async move {
            let mut publish = format!("PUB bench.{n} _INBOX.bench{n} {PAYLOAD}\r\n").into_bytes();
            publish.extend([b'x'; PAYLOAD]);
            publish.extend(b"\r\n");
            for _ in 0..share(count) {
                socket.write_all(&publish).await.unwrap();
                let answer = String::from_utf8(message(&mut socket).await.1).unwrap();
                assert!(answer.contains("\"seq\""), "{answer}");
            }
        })
        .await
    }

    /// Fetches all that was published: each page with the acknowledgement of the one before, the last one confirmed.
    pub(crate) async fn drain(&self, count: usize) -> f64 {
        all(count, self.sockets().await, |n, mut socket| async move {
            let mut left = share(count);
            let mut subject = format!("$JS.API.CONSUMER.MSG.NEXT.BENCH.c{n}");
            let mut next = "";
            while left > 0 {
                let page = left.min(PAGE);
                let ask = format!("{next}{{\"batch\":{page}}}");
                let ask = format!("PUB {subject} _INBOX.bench{n} {}\r\n{ask}\r\n", ask.len());
                socket.write_all(ask.as_bytes()).await.unwrap();
                for _ in 0..page {
                    let (reply, payload) = message(&mut socket).await;
                    assert_eq!(payload.len(), PAYLOAD);
                    subject = reply.expect("where to acknowledge");
                }
                (left, next) = (left - page, "+NXT ");
            }
            let last = format!("PUB {subject} _INBOX.bench{n} 4\r\n+ACK\r\n");
            socket.write_all(last.as_bytes()).await.unwrap();
            assert_eq!(message(&mut socket).await.1, b"");
        })
        .await
    }
}

async fn manage(socket: &mut BufReader<TcpStream>, what: &str, content: &str) {
    let request = format!("PUB $JS.API.{what} _INBOX.made {}\r\n{content}\r\n", content.len());
    socket.write_all(request.as_bytes()).await.unwrap();
    let answer = String::from_utf8(message(socket).await.1).unwrap();
    assert!(!answer.contains("\"error\""), "{answer}");
}

/// The next message: where its answer goes, and its payload; keeps the connection alive.
async fn message(socket: &mut BufReader<TcpStream>) -> (Option<String>, Vec<u8>) {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(socket.read_line(&mut line).await.unwrap() > 0, "the broker hung up");
        if line.starts_with("PING") {
            socket.write_all(b"PONG\r\n").await.unwrap();
        } else if line.starts_with("-ERR") {
            panic!("{line}");
        } else if line.starts_with("MSG") {
            // MSG subject sid [reply] length
            let words: Vec<_> = line.split_whitespace().collect();
            let len: usize = words.last().unwrap().parse().unwrap();
            let reply = (words.len() == 5).then(|| words[3].to_owned());
            let mut payload = vec![0; len + 2];
            socket.read_exact(&mut payload).await.unwrap();
            payload.truncate(len);
            return (reply, payload);
        }
    }
}
