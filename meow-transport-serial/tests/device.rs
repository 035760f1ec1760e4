//! A device that goes away in the middle of a frame, or takes nothing. On virtual time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meow_core::transport::{Link, Transport};
use meow_transport_serial::{Serial, framing};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::Instant;

/// A device of streams that are plugged in one after the other; each takes so many bytes until somebody reads them.
#[derive(Clone)]
struct Socket(Arc<Mutex<Vec<DuplexStream>>>);

impl Socket {
    fn plug(&self, takes: usize) -> DuplexStream {
        let (near, far) = duplex(takes);
        self.0.lock().unwrap().push(near);
        far
    }
}

fn serial() -> (Serial, Socket) {
    let socket = Socket(Arc::default());
    let plugged = socket.clone();
    let serial = Serial::over(move |_| {
        let stream = plugged.0.lock().unwrap().pop().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(stream))
    });
    (serial, socket)
}

async fn open(serial: &Serial, options: &str) -> Link {
    let url = format!("serial:///dev/modem?mode=transparent&rate=8000&preamble=0{options}");
    serial.connect(&url.parse().unwrap()).await.unwrap()
}

/// Sends a frame that takes 200 ms on the air to a device that is pulled in the middle of it, and plugged in again at once.
/// `before` is done to the new one. What arrives there, and how long after it was there.
async fn broken_off(options: &str, before: impl AsyncFnOnce(&mut DuplexStream)) -> (Vec<u8>, Duration) {
    let (serial, socket) = serial();
    let mut first = socket.plug(50);
    let mut link = open(&serial, options).await;
    let sending = tokio::spawn(async move { link.tx.send(vec![7; 196].into()).await.map(|()| link.tx) });
    // The reader opens the device again.
    tokio::spawn(async move { link.rx.recv().await });
    let mut begun = [0; 50];
    first.read_exact(&mut begun).await.unwrap();
    let mut again = socket.plug(1000);
    drop(first);
    while !socket.0.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let there = Instant::now();
    before(&mut again).await;
    let mut line = vec![again.read_u8().await.unwrap()];
    let waited = there.elapsed();
    // Its end: then all of it has been written.
    sending.await.unwrap().unwrap();
    line.resize(1000, 0);
    let read = again.read(&mut line[1..]).await.unwrap();
    line.truncate(1 + read);
    (line, waited)
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_was_broken_off_begins_after_a_delimiter() {
    let (line, _) = broken_off("&lbt=0", async |_| {}).await;
    assert_eq!(line, [vec![0], framing::encode(&[7; 196])].concat());
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_was_broken_off_listens_before_it_goes_again() {
    let (_, waited) = broken_off("&lbt=400", async |far| far.write_all(b"others").await.unwrap()).await;
    assert!(waited >= Duration::from_millis(400), "{waited:?}");
}

/// Attack 42: both parts of it are on the air. The budget is 360 ms an hour.
#[tokio::test(start_paused = true)]
async fn a42_a_frame_that_was_broken_off_counts_twice() {
    let (_, waited) = broken_off("&lbt=0&mtu=196&duty=0.0001", async |_| {}).await;
    assert!(waited > Duration::from_secs(3500), "{waited:?}");
}
