//! NATS JetStream and mosquitto, spoken to over their own protocols, as far as a publisher that waits for each confirmation
//! needs it.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::CONNECTIONS;
use crate::process::folder;

const PAYLOAD: usize = 1024;

/// A broker in a process of its own.
struct Broker {
    child: Child,
    port: u16,
    _dir: Arc<tempfile::TempDir>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Broker {
    /// `None`, said loudly, where the program is not installed.
    async fn start(program: &str, config: impl Fn(u16, &str) -> String) -> Option<Self> {
        let (dir, port) = (folder(), free_port());
        let path = dir.path().join("config");
        fs::write(&path, config(port, dir.path().to_str().unwrap())).unwrap();
        let started =
            Command::new(program).arg("-c").arg(&path).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(child) = started else {
            println!("{program} is not installed: left out");
            return None;
        };
        let broker = Self { child, port, _dir: dir };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < until, "{program} does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(broker)
    }

    async fn connect(&self) -> BufReader<TcpStream> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        BufReader::new(socket)
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs one publisher for each connection; gives confirmations a second.
async fn all<F: Future<Output = ()> + Send + 'static>(count: usize, one: impl Fn(usize, usize) -> F) -> f64 {
    let each = count.div_ceil(CONNECTIONS);
    let began = Instant::now();
    let tasks: Vec<_> = (0..CONNECTIONS).map(|n| tokio::spawn(one(n, each))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    (each * CONNECTIONS) as f64 / began.elapsed().as_secs_f64()
}

pub(crate) struct Nats(Broker);

impl Nats {
    pub(crate) async fn start() -> Option<Self> {
        let config = |port, dir: &str| {
            format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{dir}/store\" }}\n")
        };
        let nats = Self(Broker::start("nats-server", config).await?);
        let mut socket = nats.open("_INBOX.made").await;
        let stream = r#"{"name":"BENCH","subjects":["bench.*"],"storage":"file","retention":"limits"}"#;
        let create = format!("PUB $JS.API.STREAM.CREATE.BENCH _INBOX.made {}\r\n{stream}\r\n", stream.len());
        socket.write_all(create.as_bytes()).await.unwrap();
        let answer = message(&mut socket).await;
        assert!(!answer.contains("\"error\""), "{answer}");
        Some(nats)
    }

    async fn open(&self, inbox: &str) -> BufReader<TcpStream> {
        let mut socket = self.0.connect().await;
        let hello = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {inbox} 1\r\n");
        socket.write_all(hello.as_bytes()).await.unwrap();
        socket
    }

    pub(crate) async fn publish(&self, count: usize) -> f64 {
        let mut sockets = Vec::new();
        for n in 0..CONNECTIONS {
            sockets.push(std::sync::Mutex::new(Some(self.open(&format!("_INBOX.bench{n}")).await)));
        }
        all(count, |n, each| {
            let mut socket = sockets[n].lock().unwrap().take().unwrap();
            async move {
                let mut publish = format!("PUB bench.{n} _INBOX.bench{n} {PAYLOAD}\r\n").into_bytes();
                publish.extend([b'x'; PAYLOAD]);
                publish.extend(b"\r\n");
                for _ in 0..each {
                    socket.write_all(&publish).await.unwrap();
                    let answer = message(&mut socket).await;
                    assert!(answer.contains("\"seq\""), "{answer}");
                }
            }
        })
        .await
    }
}

/// The payload of the next message; keeps the connection alive.
async fn message(socket: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(socket.read_line(&mut line).await.unwrap() > 0, "the broker hung up");
        if line.starts_with("PING") {
            socket.write_all(b"PONG\r\n").await.unwrap();
        } else if line.starts_with("-ERR") {
            panic!("{line}");
        } else if line.starts_with("MSG") {
            let len: usize = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
            let mut payload = vec![0; len + 2];
            socket.read_exact(&mut payload).await.unwrap();
            return String::from_utf8_lossy(&payload).into_owned();
        }
    }
}

pub(crate) struct Mosquitto {
    broker: Broker,
    /// Its session is what keeps the messages.
    _keeper: BufReader<TcpStream>,
}

impl Mosquitto {
    pub(crate) async fn start() -> Option<Self> {
        let config = |port, dir: &str| {
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {dir}/\n\
                 max_queued_messages 0\nmax_queued_bytes 0\n"
            )
        };
        // It drops root for a user who could not write to the folder.
        let config = move |port, dir: &str| config(port, dir) + "user root\n";
        let broker = Broker::start("mosquitto", config).await?;
        let mut keeper = broker.connect().await;
        hello(&mut keeper, "keeper", false).await;
        // SUBSCRIBE to bench/# with QoS 1, then leave: what comes is queued.
        keeper.write_all(&[0x82, 12, 0, 1, 0, 7, b'b', b'e', b'n', b'c', b'h', b'/', b'#', 1]).await.unwrap();
        let mut answer = [0; 5];
        keeper.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[0], 0x90);
        keeper.write_all(&[0xe0, 0]).await.unwrap();
        Some(Self { broker, _keeper: keeper })
    }

    pub(crate) async fn publish(&self, count: usize) -> f64 {
        let mut sockets = Vec::new();
        for n in 0..CONNECTIONS {
            let mut socket = self.broker.connect().await;
            hello(&mut socket, &format!("bench{n}"), true).await;
            sockets.push(std::sync::Mutex::new(Some(socket)));
        }
        all(count, |n, each| {
            let mut socket = sockets[n].lock().unwrap().take().unwrap();
            async move {
                let len = 2 + 7 + 2 + PAYLOAD;
                let mut publish = vec![0x32, (len % 128) as u8 | 0x80, (len / 128) as u8, 0, 7];
                publish.extend(b"bench/t");
                publish.extend([0, 1]);
                publish.extend([b'x'; PAYLOAD]);
                for _ in 0..each {
                    socket.write_all(&publish).await.unwrap();
                    let mut answer = [0; 4];
                    socket.read_exact(&mut answer).await.unwrap();
                    assert_eq!(answer, [0x40, 2, 0, 1]);
                }
            }
        })
        .await
    }
}

/// CONNECT of MQTT 3.1.1, and its answer.
async fn hello(socket: &mut BufReader<TcpStream>, client: &str, clean: bool) {
    let mut packet = vec![0x10, (12 + client.len()) as u8, 0, 4];
    packet.extend(b"MQTT");
    packet.extend([4, if clean { 2 } else { 0 }, 0, 0, 0, client.len() as u8]);
    packet.extend(client.as_bytes());
    socket.write_all(&packet).await.unwrap();
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[3], 0, "the broker refuses");
}
