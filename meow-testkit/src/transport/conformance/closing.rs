//! How links and listeners end.

use std::time::Duration;

use meow_core::transport::{Link, Listener, Pattern};
use meow_core::{Error, ErrorKind};
use tokio::time::timeout;

use super::harness::{Failure, Subject, ensure, frame, receive_all};

pub(super) async fn accept(listener: &mut Listener) -> Result<Link, Failure> {
    listener.accept().await?.ok_or_else(|| Failure::new("the listener ended"))
}

fn kind_of<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|e| e.kind())
}

/// After `finish` nothing can be sent, the far side sees the end, and the other direction goes on.
pub async fn finish_ends_one_direction(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let mut near = subject.connect(listener.local()).await?;
    near.tx.send(frame(1, 10)).await?;
    near.tx.finish().await?;
    near.tx.finish().await?;
    let sent = near.tx.send(frame(2, 10)).await;
    ensure!(kind_of(sent) == Some(ErrorKind::Usage), "a finished half still sends");
    let mut far = accept(&mut listener).await?;
    ensure!(receive_all(&mut far).await? == [frame(1, 10)], "other frames arrived than were sent");
    ensure!(far.rx.recv().await?.is_none(), "the end of the frames is not the end");
    far.tx.send(frame(3, 10)).await?;
    far.tx.send(frame(4, 12)).await?;
    far.tx.finish().await?;
    far.tx.finish().await?;
    ensure!(far.tx.send(frame(5, 10)).await.is_err(), "a finished half still sends");
    ensure!(
        receive_all(&mut near).await? == [frame(3, 10), frame(4, 12)],
        "the other direction did not go on"
    );
    ensure!(near.rx.recv().await?.is_none(), "the end of the frames is not the end");
    Ok(())
}

/// A far side that goes away without finishing is an error, not an end.
pub async fn peer_drop_is_seen(subject: &Subject) -> Result<(), Failure> {
    let pattern = subject.pattern()?;
    let mut listener = subject.listen().await?;
    // The accepting side goes away.
    let mut near = subject.connect(listener.local()).await?;
    near.tx.send(frame(1, 10)).await?;
    if pattern == Pattern::Exchange {
        near.tx.finish().await?;
    }
    let mut far = accept(&mut listener).await?;
    ensure!(far.rx.recv().await?.is_some(), "the frame did not arrive");
    drop(far);
    let seen = timeout(subject.notice(), near.rx.recv())
        .await
        .map_err(|_| Failure::new("recv did not notice the loss"))?;
    ensure!(seen.is_err(), "recv took the loss for an end");
    timeout(subject.notice(), near.tx.closed())
        .await
        .map_err(|_| Failure::new("closed did not notice the loss"))?;
    // The dialling side goes away.
    let mut near = subject.connect(listener.local()).await?;
    near.tx.send(frame(1, 10)).await?;
    if pattern == Pattern::Exchange {
        near.tx.finish().await?;
    }
    let mut far = accept(&mut listener).await?;
    ensure!(far.rx.recv().await?.is_some(), "the frame did not arrive");
    drop(near);
    timeout(subject.notice(), far.tx.closed())
        .await
        .map_err(|_| Failure::new("closed did not notice the loss"))?;
    let sent = async {
        far.tx.send(frame(2, 10)).await?;
        far.tx.finish().await
    };
    ensure!(sent.await.is_err(), "frames for nobody were taken");
    if pattern != Pattern::Exchange {
        ensure!(far.rx.recv().await.is_err(), "recv took the loss for an end");
    }
    Ok(())
}

