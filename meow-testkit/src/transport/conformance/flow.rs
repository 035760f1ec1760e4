//! Cancellation loses nothing; a slow reader costs bounded memory.

use std::future::Future;
use std::time::Duration;

use meow_core::ErrorKind;
use meow_core::transport::{Frame, Link, Pattern};
use tokio::time::{sleep, timeout};

use super::harness::{Failure, Subject, ensure, frame, receive_all, round_trip};

/// What a transport may take from a sender whose receiver does not read.
const MOST_BUFFERED: usize = 64 * 1024 * 1024;
/// How long a send must be stuck to count as held back, as a share of the time that a case may take: 500 ms.
const STUCK: u32 = 120;

/// Drops the future after its first poll if it is not ready by then.
async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = std::future::ready(()) => None,
    }
}

/// Frames survive `recv` calls that are dropped half-way.
pub async fn cancelled_recv(subject: &Subject) -> Result<(), Failure> {
    let server = subject.echo_server().await?;
    let Link { mut tx, mut rx, profile, .. } = subject.connect(&server.local).await?;
    let size = profile.max_frame.min(3000);
    let sent: Vec<Frame> = (0..20).map(|number| frame(number, size)).collect();
    let exchange = profile.pattern == Pattern::Exchange;
    let send = async {
        for frame in &sent {
            tx.send(frame.clone()).await?;
            if !exchange {
                sleep(Duration::from_millis(1)).await;
            }
        }
        tx.finish().await
    };
    let receive = async {
        let mut back = Vec::new();
        loop {
            match poll_once(rx.recv()).await {
                Some(Ok(Some(frame))) => back.push(frame),
                Some(Ok(None)) => return Ok(back),
                Some(Err(e)) => return Err(e),
                None => sleep(Duration::from_micros(200)).await,
            }
        }
    };
    let (done, back) = tokio::join!(send, receive);
    done?;
    ensure!(back? == sent, "cancelled receives lost or changed frames");
    Ok(())
}

/// A `connect` that is dropped half-way stands in nobody's way.
pub async fn cancelled_connect(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let local = listener.local().clone();
    for _ in 0..30 {
        // Opened at once or given up: either way it is dropped, and nothing was sent.
        drop(poll_once(subject.connect(&local)).await);
    }
    let dialling = async {
        let mut near = subject.connect(&local).await?;
        near.tx.send(frame(1, 10)).await?;
        near.tx.finish().await?;
        Ok::<_, Failure>(near)
    };
    let accepting = async {
        loop {
            let mut far = super::closing::accept(&mut listener).await?;
            // What was given up may be seen to break, but not to say anything.
            if let Ok(Some(frame)) = far.rx.recv().await {
                return Ok::<_, Failure>((frame, far));
            }
        }
    };
    let (_near, (seen, _far)) = tokio::try_join!(dialling, accepting)?;
    ensure!(seen == frame(1, 10), "another frame arrived than was sent");
    Ok(())
}

/// Links survive `accept` calls that are dropped half-way.
pub async fn cancelled_accept(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let local = listener.local().clone();
    for number in 0..10 {
        let dialing = async {
            let mut near = subject.connect(&local).await?;
            near.tx.send(frame(number, 10)).await?;
            near.tx.finish().await?;
            Ok::<_, Failure>(near)
        };
        let accepting = async {
            loop {
                match poll_once(listener.accept()).await {
                    Some(link) => return link,
                    None => sleep(Duration::from_micros(200)).await,
                }
            }
        };
        let (near, far) = tokio::join!(dialing, accepting);
        let _near = near?;
        let mut far = far?.ok_or_else(|| Failure::new("the listener ended"))?;
        ensure!(receive_all(&mut far).await? == [frame(number, 10)], "link {number} lost its frame");
    }
    Ok(())
}

