//! A path for UDP that loses datagrams.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use meow_core::Result;
use meow_core::transport::{BoxFuture, Endpoint};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::{Dice, Medium, address, system};

/// Longest datagram.
const LONGEST: usize = 65_535;

/// Loses this share of the datagrams, in each direction, by a seed.
#[derive(Debug)]
pub struct LossyUdp {
    thousandths: u16,
    seed: u64,
    lost: Arc<AtomicU64>,
    tasks: Mutex<JoinSet<()>>,
}

impl LossyUdp {
    /// Loses so many of a thousand datagrams.
    pub fn new(thousandths: u16, seed: u64) -> Self {
        Self { thousandths, seed, lost: Arc::default(), tasks: Mutex::default() }
    }
}

impl Medium for LossyUdp {
    fn before<'a>(&'a self, local: &'a Endpoint) -> BoxFuture<'a, Result<Endpoint>> {
        Box::pin(async move {
            let target = address(local)?;
            let here = if target.is_ipv4() {
                SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
            } else {
                SocketAddr::from((Ipv6Addr::LOCALHOST, 0))
            };
            let socket = Arc::new(UdpSocket::bind(here).await.map_err(system)?);
            let port = socket.local_addr().map_err(system)?.port();
            let path = Path {
                socket,
                target,
                here,
                thousandths: self.thousandths,
                lost: Arc::clone(&self.lost),
                dice: Dice(self.seed),
            };
            self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(path.run());
            Ok(local.clone().with_port(port))
        })
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn mendable(&self) -> bool {
        true
    }
}

struct Path {
    /// Where clients send to.
    socket: Arc<UdpSocket>,
    target: SocketAddr,
    /// Any port of the loopback address.
    here: SocketAddr,
    thousandths: u16,
    lost: Arc<AtomicU64>,
    dice: Dice,
}

impl Path {
    /// Passes datagrams on until a socket fails; what waits for them then notices.
    async fn run(mut self) {
        let (mut outs, mut backs) = (HashMap::<SocketAddr, Arc<UdpSocket>>::new(), JoinSet::new());
        let mut buffer = vec![0; LONGEST];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer).await {
            let out = match outs.get(&from) {
                Some(out) => Arc::clone(out),
                None => {
                    let Ok(out) = UdpSocket::bind(self.here).await else { return };
                    if out.connect(self.target).await.is_err() {
                        return;
                    }
                    let out = Arc::new(out);
                    outs.insert(from, Arc::clone(&out));
                    let dice = Dice(self.dice.0.rotate_left(17));
                    let (socket, lost) = (Arc::clone(&self.socket), Arc::clone(&self.lost));
                    backs.spawn(back(Arc::clone(&out), socket, from, self.thousandths, lost, dice));
                    out
                }
            };
            if self.dice.hits(self.thousandths) {
                self.lost.fetch_add(1, Ordering::Relaxed);
            } else if let Some(datagram) = buffer.get(..length) {
                // A datagram that cannot be sent is one more that is lost.
                if out.send(datagram).await.is_err() {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

async fn back(
    out: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    thousandths: u16,
    lost: Arc<AtomicU64>,
    mut dice: Dice,
) {
    let mut buffer = vec![0; LONGEST];
    loop {
        let passed = match out.recv(&mut buffer).await {
            Ok(_) if dice.hits(thousandths) => false,
            Ok(length) => match buffer.get(..length) {
                Some(datagram) => socket.send_to(datagram, to).await.is_ok(),
                None => false,
            },
            // Nobody listens there now; somebody may later.
            Err(_) => false,
        };
        if !passed {
            lost.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }
}
