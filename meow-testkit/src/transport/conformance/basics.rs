//! Frames arrive as they were sent; what cannot be sent is refused.

use meow_core::ErrorKind;
use meow_core::transport::Endpoint;
use tokio::task::JoinSet;

use super::closing::accept;
use super::harness::{Failure, Subject, echo as echo_link, ensure, frame, frames, receive_all, round_trip};

/// What is sent comes back.
pub async fn echo(subject: &Subject) -> Result<(), Failure> {
    let server = subject.echo_server().await?;
    for length in [1, 10, 100] {
        let link = subject.connect(&server.local).await?;
        let sent = frames(&link.profile, [length, 1000]).to_vec();
        let back = round_trip(link, sent.clone()).await?;
        ensure!(back == sent, "{} frames came back other than sent", back.len());
    }
    Ok(())
}

/// A frame of exactly `max_frame` bytes passes.
pub async fn exact_max_frame(subject: &Subject) -> Result<(), Failure> {
    let server = subject.echo_server().await?;
    let link = subject.connect(&server.local).await?;
    let sent = vec![frame(1, link.profile.max_frame)];
    let back = round_trip(link, sent.clone()).await?;
    ensure!(back == sent, "the largest frame came back other than sent");
    Ok(())
}

/// One byte more is refused with [`ErrorKind::Limit`], and the link goes on.
pub async fn one_byte_more_is_refused(subject: &Subject) -> Result<(), Failure> {
    refused_frame(subject, 1, ErrorKind::Limit).await
}

/// An empty frame is refused with [`ErrorKind::Usage`], and the link goes on.
pub async fn empty_frame_is_refused(subject: &Subject) -> Result<(), Failure> {
    refused_frame(subject, 0, ErrorKind::Usage).await
}

/// `over` bytes over the largest, or an empty frame for zero.
async fn refused_frame(subject: &Subject, over: usize, kind: ErrorKind) -> Result<(), Failure> {
    let server = subject.echo_server().await?;
    let mut link = subject.connect(&server.local).await?;
    let length = if over == 0 { 0 } else { link.profile.max_frame + over };
    match link.tx.send(vec![7; length].into()).await {
        Ok(()) => return Err(Failure::new(format!("a frame of {length} bytes was taken"))),
        Err(e) => ensure!(e.kind() == kind, "a frame of {length} bytes gave {e:?}"),
    }
    let sent = vec![frame(1, 5)];
    let back = round_trip(link, sent.clone()).await?;
    ensure!(back == sent, "after the refusal {} frames came back", back.len());
    Ok(())
}

/// Frames are neither split nor joined, whatever their sizes.
pub async fn frame_boundaries_are_kept(subject: &Subject) -> Result<(), Failure> {
    let server = subject.echo_server().await?;
    let link = subject.connect(&server.local).await?;
    let max = link.profile.max_frame;
    let sizes =
        [1, 1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 255, 256, 257, 1, 1023, 1024, 4096, 1, max / 2, max - 1, 1];
    let sizes = sizes.into_iter().filter(|size| (1..=max).contains(size));
    let sent: Vec<_> = sizes.enumerate().map(|(number, size)| frame(number, size)).collect();
    let back = round_trip(link, sent.clone()).await?;
    let lengths: Vec<_> = back.iter().map(|frame| frame.len()).collect();
    ensure!(back == sent, "other frames came back, of lengths {lengths:?}");
    Ok(())
}

/// Two hundred links open at once, all of them accepted before the first one ends; none gets another one's frames.
pub async fn many_links(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let local = listener.local().clone();
    let sent_on = |number, max: usize| vec![frame(number, 8), frame(number, max.min(1024)), frame(number, 9)];
    // All far ends are held until the last one is there.
    let accepting = async {
        let mut links = Vec::new();
        while links.len() < subject.links {
            links.push(accept(&mut listener).await?);
        }
        let mut echoes = JoinSet::new();
        links.into_iter().for_each(|link| drop(echoes.spawn(echo_link(link))));
        while let Some(done) = echoes.join_next().await {
            done.map_err(|e| Failure::new(e.to_string()))??;
        }
        Ok::<_, Failure>(())
    };
    let dialling = async {
        let mut links = JoinSet::new();
        for number in 0..subject.links {
            let link = subject.connect(&local).await?;
            links.spawn(async move {
                let sent = sent_on(number, link.profile.max_frame);
                let back = round_trip(link, sent.clone()).await?;
                ensure!(back == sent, "link {number} got other frames than it sent");
                Ok(())
            });
        }
        while let Some(done) = links.join_next().await {
            done.map_err(|e| Failure::new(e.to_string()))??;
        }
        Ok(())
    };
    tokio::try_join!(accepting, dialling).map(|_| ())
}

