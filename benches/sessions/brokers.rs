//! NATS JetStream and mosquitto, spoken to over their own protocols, as far as a publisher that waits for each confirmation
//! needs it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use meow_testkit::mqtt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::CONNECTIONS;
use crate::process::folder;

const PAYLOAD: usize = 1024;

async fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(BufReader::new(socket))
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
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

/// NATS with JetStream, in a process of its own.
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
    /// `None`, said loudly, where it is not installed.
    pub(crate) async fn start() -> Option<Self> {
        let (dir, address) = (folder(), free_address());
        let (config, store) = (dir.path().join("config"), dir.path().join("store"));
        let text = format!("listen: \"{address}\"\njetstream {{ store_dir: \"{}\" }}\n", store.display());
        fs::write(&config, text).unwrap();
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(child) = command.spawn() else {
            println!("nats-server is not installed: left out");
            return None;
        };
        let nats = Self { child, address, _dir: dir };
        let until = Instant::now() + Duration::from_secs(20);
        while connect(address).await.is_err() {
            assert!(Instant::now() < until, "nats-server does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut socket = nats.open("_INBOX.made").await;
        let stream = r#"{"name":"BENCH","subjects":["bench.*"],"storage":"file","retention":"limits"}"#;
        let create = format!("PUB $JS.API.STREAM.CREATE.BENCH _INBOX.made {}\r\n{stream}\r\n", stream.len());
        socket.write_all(create.as_bytes()).await.unwrap();
        let answer = message(&mut socket).await;
        assert!(!answer.contains("\"error\""), "{answer}");
        Some(nats)
    }

    async fn open(&self, inbox: &str) -> BufReader<TcpStream> {
        let mut socket = connect(self.address).await.unwrap();
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
    _broker: mqtt::Mosquitto,
    address: SocketAddr,
    /// Its session is what keeps the messages.
    _keeper: BufReader<TcpStream>,
}

impl Mosquitto {
    pub(crate) async fn start() -> Option<Self> {
        let address = free_address();
        let broker = mqtt::Mosquitto::start(address, |folder| {
            Ok(format!(
                "listener {} {}\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
                 max_queued_messages 0\nmax_queued_bytes 0\n",
                address.port(),
                address.ip(),
                folder.display()
            ))
        });
        let broker = broker.unwrap()?;
        let mut keeper = connect(address).await.unwrap();
        hello(&mut keeper, "keeper", false).await;
        // SUBSCRIBE to bench/# with QoS 1, then leave: what comes is queued.
        keeper.write_all(&[0x82, 12, 0, 1, 0, 7, b'b', b'e', b'n', b'c', b'h', b'/', b'#', 1]).await.unwrap();
        let mut answer = [0; 5];
        keeper.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[0], 0x90);
        keeper.write_all(&[0xe0, 0]).await.unwrap();
        Some(Self { _broker: broker, address, _keeper: keeper })
    }

    pub(crate) async fn publish(&self, count: usize) -> f64 {
        let mut sockets = Vec::new();
        for n in 0..CONNECTIONS {
            let mut socket = connect(self.address).await.unwrap();
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
