//! The load's connections, as bare as those to the brokers, so that all loads cost about as little: a socket that speaks HTTP,
//! and quinn. What the library does for a client is not measured here.

use std::net::SocketAddr;
use std::sync::Arc;

use meow::core::transport::Endpoint;
use quinn::{AckFrequencyConfig, Connection, VarInt};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::bare;

/// Longest answer.
const LONGEST: usize = 64 << 10;

/// A connection with one request under way at a time.
pub(crate) enum Line {
    Http { socket: BufReader<TcpStream>, host: String },
    Quic(Connection),
}

/// Where QUIC is dialled from: one socket for all connections.
pub(crate) struct Dialler(quinn::Endpoint);

impl Dialler {
    pub(crate) fn new() -> Self {
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        // As the library asks its servers.
        let mut acknowledgements = AckFrequencyConfig::default();
        acknowledgements.ack_eliciting_threshold(VarInt::from_u32(8));
        let mut transport = bare::transport();
        transport.ack_frequency_config(Some(acknowledgements));
        let mut config = bare::client();
        config.transport_config(Arc::new(transport));
        endpoint.set_default_client_config(config);
        Self(endpoint)
    }

    pub(crate) async fn open(&self, url: &Endpoint) -> Line {
        let address: SocketAddr = url.authority().parse().unwrap();
        match url.scheme() {
            "udp" => Line::Quic(self.0.connect(address, "meow").unwrap().await.unwrap()),
            _ => {
                let socket = TcpStream::connect(address).await.unwrap();
                socket.set_nodelay(true).unwrap();
                Line::Http { socket: BufReader::new(socket), host: url.authority() }
            }
        }
    }
}

impl Line {
    /// One frame each way (docs/spec, transport-http.md and transport-udp.md).
    pub(crate) async fn exchange(&mut self, packet: &[u8]) -> Vec<u8> {
        let length = u32::try_from(packet.len()).unwrap().to_be_bytes();
        let mut answer = match self {
            Self::Quic(connection) => {
                let (mut tx, mut rx) = connection.open_bi().await.unwrap();
                tx.write_all(&[&length, packet].concat()).await.unwrap();
                tx.finish().unwrap();
                rx.read_to_end(LONGEST).await.unwrap()
            }
            Self::Http { socket, host } => {
                let head = format!(
                    "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/octet-stream\r\n\
                     content-length: {}\r\n\r\n",
                    length.len() + packet.len()
                );
                socket.write_all(&[head.as_bytes(), &length, packet].concat()).await.unwrap();
                body(socket).await
            }
        };
        let frame = answer.split_off(length.len());
        assert_eq!(answer, u32::try_from(frame.len()).unwrap().to_be_bytes());
        frame
    }
}

async fn body(socket: &mut BufReader<TcpStream>) -> Vec<u8> {
    let (mut line, mut length) = (String::new(), None);
    socket.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    while line != "\r\n" {
        line.clear();
        assert!(socket.read_line(&mut line).await.unwrap() > 0, "the relay hung up");
        length = line.strip_prefix("content-length: ").map(|n| n.trim().parse().unwrap()).or(length);
    }
    let mut body = vec![0; length.filter(|length| *length <= LONGEST).unwrap()];
    socket.read_exact(&mut body).await.unwrap();
    body
}
