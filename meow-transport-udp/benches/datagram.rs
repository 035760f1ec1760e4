//! What a datagram would save: a request and its answer as QUIC streams and as QUIC datagrams, both with bare quinn over one
//! connection (docs/decisions/0014).
//!
//! `cargo bench -p meow-transport-udp --bench datagram [-- SECONDS]` prints bytes and UDP packets of one request and its
//! answer, both directions together and acknowledgements with them, and its time, one at a time and 64 at once. On both
//! sides a request has a task of its own; datagrams carry a number by which answers find theirs. They come out too well:
//! nothing is sent again, and nothing says whether the far side has room.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{Connection, TransportConfig};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

#[path = "../tests/common/bare.rs"]
mod bare;

const ROUNDS: usize = 5;
/// Requests of a task, one after the other.
const IN_A_ROW: usize = 64;

fn main() {
    let seconds = std::env::args().filter_map(|text| text.parse::<f64>().ok()).next().unwrap_or(0.5);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = connection().await;
        for size in [256, 1024] {
            for at_once in [1, 64] {
                let mut best = [Round::WORST; 2];
                for _ in 0..ROUNDS {
                    for (best, streams) in best.iter_mut().zip([true, false]) {
                        best.keep(round(&connection, size, at_once, seconds, streams).await);
                    }
                }
                let [stream, datagram] = best;
                println!(
                    "{size:>4} bytes, {at_once:>2} at once: stream {:.0} bytes in {:.2} packets, {:.1} us; datagram {:.0} \
                     bytes in {:.2} packets, {:.1} us; ratio of time {:.2}",
                    stream.bytes,
                    stream.packets,
                    stream.micros,
                    datagram.bytes,
                    datagram.packets,
                    datagram.micros,
                    stream.micros / datagram.micros,
                );
            }
        }
    });
}

/// Of one request and its answer.
#[derive(Clone, Copy)]
struct Round {
    micros: f64,
    bytes: f64,
    packets: f64,
}

impl Round {
    const WORST: Self = Self { micros: f64::INFINITY, bytes: 0.0, packets: 0.0 };

    /// The round that other work disturbed least.
    fn keep(&mut self, other: Self) {
        if other.micros < self.micros {
            *self = other;
        }
    }
}

async fn connection() -> Connection {
    let transport = || {
        let mut transport: TransportConfig = bare::transport();
        transport.datagram_receive_buffer_size(Some(1 << 20)).datagram_send_buffer_size(1 << 20);
        Arc::new(transport)
    };
    let endpoint = bare::server_with(transport());
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let echoed = connection.clone();
        tokio::spawn(async move {
            while let Ok(datagram) = echoed.read_datagram().await {
                let echoed = echoed.clone();
                tokio::spawn(async move { echoed.send_datagram(datagram).unwrap() });
            }
        });
        while let Ok((mut tx, mut rx)) = connection.accept_bi().await {
            tokio::spawn(async move {
                while let Some(chunk) = rx.read_chunk(usize::MAX, true).await.unwrap() {
                    tx.write_chunk(chunk.bytes).await.unwrap();
                }
                tx.finish().unwrap();
            });
        }
    });
    let mut config = bare::client();
    config.transport_config(transport());
    let connection = bare::connect(&config, address).await;
    // Long enough for the path's MTU to be found.
    tokio::time::sleep(Duration::from_secs(1)).await;
    connection
}

async fn round(connection: &Connection, size: usize, at_once: usize, seconds: f64, streams: bool) -> Round {
    let payload = Bytes::from(vec![7; size]);
    let (before, start, mut requests) = (connection.stats(), Instant::now(), 0u32);
    while start.elapsed().as_secs_f64() < seconds {
        let mut asking = JoinSet::new();
        if streams {
            for _ in 0..at_once {
                let (connection, payload) = (connection.clone(), payload.clone());
                asking.spawn(async move {
                    for _ in 0..IN_A_ROW {
                        let (mut tx, mut rx) = connection.open_bi().await.unwrap();
                        tx.write_chunk(payload.clone()).await.unwrap();
                        tx.finish().unwrap();
                        assert_eq!(rx.read_to_end(payload.len()).await.unwrap().len(), payload.len());
                    }
                });
            }
        } else {
            let mut waiting = Vec::new();
            for number in 0..at_once {
                let (answers, mut answer) = mpsc::channel(1);
                waiting.push(answers);
                let (connection, mut payload) = (connection.clone(), payload.to_vec());
                payload[..8].copy_from_slice(&number.to_be_bytes());
                let payload = Bytes::from(payload);
                asking.spawn(async move {
                    for _ in 0..IN_A_ROW {
                        connection.send_datagram(payload.clone()).unwrap();
                        assert_eq!(answer.recv().await, Some(payload.clone()));
                    }
                });
            }
            let answered = connection.clone();
            asking.spawn(async move {
                for _ in 0..waiting.len() * IN_A_ROW {
                    let datagram = answered.read_datagram().await.unwrap();
                    let number = usize::from_be_bytes(*datagram.first_chunk().unwrap());
                    waiting[number].send(datagram).await.unwrap();
                }
            });
        }
        asking.join_all().await;
        requests += u32::try_from(IN_A_ROW * at_once).unwrap();
    }
    let (took, after, requests) = (start.elapsed(), connection.stats(), f64::from(requests));
    let both = |of: fn(&quinn::ConnectionStats) -> u64| (of(&after) - of(&before)) as f64 / requests;
    Round {
        micros: took.as_secs_f64() * 1e6 / requests,
        bytes: both(|stats| stats.udp_tx.bytes + stats.udp_rx.bytes),
        packets: both(|stats| stats.udp_tx.datagrams + stats.udp_rx.datagrams),
    }
}
