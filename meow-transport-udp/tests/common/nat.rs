//! A translator of addresses before a server, whose side towards the server can change, and which can fall silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::net::UdpSocket;

/// Passes datagrams on between any number of clients and one server. Each `rebind` gives it another socket towards the
/// server from then on, so the server sees clients come from elsewhere.
#[allow(dead_code, reason = "each user needs some of it")]
pub(crate) struct Nat {
    pub(crate) local: SocketAddr,
    generation: Arc<AtomicUsize>,
    pub(crate) passed: Arc<AtomicUsize>,
    made: Arc<AtomicUsize>,
    cut: Arc<AtomicBool>,
}

#[allow(dead_code, reason = "each user needs some of it")]
impl Nat {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let nat = Self {
            local: inside.local_addr().unwrap(),
            generation: Arc::default(),
            passed: Arc::default(),
            made: Arc::default(),
            cut: Arc::default(),
        };
        let (current, passed) = (Arc::clone(&nat.generation), Arc::clone(&nat.passed));
        let (made, cut) = (Arc::clone(&nat.made), Arc::clone(&nat.cut));
        tokio::spawn(async move {
            let mut outside: Option<(usize, SocketAddr, Arc<UdpSocket>)> = None;
            let mut buffer = vec![0; 65_536];
            while let Ok((length, from)) = inside.recv_from(&mut buffer).await {
                passed.fetch_add(1, Ordering::SeqCst);
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let now = current.load(Ordering::SeqCst);
                if outside.as_ref().is_none_or(|(made, client, _)| *made != now || *client != from) {
                    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                    made.fetch_add(1, Ordering::SeqCst);
                    let back = back(Arc::clone(&socket), Arc::clone(&inside), from, Arc::clone(&cut));
                    tokio::spawn(back);
                    outside = Some((now, from, socket));
                }
                let (_, _, socket) = outside.as_ref().unwrap();
                // What cannot be sent on is lost, as on any way.
                let _ = socket.send_to(&buffer[..length], server).await;
            }
        });
        nat
    }

    pub(crate) fn rebind(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// From how many places the server saw somebody come.
    pub(crate) fn sources(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Passes nothing on any more.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

async fn back(outside: Arc<UdpSocket>, inside: Arc<UdpSocket>, client: SocketAddr, cut: Arc<AtomicBool>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length) = outside.recv(&mut buffer).await {
        if !cut.load(Ordering::SeqCst) {
            // What cannot be sent on is lost, as on any way.
            let _ = inside.send_to(&buffer[..length], client).await;
        }
    }
}