/// A dropped `send` leaves the frame unsent or the link closed. Never half a frame, never two.
pub async fn cancelled_send(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let near = subject.connect(listener.local()).await?;
    let size = near.profile.max_frame.min(3000);
    let Link { mut tx, rx: _rx, .. } = near;
    let send = async move {
        let mut sent = Vec::new();
        for number in 0..300 {
            let frame = frame(number, size);
            match poll_once(tx.send(frame.clone())).await {
                Some(Ok(())) => sent.push(frame),
                // The link may be closed by the cancellation, or an exchange be full; then it stays so.
                Some(Err(_)) => break,
                None => tokio::task::yield_now().await,
            }
        }
        let finished = tx.finish().await.is_ok();
        // Held until the other side has read: dropping the link would be a loss of its own.
        (sent, finished, tx)
    };
    let receive = async {
        let mut far = listener.accept().await?.ok_or_else(|| Failure::new("the listener ended"))?;
        let mut seen = Vec::new();
        loop {
            match far.rx.recv().await {
                Ok(Some(frame)) => seen.push(frame),
                Ok(None) => return Ok::<_, Failure>((seen, true)),
                Err(_) => return Ok((seen, false)),
            }
        }
    };
    let ((sent, finished, _tx), received) = tokio::join!(send, receive);
    let (seen, ended) = received?;
    ensure!(finished == ended, "one side saw the link end cleanly, the other did not");
    ensure!(!sent.is_empty(), "nothing could be sent at all");
    if finished {
        ensure!(seen == sent, "{} frames were sent and {} arrived, or others", sent.len(), seen.len());
    } else {
        ensure!(sent.starts_with(&seen), "frames arrived that were not sent");
    }
    Ok(())
}

/// A sender whose receiver does not read is held back, or told that the exchange is full; then all arrives.
pub async fn back_pressure(subject: &Subject) -> Result<(), Failure> {
    match subject.pattern()? {
        Pattern::Exchange => full_exchange(subject).await,
        _ => held_back(subject).await,
    }
}

async fn full_exchange(subject: &Subject) -> Result<(), Failure> {
    let server = subject.echo_server().await?;
    let mut link = subject.connect(&server.local).await?;
    let size = link.profile.max_frame;
    let mut sent = Vec::new();
    loop {
        ensure!(sent.len() * size <= MOST_BUFFERED, "an exchange took {} frames of {size} bytes", sent.len());
        let frame = frame(sent.len(), size);
        match timeout(subject.limit / STUCK, link.tx.send(frame.clone())).await {
            Ok(Ok(())) => sent.push(frame),
            Ok(Err(e)) => {
                ensure!(e.kind() == ErrorKind::Limit, "a full exchange gave {e:?}");
                break;
            }
            Err(_) => break,
        }
    }
    let back = round_trip(link, Vec::new()).await?;
    ensure!(back == sent, "{} frames were taken and {} came back, or others", sent.len(), back.len());
    Ok(())
}

async fn held_back(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let near = subject.connect(listener.local()).await?;
    let size = near.profile.max_frame;
    let Link { mut tx, rx: _rx, .. } = near;
    // A session may be announced to its far side only with the first frame.
    let first = frame(0, size);
    tx.send(first.clone()).await?;
    let mut far = listener.accept().await?.ok_or_else(|| Failure::new("the listener ended"))?;
    let mut sent = vec![first];
    loop {
        ensure!(sent.len() * size <= MOST_BUFFERED, "a link took {} frames that nobody read", sent.len());
        let frame = frame(sent.len(), size);
        match timeout(subject.limit / STUCK, tx.send(frame.clone())).await {
            Ok(done) => done?,
            Err(_) => break,
        }
        sent.push(frame);
    }
    let (finished, seen) = tokio::join!(tx.finish(), receive_all(&mut far));
    finished?;
    let seen = seen?;
    ensure!(seen == sent, "{} frames were sent and {} arrived, or others", sent.len(), seen.len());
    Ok(())
}
