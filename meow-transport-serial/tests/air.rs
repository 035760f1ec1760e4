//! Radio modems on a simulated channel at 1,760 bits a second, half duplex, on virtual time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/radio.rs"]
mod radio;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meow_testkit::transport::air::{Air, Channel};
use meow_transport::Transports;
use meow_transport_serial::Serial;
use radio::{chat, contend, deliver, on_virtual_time, packet, send, station};

/// Two stations that begin at the same moment, again and again: what collides is sent again, and all arrives.
#[test]
fn two_senders_that_collide_get_through() {
    // A modem that passes bytes on lets its host hear who has begun; one of whole frames leaves it to the back-off.
    // Just after they have opened their devices, and when both know that the channel is free, so that both begin.
    for before in [0, 60].map(Duration::from_secs) {
        for passes_bytes in [true, false] {
            let (mut collided, mut frames) = (0, 0);
            for seed in 0..12 {
                let mut channel = Channel::sf9(0, seed);
                channel.passes_bytes = passes_bytes;
                let done = on_virtual_time(contend(channel, "", before, 2, 2000));
                collided += done.counts.collided;
                frames += done.counts.frames;
            }
            // 18 pieces with their acknowledgements would do each time.
            assert!(frames < 12 * 60, "{frames} frames for what fits in {}", 12 * 25);
            assert!((passes_bytes && before.is_zero()) || collided > 0, "they never collided");
        }
    }
}

/// Those who have something to say at moments of their own mostly find the channel free, and say it.
#[test]
fn a_short_message_on_a_free_channel_takes_its_airtime() {
    // 20 bytes with headers and framing, and the preamble.
    let airtime = Duration::from_millis(50 + 33 * 8 * 1000 / 1760);
    for senders in [1, 4] {
        let (mut took, _) = on_virtual_time(chat(Channel::sf9(0, 7), senders, Duration::from_secs(60), 20));
        took.sort_unstable();
        let median = took[took.len() / 2];
        assert!(median < airtime + Duration::from_millis(10), "{senders}: {median:?}");
    }
}

/// Of the channel's bit rate, at least 0.6 is goodput at 10 % loss.
#[test]
fn a_large_message_takes_most_of_the_channel() {
    for (loss, least) in [(0, 0.8), (100, 0.6), (300, 0.4)] {
        let done = on_virtual_time(deliver(Channel::sf9(loss, 1), "", Duration::ZERO, &[32_768, 32_768]));
        let share = 65_536.0 * 8.0 / 1760.0 / done.took.as_secs_f64();
        assert!(share >= least, "{share:.2} of the bit rate at {loss} in a thousand lost");
    }
}

/// Attack 42: whatever there is to send, no station is on the air for longer than its share of any hour.
#[test]
fn a42_the_duty_cycle_holds_on_the_air() {
    let air = on_virtual_time(async {
        let air = Air::new(Channel::sf9(100, 3));
        let (near, far) = (station(&air, "&region=EU868"), station(&air, "&region=EU868"));
        let mut listener = far.transports.listen(&far.endpoint).await.unwrap();
        let mut link = near.transports.connect(&near.endpoint).await.unwrap();
        // Three minutes of airtime, which take five hours.
        let sending = tokio::spawn(async move {
            send(&mut link, &[8000; 5]).await;
            link
        });
        let reading = tokio::spawn(async move {
            let mut link = listener.accept().await.unwrap().unwrap();
            for n in 0..5 {
                assert_eq!(link.rx.recv().await.unwrap(), Some(packet(8000, n)));
            }
        });
        let mut samples = [Vec::new(), Vec::new()];
        while !reading.is_finished() {
            for (modem, of_one) in samples.iter_mut().enumerate() {
                of_one.push(air.airtime(modem));
            }
            assert!(samples[0].len() < 48 * 60, "not all arrives");
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        reading.await.unwrap();
        sending.await.unwrap();
        samples
    });
    for samples in air {
        let most = samples.windows(61).map(|hour| hour[60] - hour[0]).max().unwrap();
        assert!(most > Duration::ZERO && most <= Duration::from_secs(36), "{most:?} within an hour");
    }
}

/// Attack 42: nor does a station that is opened anew for each message, and closed in between.
#[test]
fn a42_opening_a_device_again_gives_no_airtime() {
    let (samples, sent) = on_virtual_time(async {
        let air = Air::new(Channel::sf9(0, 5));
        let far = station(&air, "&region=EU868");
        let mut listener = far.transports.listen(&far.endpoint).await.unwrap();
        tokio::spawn(async move {
            while let Ok(Some(mut link)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(Some(_)) = link.rx.recv().await {}
                    link.tx.finish().await.unwrap();
                    // What was said last may have to be said again.
                    std::mem::forget(link);
                });
            }
        });
        let (modems, opened) = (air.clone(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&opened);
        let serial = Serial::over(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(modems.modem()))
        });
        let sending = tokio::spawn(async move {
            for n in 0..20 {
                let transports = Transports::new().with(serial.clone());
                let mut link = transports.connect(&far.endpoint).await.unwrap();
                send(&mut link, &[800]).await;
                assert_eq!(link.rx.recv().await.unwrap(), None, "{n}");
                drop(link);
                // Longer than a bus stays open that nobody uses.
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
        });
        let mut samples = Vec::new();
        while !sending.is_finished() {
            // The modem of the far side was plugged in first.
            samples
                .push((1..=opened.load(Ordering::Relaxed)).map(|modem| air.airtime(modem)).sum::<Duration>());
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        sending.await.unwrap();
        (samples, opened.load(Ordering::Relaxed))
    });
    assert_eq!(sent, 20, "it was open once for each message");
    let most = samples.windows(61).map(|hour| hour[60] - hour[0]).max().unwrap();
    assert!(most > Duration::from_secs(25) && most <= Duration::from_secs(36), "{most:?} within an hour");
}
