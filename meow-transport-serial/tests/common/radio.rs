//! Stations of a simulated radio channel, each a [`Serial`] in transparent mode under its own registry.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "tests and a bench")]

use std::time::Duration;

use bytes::Bytes;
use meow_core::crypto::{Random as _, SeededRandom};
use meow_core::transport::{Endpoint, Link};
use meow_testkit::transport::air::{Air, Channel, Counts};
use meow_transport::Transports;
use meow_transport_serial::Serial;
use tokio::time::Instant;

/// A station, and the endpoint that it dials and listens at.
pub(crate) struct Station {
    pub(crate) transports: Transports,
    pub(crate) endpoint: Endpoint,
}

/// A station with one modem. `options` come after mode and rate.
pub(crate) fn station(air: &Air, options: &str) -> Station {
    let air = air.clone();
    let transports = Transports::new().with(Serial::over(move |_| Ok(Box::new(air.modem()))));
    let url = format!("serial:///dev/radio?mode=transparent&rate=1760{options}");
    Station { transports, endpoint: url.parse().unwrap() }
}

/// Runs on virtual time: nothing waits for the airtime.
pub(crate) fn on_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

/// What was sent, when all of it was there, and what the channel did meanwhile.
pub(crate) struct Delivery {
    pub(crate) took: Duration,
    pub(crate) counts: Counts,
}

/// Packets from one station to another over one link, until the far side has read them and the end. Both have had their devices
/// open for `before`.
pub(crate) async fn deliver(
    channel: Channel,
    options: &str,
    before: Duration,
    packets: &[usize],
) -> Delivery {
    let air = Air::new(channel);
    let (near, far) = (station(&air, options), station(&air, options));
    let mut listener = far.transports.listen(&far.endpoint).await.unwrap();
    let mut link = near.transports.connect(&near.endpoint).await.unwrap();
    tokio::time::sleep(before).await;
    let start = Instant::now();
    let lengths = packets.to_vec();
    let reader = tokio::spawn(async move {
        let mut link = listener.accept().await.unwrap().unwrap();
        for (n, length) in lengths.iter().enumerate() {
            assert_eq!(link.rx.recv().await.unwrap(), Some(packet(*length, n)));
        }
        let took = start.elapsed();
        assert_eq!(link.rx.recv().await.unwrap(), None);
        (took, link, listener)
    });
    send(&mut link, packets).await;
    let (took, _far_link, _listener) = reader.await.unwrap();
    Delivery { took, counts: air.counts() }
}

pub(crate) async fn send(link: &mut Link, packets: &[usize]) {
    for (n, length) in packets.iter().enumerate() {
        link.tx.send(packet(*length, n)).await.unwrap();
    }
    link.tx.finish().await.unwrap();
}

pub(crate) fn packet(length: usize, salt: usize) -> Bytes {
    (0..length).map(|n| (n * 31 + salt) as u8).collect()
}

/// Several stations have something for one at the same moment, `before` after they have opened their devices. When all has
/// arrived, and what the channel did.
pub(crate) async fn contend(
    channel: Channel,
    options: &str,
    before: Duration,
    senders: usize,
    bytes: usize,
) -> Delivery {
    let air = Air::new(channel);
    let relay = station(&air, options);
    let mut listener = relay.transports.listen(&relay.endpoint).await.unwrap();
    let start = Instant::now() + before;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..senders {
        let near = station(&air, options);
        tasks.spawn(async move {
            let mut link = near.transports.connect(&near.endpoint).await.unwrap();
            tokio::time::sleep_until(start).await;
            send(&mut link, &[bytes]).await;
            // Until the far side has it all.
            assert_eq!(link.rx.recv().await.unwrap(), None);
        });
    }
    for _ in 0..senders {
        let mut link = listener.accept().await.unwrap().unwrap();
        tasks.spawn(async move {
            assert_eq!(link.rx.recv().await.unwrap(), Some(packet(bytes, 0)));
            assert_eq!(link.rx.recv().await.unwrap(), None);
            link.tx.finish().await.unwrap();
            // What was said last may have to be said again.
            std::mem::forget(link);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    Delivery { took: start.elapsed(), counts: air.counts() }
}

/// Stations that have 20 bytes for one again and again, each time over a link of its own, at moments of their own: `gap` apart
/// in the mean. How long each message took, and what the channel did.
pub(crate) async fn chat(
    channel: Channel,
    senders: usize,
    gap: Duration,
    times: usize,
) -> (Vec<Duration>, Counts) {
    let mut random = SeededRandom::new(channel.seed);
    let air = Air::new(channel);
    let relay = station(&air, "");
    let mut listener = relay.transports.listen(&relay.endpoint).await.unwrap();
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..senders {
        let near = station(&air, "");
        let gaps: Vec<_> = (0..times).map(|_| exponential(gap, &mut random)).collect();
        tasks.spawn(async move {
            // Keeps the device open.
            let _listens = near.transports.connect(&near.endpoint).await.unwrap();
            for gap in gaps {
                tokio::time::sleep(gap).await;
                let mut link = near.transports.connect(&near.endpoint).await.unwrap();
                let mut packet = (start.elapsed().as_micros() as u64).to_be_bytes().to_vec();
                packet.resize(20, 0);
                link.tx.send(packet.into()).await.unwrap();
                link.tx.finish().await.unwrap();
                assert_eq!(link.rx.recv().await.unwrap(), None);
            }
        });
    }
    let mut took = Vec::new();
    for _ in 0..senders * times {
        let mut link = listener.accept().await.unwrap().unwrap();
        let packet = link.rx.recv().await.unwrap().unwrap();
        let sent = u64::from_be_bytes(packet[..8].try_into().unwrap());
        took.push(start.elapsed() - Duration::from_micros(sent));
        link.tx.finish().await.unwrap();
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    (took, air.counts())
}

fn exponential(mean: Duration, random: &mut SeededRandom) -> Duration {
    let mut bytes = [0; 4];
    random.fill(&mut bytes).unwrap();
    let part = f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0);
    mean.mul_f64(-(1.0 - part).ln())
}
