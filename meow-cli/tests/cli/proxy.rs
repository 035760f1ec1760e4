//! Paths that die in the middle of something.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

/// A loopback proxy that dies, or holds everything, once so many bytes have passed. Dead: TCP connections are cut where they
/// are and new ones refused, datagrams vanish. Held: what comes waits, datagrams vanish, until it goes on.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    path: Path,
}

#[derive(Clone)]
struct Path {
    /// Bytes that may still pass from clients, and to them.
    left: Arc<[AtomicI64; 2]>,
    dead: watch::Sender<bool>,
    /// The same until everything is held.
    free: Arc<[AtomicI64; 2]>,
    held: watch::Sender<bool>,
}

impl Path {
    fn new() -> Self {
        let unlimited = || Arc::new([i64::MAX, i64::MAX].map(AtomicI64::new));
        let (left, free) = (unlimited(), unlimited());
        Self { left, dead: watch::channel(false).0, free, held: watch::channel(false).0 }
    }

    /// How many of these bytes still pass.
    fn pass(&self, direction: usize, bytes: usize) -> usize {
        count(&self.left[direction], bytes)
    }

    /// How many of these bytes pass before the rest is held.
    fn before_the_hold(&self, direction: usize, bytes: usize) -> usize {
        let through = count(&self.free[direction], bytes);
        if through < bytes {
            self.free[direction].store(i64::MAX, Ordering::SeqCst);
            self.held.send_replace(true);
        }
        through
    }

    fn is_held(&self) -> bool {
        *self.held.borrow()
    }

    async fn until_held(&self, held: bool) {
        // The sender lives as long as this.
        let _ = self.held.subscribe().wait_for(|now| *now == held).await;
    }

    fn die(&self) {
        self.dead.send_replace(true);
    }

    /// Until it is dead.
    async fn run(&self, work: impl Future<Output = ()>) {
        let mut died = self.dead.subscribe();
        tokio::select! {
            () = work => {}
            _ = died.wait_for(|dead| *dead) => {}
        }
    }
}

/// Takes bytes off what is left: how many there were.
fn count(left: &AtomicI64, bytes: usize) -> usize {
    let left = left.fetch_sub(bytes as i64, Ordering::SeqCst);
    bytes.min(left.max(0) as usize)
}

impl Proxy {
    /// Before a TCP port of this machine.
    pub(crate) async fn tcp(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, path) = (listener.local_addr().unwrap(), Path::new());
        tokio::spawn({
            let path = path.clone();
            async move {
                let accepting = async {
                    while let Ok((near, _)) = listener.accept().await {
                        let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                        tokio::spawn(copy(path.clone(), 0, near_in, far_out));
                        tokio::spawn(copy(path.clone(), 1, far_in, near_out));
                    }
                };
                path.run(accepting).await;
            }
        });
        Self { address, path }
    }

    /// Before a UDP port of this machine.
    pub(crate) async fn udp(port: u16) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let (address, path) = (near.local_addr().unwrap(), Path::new());
        tokio::spawn({
            let path = path.clone();
            async move {
                let mut clients = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
                let mut buffer = vec![0; 65_536];
                while let Ok((n, client)) = near.recv_from(&mut buffer).await {
                    if path.pass(0, n) < n {
                        path.die();
                        continue;
                    }
                    if path.is_held() || path.before_the_hold(0, n) < n {
                        continue;
                    }
                    if let Entry::Vacant(place) = clients.entry(client) {
                        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                        far.connect(("127.0.0.1", port)).await.unwrap();
                        tokio::spawn(answer(path.clone(), Arc::clone(&far), Arc::clone(&near), client));
                        place.insert(far);
                    }
                    // What is lost here is lost, as on any path.
                    let _ = clients[&client].send(&buffer[..n]).await;
                }
            }
        });
        Self { address, path }
    }

    /// Dies after so many more bytes in this direction: 0 from clients, 1 to them.
    pub(crate) fn dies_after(&self, direction: usize, bytes: i64) {
        self.path.left[direction].store(bytes, Ordering::SeqCst);
    }

    /// Holds everything once so many more bytes have gone in this direction: 0 from clients, 1 to them.
    pub(crate) fn holds_after(&self, direction: usize, bytes: i64) {
        self.path.free[direction].store(bytes, Ordering::SeqCst);
    }

    /// Until it holds.
    pub(crate) async fn held(&self) {
        self.path.until_held(true).await;
    }

    /// Ends the hold.
    pub(crate) fn goes_on(&self) {
        self.path.held.send_replace(false);
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.path.dead.borrow()
    }
}

async fn copy(path: Path, direction: usize, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let copying = async {
        let mut buffer = [0; 256];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            let through = path.pass(direction, n);
            path.until_held(false).await;
            let first = path.before_the_hold(direction, through);
            if to.write_all(&buffer[..first]).await.is_err() {
                return;
            }
            path.until_held(false).await;
            if to.write_all(&buffer[first..through]).await.is_err() {
                return;
            }
            if through < n {
                path.die();
            }
        }
    };
    path.run(copying).await;
}

async fn answer(path: Path, far: Arc<UdpSocket>, near: Arc<UdpSocket>, client: SocketAddr) {
    let answering = async {
        let mut buffer = vec![0; 65_536];
        while let Ok(n) = far.recv(&mut buffer).await {
            if path.pass(1, n) < n {
                path.die();
            }
            if path.is_held() || path.before_the_hold(1, n) < n {
                continue;
            }
            let _ = near.send_to(&buffer[..n], client).await;
        }
    };
    path.run(answering).await;
}