/// An unknown option is an error of kind [`ErrorKind::Usage`] everywhere, and so is every endpoint that the subject
/// calls bad.
pub async fn bad_endpoints_are_refused(subject: &Subject) -> Result<(), Failure> {
    let joint = if subject.listen.expose().contains('?') { '&' } else { '?' };
    let odd: Endpoint = format!("{}{joint}no-such-option=1", *subject.listen.expose())
        .parse()
        .map_err(|e| Failure::new(format!("the listening endpoint takes no option: {e}")))?;
    for endpoint in subject.bad.iter().chain([&odd]) {
        let estimated = subject.transport.estimate(endpoint).err();
        let connected = subject.transport.connect(endpoint).await.err();
        let listened = subject.transport.listen(endpoint).await.err();
        for (what, e) in [("estimate", estimated), ("connect", connected), ("listen", listened)] {
            let Some(e) = e else { return Err(Failure::new(format!("{what} took {endpoint}"))) };
            ensure!(e.kind() == ErrorKind::Usage, "{what} of {endpoint} gave {e:?}");
        }
    }
    Ok(())
}

/// User and password stand in no `Debug`, `Display` or error; nor does a place in the local file system, but in the `Debug` of
/// an endpoint.
pub async fn nothing_shows_credentials(subject: &Subject) -> Result<(), Failure> {
    let bare = subject.listen.clone().without_credentials();
    let secret: Endpoint = match bare.expose().replacen("://", "://jOe:s3cr3t@", 1).parse() {
        Ok(secret) => secret,
        Err(e) => {
            ensure!(bare.host().is_none(), "an endpoint with credentials does not parse: {e}");
            ensure!(!format!("{e} {e:?}").contains("s3cr3t"), "credentials show in: {e:?}");
            return nothing_shows_a_place(subject, &bare).await;
        }
    };
    let mut shown = format!("{secret} {secret:?} {:?}", subject.transport.estimate(&secret));
    match subject.transport.listen(&secret).await {
        Ok(mut listener) => {
            shown += &format!("{listener:?} {}", listener.local());
            let mut near = subject.connect(listener.local()).await?;
            near.tx.finish().await?;
            let far = listener.accept().await?;
            shown += &format!("{near:?} {far:?}");
            drop(far);
            shown += &format!("{:?}", receive_all(&mut near).await);
            drop(listener);
            shown += &format!("{:?}", subject.transport.connect(&subject.dialled(&secret)).await);
        }
        Err(e) => shown += &format!("{e} {e:?}"),
    }
    ensure!(!shown.contains("s3cr3t") && !shown.contains("jOe"), "credentials show in: {shown}");
    Ok(())
}

async fn nothing_shows_a_place(subject: &Subject, bare: &Endpoint) -> Result<(), Failure> {
    let whole = bare.expose();
    let url = whole.split('?').next().unwrap_or_default();
    let place = url.split("://").nth(1).unwrap_or_default();
    ensure!(!place.is_empty(), "an endpoint names no place");
    let mut listener = subject.listen().await?;
    let mut near = subject.connect(listener.local()).await?;
    near.tx.send(frame(0, 1)).await?;
    near.tx.finish().await?;
    let far = accept(&mut listener).await?;
    let shown = format!("{near:?} {far:?}");
    ensure!(!shown.contains(place), "a place shows in: {shown}");
    // Nobody is there, or another one.
    let elsewhere: Endpoint = whole
        .replacen(url, &format!("{url}-s3cr3t"), 1)
        .parse()
        .map_err(|e| Failure::new(format!("another place does not parse: {e}")))?;
    let shown = format!("{:?}", subject.transport.connect(&elsewhere).await);
    ensure!(!shown.contains("s3cr3t"), "a place shows in: {shown}");
    Ok(())
}
