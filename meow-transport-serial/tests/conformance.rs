//! serial over pseudo-terminals, in all modes, against the public suite; and what only a line has.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meow_core::ErrorKind;
use meow_core::transport::{Endpoint, Transport};
use meow_testkit::transport::air::{Air, Channel, Counts, Modem};
use meow_testkit::transport::conformance::{Subject, run_all};
use meow_testkit::transport::line::Line;
use meow_testkit::transport::medium::{LossyModem, LossyStation};
use meow_transport::{Segmented, Transports};
use meow_transport_serial::Serial;

fn at(line: &Line, station: usize, options: &str) -> Endpoint {
    line.url(station, options).parse().unwrap()
}

async fn conforms(options: &str) {
    let line = Arc::new(Line::new(3).unwrap());
    let (listen, dial) = (at(&line, 0, options), at(&line, 1, options));
    let mut lossy = LossyStation::new(Arc::clone(&line), 2, 100, options);
    if options.contains("kiss") {
        // Between a TNC and its host there is no checksum: what is lost is lost on the air, as frames.
        lossy = lossy.frames(0xc0);
    }
    let subject = Subject::new(Segmented::new(Arc::new(Serial::new())), listen.clone());
    let bad = ["baud=7", "mtu=9", "mode=avian", "flow=xon", "duty=2", "rate=0", "region=EU868&region2=1"]
        .map(|bad| at(&line, 0, &format!("?{bad}")));
    // Another station is dialled as it is.
    let dial = move |local: &Endpoint| if *local == listen { dial.clone() } else { local.clone() };
    run_all(&subject.dial_by(dial).refusing(bad).through(lossy)).await.unwrap();
}

/// The suite on a radio channel where stations destroy each other's frames if they do not listen and back off: four that dial
/// in turn, one that listens, one with a bad modem. On virtual time: airtime is not waited for.
fn conforms_on_the_air(options: &str, channel: Channel, modem: Modem) -> Counts {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let air = Air::new(channel);
        let endpoint = |station: &str| -> Endpoint {
            let url = format!("serial:///dev/{station}{options}&rate=200000&preamble=5&lbt=10");
            url.parse().unwrap()
        };
        let modems = air.clone();
        let serial = Serial::over(move |settings| {
            let loss = if settings.path() == "/dev/lossy" { 100 } else { 0 };
            Ok(Box::new(modems.plug(modem.losing(loss))))
        });
        let listen = endpoint("listens");
        let next = AtomicUsize::new(0);
        let (local, near) = (listen.clone(), ["a", "b", "c", "d"].map(endpoint));
        let dial = move |at: &Endpoint| match *at == local {
            true => near[next.fetch_add(1, Ordering::Relaxed) % near.len()].clone(),
            false => at.clone(),
        };
        let lossy = LossyModem::new(air.clone(), endpoint("lossy"));
        let subject = Subject::new(Segmented::new(Arc::new(serial)), listen).dial_by(dial).through(lossy);
        let subject = subject.within(Duration::from_secs(3600));
        run_all(&subject).await.unwrap();
        air.counts()
    })
}

/// Fast, as such channels go: 200 links at once take their time.
fn channel(seed: u64) -> Channel {
    let mut channel = Channel::of(200_000, seed);
    channel.preamble = Duration::from_millis(5);
    channel
}

#[test]
fn kiss_conforms_where_stations_listen_before_they_talk() {
    let counts = conforms_on_the_air("?mode=kiss", channel(1), Modem::kiss());
    // Whole frames are heard when they are over, so who begins in the meantime collides, and backs off.
    assert!(counts.collided > 0, "{counts:?}");
}