/// Where nobody listens, connecting is an error of kind [`ErrorKind::Unreachable`]. A bus cannot tell: there nobody takes the
/// link, and it is not handed to whoever listens next.
pub async fn nobody_listens(subject: &Subject) -> Result<(), Failure> {
    if subject.pattern()? == Pattern::Bus {
        return nobody_takes(subject).await;
    }
    let mut listener = subject.listen().await?;
    let local = listener.local().clone();
    listener.close().await?;
    let connected = subject.transport.connect(&subject.dialled(&local)).await;
    ensure!(kind_of(connected) == Some(ErrorKind::Unreachable), "connecting to nobody is not unreachable");
    // A listener that is dropped has stopped too, if not at once.
    let local = subject.listen().await?.local().clone();
    for _ in 0..200 {
        let connected = subject.transport.connect(&subject.dialled(&local)).await;
        if kind_of(connected) == Some(ErrorKind::Unreachable) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(Failure::new("a dropped listener still takes links"))
}

async fn nobody_takes(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let local = listener.local().clone();
    listener.close().await?;
    ensure!(listener.accept().await?.is_none(), "a closed listener accepts");
    let mut lonely = subject.connect(&local).await?;
    lonely.tx.send(frame(1, 10)).await?;
    let answer = timeout(subject.limit / 30, lonely.rx.recv()).await;
    ensure!(!matches!(answer, Ok(Ok(_))), "somebody answered where nobody listens");
    drop(lonely);
    let mut listener = subject.listen().await?;
    let mut near = subject.connect(listener.local()).await?;
    near.tx.send(frame(2, 10)).await?;
    let mut far = accept(&mut listener).await?;
    ensure!(far.rx.recv().await? == Some(frame(2, 10)), "a link that was given up came to the next listener");
    Ok(())
}

/// `close` takes no new links, and lets an open one end.
pub async fn close_lets_open_links_end(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let local = listener.local().clone();
    let mut near = subject.connect(&local).await?;
    near.tx.send(frame(1, 10)).await?;
    near.tx.finish().await?;
    let mut far = accept(&mut listener).await?;
    let closing = tokio::spawn(async move {
        let closed = listener.close().await;
        (closed, listener.accept().await)
    });
    // The listener is on its way out when the answer is made. On a bus that shows only by nobody taking the link: below.
    let bus = subject.pattern()? == Pattern::Bus;
    let mut refused = bus;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        refused = refused || subject.transport.connect(&subject.dialled(&local)).await.is_err();
        if refused {
            break;
        }
    }
    ensure!(refused, "a closing listener still takes links");
    if bus {
        let mut late = subject.connect(&local).await?;
        late.tx.send(frame(9, 10)).await?;
        let answer = timeout(Duration::from_secs(1), late.rx.recv()).await;
        ensure!(!matches!(answer, Ok(Ok(_))), "a closing listener still takes links");
    }
    ensure!(!closing.is_finished(), "close did not wait for the open link");
    ensure!(receive_all(&mut far).await? == [frame(1, 10)], "the open link lost its frames");
    far.tx.send(frame(2, 10)).await?;
    far.tx.finish().await?;
    ensure!(receive_all(&mut near).await? == [frame(2, 10)], "the open link lost its answer");
    drop((near, far));
    let (closed, accepted) = closing.await.map_err(|e| Failure::new(e.to_string()))?;
    closed?;
    ensure!(accepted?.is_none(), "a closed listener accepts");
    Ok(())
}

/// `close` does not wait for ever: a link that nobody ends is closed for both sides. A transport that waits long for
/// open links is tested with a shorter time.
pub async fn close_is_bounded(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let mut near = subject.connect(listener.local()).await?;
    near.tx.send(frame(1, 10)).await?;
    if near.profile.pattern == Pattern::Exchange {
        near.tx.finish().await?;
    }
    let mut far = accept(&mut listener).await?;
    ensure!(far.rx.recv().await?.is_some(), "the frame did not arrive");
    listener.close().await?;
    let seen = timeout(subject.notice(), near.rx.recv()).await;
    let seen = seen.map_err(|_| Failure::new("the dialling end of a link outlives its listener"))?;
    ensure!(seen.is_err(), "a link that was closed by force has ended cleanly");
    timeout(subject.notice(), far.tx.closed())
        .await
        .map_err(|_| Failure::new("the accepting end is not closed"))?;
    Ok(())
}
