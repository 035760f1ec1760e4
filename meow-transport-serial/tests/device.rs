//! A device that goes away in the middle of a frame, or takes nothing. On virtual time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use meow_core::ErrorKind;
use meow_core::transport::{Link, Transport};
use meow_transport::Transports;
use meow_transport_serial::{Serial, framing};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

const HOUR: Duration = Duration::from_secs(3600);

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

/// A device that is gone, and one that takes 50 bytes and no more: each frame is waited for for a minute.
#[tokio::test(start_paused = true)]
async fn a_frame_does_not_wait_for_ever() {
    for stays in [false, true] {
        let (serial, socket) = serial();
        let far = socket.plug(50);
        let mut link = open(&serial, "&lbt=0").await;
        let _far = stays.then_some(far);
        for _ in 0..2 {
            let start = Instant::now();
            let sent = timeout(HOUR, link.tx.send(vec![7; 196].into())).await.expect("it ends");
            assert_eq!(sent.unwrap_err().kind(), ErrorKind::Unreachable);
            assert!(start.elapsed() >= Duration::from_secs(60));
        }
    }
}

/// Passes on what one writes, and what the other does while the gate is open.
fn join(near: DuplexStream, far: DuplexStream, gate: watch::Receiver<bool>) {
    let ((near_rx, near_tx), (far_rx, far_tx)) = (split(near), split(far));
    for (mut from, mut to, gated) in [(near_rx, far_tx, false), (far_rx, near_tx, true)] {
        let mut gate = gate.clone();
        tokio::spawn(async move {
            let mut bytes = [0; 64];
            loop {
                if gated {
                    gate.wait_for(|open| *open).await.unwrap();
                }
                match from.read(&mut bytes).await {
                    Ok(n) if n > 0 => to.write_all(&bytes[..n]).await.unwrap(),
                    _ => return,
                }
            }
        });
    }
}

/// The modem of a station hangs: its links end with an error, the station that dialled is over, and one that listens serves
/// again when the modem does.
#[tokio::test(start_paused = true)]
async fn links_over_a_device_that_takes_nothing_are_given_up() {
    let ((relay, at_relay), (person, at_person)) = (serial(), serial());
    let (open_relay, relay_takes) = watch::channel(true);
    let (open_person, person_takes) = watch::channel(true);
    let (relay_modem, person_modem) = (at_relay.plug(50), at_person.plug(50));
    // Two gates, one in each direction.
    let (left, right) = (duplex(50), duplex(50));
    join(right.0, relay_modem, relay_takes);
    join(left.0, person_modem, person_takes);
    join(left.1, right.1, watch::channel(true).1);
    let endpoint = "serial:///dev/modem?mode=transparent&rate=8000&preamble=0&lbt=0".parse().unwrap();
    let (relay, person) = (Transports::new().with(relay), Transports::new().with(person));
    let mut listener = relay.listen(&endpoint).await.unwrap();
    let packet = Bytes::from(vec![7; 3000]);

    let mut near = person.connect(&endpoint).await.unwrap();
    near.tx.send(packet.clone()).await.unwrap();
    let mut far = timeout(HOUR, listener.accept()).await.unwrap().unwrap().unwrap();
    assert_eq!(far.rx.recv().await.unwrap(), Some(packet.clone()));
    open_relay.send_replace(false);
    far.tx.send(packet.clone()).await.unwrap();
    let lost = timeout(HOUR, far.rx.recv()).await.expect("it ends").unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unreachable);
    assert!(lost.to_string().contains("takes nothing"), "{lost}");
    open_relay.send_replace(true);
    drop((near, far));

    let mut near = person.connect(&endpoint).await.unwrap();
    near.tx.send(packet.clone()).await.unwrap();
    let mut far = timeout(HOUR, listener.accept()).await.expect("it listens").unwrap().unwrap();
    assert_eq!(far.rx.recv().await.unwrap(), Some(packet.clone()));
    open_person.send_replace(false);
    near.tx.send(packet).await.unwrap();
    let lost = timeout(HOUR, near.rx.recv()).await.expect("it ends").unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unreachable);
    // The device is not held any more: another one is plugged in, and opened.
    let _other = at_person.plug(50);
    person.connect(&endpoint).await.unwrap();
    assert!(at_person.0.lock().unwrap().is_empty(), "it was opened anew");
}

/// The same on a terminal of the system whose far end reads nothing.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_terminal_that_takes_nothing_is_given_up() {
    let line = meow_testkit::transport::line::Line::new(2).unwrap();
    line.hold_after(1, 0);
    let mut link = Serial::new().connect(&line.url(1, "").parse().unwrap()).await.unwrap();
    let refused = async {
        loop {
            // The terminal has room for some.
            if let Err(e) = link.tx.send(vec![7; 252].into()).await {
                return e;
            }
        }
    };
    let e = timeout(HOUR, refused).await.expect("it ends");
    assert_eq!(e.kind(), ErrorKind::Unreachable);
    assert!(e.to_string().contains("flow"), "{e}");
}