#[test]
fn transparent_conforms_where_stations_listen_before_they_talk() {
    for passes_bytes in [false, true] {
        let mut channel = channel(2);
        channel.passes_bytes = passes_bytes;
        let counts = conforms_on_the_air("?mode=transparent", channel, Modem::default());
        assert!(counts.collided > 0, "{counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cable_conforms() {
    conforms("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kiss_conforms() {
    conforms("?mode=kiss&rate=5000000&preamble=0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transparent_conforms() {
    conforms("?mode=transparent&rate=5000000&preamble=0&lbt=0").await;
}

#[tokio::test]
async fn options_are_checked_and_one_program_has_the_device() {
    let line = Line::new(1).unwrap();
    for bad in [
        "?rate=1760",                                      // a cable has none
        "?mode=kiss",                                      // airtime is not known
        "?mode=kiss&rate=300&region=US915",                // a frame takes longer than 400 ms
        "?mode=transparent&rate=300&duty=0.0001&mtu=4096", // a frame that could never be sent
    ] {
        let e = Serial::new().estimate(&at(&line, 0, bad)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Usage, "{bad}");
    }
    let profile =
        Serial::new().estimate(&at(&line, 0, "?mode=kiss&rate=1760&region=EU868&duty=0.5")).unwrap();
    assert_eq!((profile.airtime_ppm, profile.max_frame, profile.bit_rate), (Some(10_000), 252, 1760));
    let cable = at(&line, 0, "");
    let first = Serial::new().connect(&cable).await.unwrap();
    let e = Serial::new().connect(&cable).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyUsed);
    drop(first);
    Serial::new().connect(&cable).await.unwrap();
    let e = Serial::new().connect(&"serial:///dev/no-such-tty".parse().unwrap()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unreachable);
    assert!(!format!("{e} {e:?}").contains("no-such-tty"));
}

/// Several stations share a line, with noise on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a42_three_stations_share_a_noisy_line() {
    let line = Line::new(4).unwrap();
    let relay = Transports::new().with(Serial::new());
    let mut listener = relay.listen(&at(&line, 0, "")).await.unwrap();
    tokio::spawn(async move {
        while let Ok(Some(mut link)) = listener.accept().await {
            tokio::spawn(async move {
                let packet = link.rx.recv().await.unwrap().unwrap();
                link.tx.send(packet).await.unwrap();
                link.tx.finish().await.unwrap();
                let _ = link.rx.recv().await;
            });
        }
    });
    let mut people = tokio::task::JoinSet::new();
    for station in 1..4 {
        let endpoint = at(&line, station, "");
        people.spawn(async move {
            let transports = Transports::new().with(Serial::new());
            for n in 0..5usize {
                let mut link = transports.connect(&endpoint).await.unwrap();
                let packet = bytes::Bytes::from(vec![(station * 10 + n) as u8; 1000 + 1000 * n]);
                link.tx.send(packet.clone()).await.unwrap();
                link.tx.finish().await.unwrap();
                assert_eq!(link.rx.recv().await.unwrap(), Some(packet));
            }
        });
    }
    let patience = tokio::time::Instant::now() + Duration::from_secs(120);
    loop {
        tokio::select! {
            done = people.join_next() => match done {
                Some(done) => done.unwrap(),
                None => return,
            },
            () = tokio::time::sleep(Duration::from_millis(50)) => line.noise(&[0x55, 0, 1, 2, 0xc0, 3]),
            () = tokio::time::sleep_until(patience) => panic!("not all came through"),
        }
    }
}

/// The cable is pulled in mid-packet, and plugged in again: nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pulled_cable_loses_nothing() {
    let mut line = Line::paced(2, Some(115_200)).unwrap();
    let relay = Transports::new().with(Serial::new());
    let mut listener = relay.listen(&at(&line, 0, "")).await.unwrap();
    let transports = Transports::new().with(Serial::new());
    let mut near = transports.connect(&at(&line, 1, "")).await.unwrap();
    let packet = bytes::Bytes::from((0..30_000u32).map(|n| n as u8).collect::<Vec<_>>());
    near.tx.send(packet.clone()).await.unwrap();
    near.tx.finish().await.unwrap();
    for station in [1, 0] {
        tokio::time::sleep(Duration::from_millis(500)).await;
        line.unplug(station);
        tokio::time::sleep(Duration::from_millis(300)).await;
        line.plug(station).unwrap();
    }
    let mut far = listener.accept().await.unwrap().unwrap();
    assert_eq!(far.rx.recv().await.unwrap(), Some(packet.clone()));
    far.tx.send(packet.clone()).await.unwrap();
    far.tx.finish().await.unwrap();
    assert_eq!(near.rx.recv().await.unwrap(), Some(packet));
}
