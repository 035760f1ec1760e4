//! mosquitto, spoken to by MQTT 3.1.1: a publisher that waits for each confirmation, and a subscriber who was away.

use std::net::SocketAddr;

use meow_testkit::mqtt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::CONNECTIONS;
use crate::brokers::{PAYLOAD, all, connect, free_address, installed, share};

/// Length of a topic, `bench/00`.
const TOPIC: usize = 8;

pub(crate) struct Mosquitto {
    _broker: mqtt::Mosquitto,
    address: SocketAddr,
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
        let broker = installed(broker.unwrap(), "mosquitto")?;
        let mosquitto = Self { _broker: broker, address };
        for n in 0..CONNECTIONS {
            // SUBSCRIBE with QoS 1, then leave: what comes is queued in the session that stays.
            let mut socket = mosquitto.owner(n).await;
            let mut subscribe = vec![0x82, (2 + 2 + TOPIC + 1) as u8, 0, 1, 0, TOPIC as u8];
            subscribe.extend(topic(n).as_bytes());
            subscribe.push(1);
            socket.write_all(&subscribe).await.unwrap();
            let mut answer = [0; 5];
            socket.read_exact(&mut answer).await.unwrap();
            assert_eq!((answer[0], answer[4]), (0x90, 1));
            leave(socket).await;
        }
        Some(mosquitto)
    }

    /// Whose messages the broker keeps.
    async fn owner(&self, n: usize) -> BufReader<TcpStream> {
        let mut socket = connect(self.address).await.unwrap();
        hello(&mut socket, &format!("owner{n}"), false).await;
        socket
    }

    pub(crate) async fn publish(&self, count: usize) -> f64 {
        let mut sockets = Vec::new();
        for n in 0..CONNECTIONS {
            let mut socket = connect(self.address).await.unwrap();
            hello(&mut socket, &format!("bench{n}"), true).await;
            sockets.push(socket);
        }
        all(count, sockets, |n, mut socket| async move {
            let len = 2 + TOPIC + 2 + PAYLOAD;
            let mut publish = vec![0x32, (len % 128) as u8 | 0x80, (len / 128) as u8, 0, TOPIC as u8];
            publish.extend(topic(n).as_bytes());
            publish.extend([0, 1]);
            publish.extend([b'x'; PAYLOAD]);
            for _ in 0..share(count) {
                socket.write_all(&publish).await.unwrap();
                let mut answer = [0; 4];
                socket.read_exact(&mut answer).await.unwrap();
                assert_eq!(answer, [0x40, 2, 0, 1]);
            }
        })
        .await
    }

    /// Has all that was published sent to its owners, who acknowledge each.
    pub(crate) async fn drain(&self, count: usize) -> f64 {
        let sockets = (0..CONNECTIONS).map(|_| connect(self.address));
        let mut connected = Vec::new();
        for socket in sockets {
            connected.push(socket.await.unwrap());
        }
        all(count, connected, |n, mut socket| async move {
            // It begins to send as soon as it has answered.
            hello(&mut socket, &format!("owner{n}"), false).await;
            let mut packet = vec![0; 3 + 2 + TOPIC + 2 + PAYLOAD];
            for _ in 0..share(count) {
                socket.read_exact(&mut packet).await.unwrap();
                assert_eq!((packet[0] & 0xf6, &packet[5..5 + TOPIC]), (0x32, topic(n).as_bytes()));
                socket.write_all(&[0x40, 2, packet[5 + TOPIC], packet[6 + TOPIC]]).await.unwrap();
            }
            leave(socket).await;
        })
        .await
    }
}

fn topic(n: usize) -> String {
    format!("bench/{n:02}")
}

/// DISCONNECT, and until the broker has heard it: the next connection of the same name would push this one out.
async fn leave(mut socket: BufReader<TcpStream>) {
    socket.write_all(&[0xe0, 0]).await.unwrap();
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0, "more than there was");
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
    assert_eq!((answer[0], answer[3]), (0x20, 0), "the broker refuses");
}
