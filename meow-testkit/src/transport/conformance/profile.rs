//! What a profile says is true, measured on the good path and on one that loses things.

use std::collections::HashMap;

use meow_core::transport::{Endpoint, Frame, Link, LinkProfile, Listener, Pattern};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::closing::accept;
use super::harness::{Failure, Subject, ensure, frame};

/// Links that are measured, and frames on each.
const LINKS: u8 = 24;
const FRAMES: u8 = 24;

/// The estimate and both ends of a link tell the same.
pub async fn profiles_agree(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let endpoint = subject.dialled(listener.local());
    ensure!(subject.transport.schemes().contains(&endpoint.scheme()), "{endpoint} is not of a scheme served");
    let estimate = subject.transport.estimate(&endpoint)?;
    let mut near = subject.connect(listener.local()).await?;
    near.tx.send(frame(0, 1)).await?;
    near.tx.finish().await?;
    let far = accept(&mut listener).await?;
    for (side, profile) in [("dialling", &near.profile), ("accepting", &far.profile)] {
        ensure!(profile.max_frame > 0, "the {side} end takes no frame");
        ensure!(profile.max_frame == estimate.max_frame, "the {side} end takes other frames than estimated");
        ensure!(profile.push == estimate.push, "the {side} end can push, or not, other than estimated");
        ensure!(profile.pattern == estimate.pattern, "the {side} end has another pattern than estimated");
        ensure!(profile.reliable == estimate.reliable, "the {side} end is not as reliable as estimated");
        ensure!(profile.ordered == estimate.ordered, "the {side} end is not as ordered as estimated");
        ensure!(profile.cost == estimate.cost, "the {side} end costs other than estimated");
        ensure!(
            profile.exposes_address == estimate.exposes_address,
            "the {side} end does not hide what was estimated"
        );
    }
    ensure!(
        far.peer.address.is_none() || near.profile.exposes_address,
        "the far side has an address that the profile says it does not learn"
    );
    Ok(())
}

/// Where the profile says `push`, the far side speaks without being asked.
pub async fn push_is_true(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let mut near = subject.connect(listener.local()).await?;
    if !near.profile.push || near.profile.pattern == Pattern::Exchange {
        ensure!(!near.profile.push, "an exchange cannot push");
        return Ok(());
    }
    // A session may be announced to its far side only with the first frame.
    near.tx.send(frame(0, 8)).await?;
    let mut far = accept(&mut listener).await?;
    for number in 1..4 {
        far.tx.send(frame(number, 8)).await?;
        let pushed = timeout(subject.notice(), near.rx.recv()).await;
        let pushed = pushed.map_err(|_| Failure::new("what the far side sent unasked did not come"))??;
        ensure!(pushed == Some(frame(number, 8)), "another frame came than the far side sent");
    }
    Ok(())
}

/// What a link says of itself is true: a reliable one delivers all or fails, any one those frames that it cuts into pieces, an
/// ordered one in order, and no link makes frames up. Through a medium that loses what can be sent again, a reliable one delivers all.
pub async fn profile_is_true(subject: &Subject) -> Result<(), Failure> {
    let mut listener = subject.listen().await?;
    let good = subject.dialled(listener.local());
    measure(subject, &mut listener, &good, true).await?;
    if let Some(medium) = &subject.medium {
        let before = medium.before(listener.local()).await?;
        let bad = subject.dialled(&before);
        measure(subject, &mut listener, &bad, medium.mendable()).await?;
        ensure!(medium.lost() > 0, "the medium lost nothing, so nothing was measured");
    } else {
        let text = "a medium that loses things is missing (Subject::through), or that there is none (nothing_between)";
        ensure!(subject.nothing_between, "{text}");
    }
    Ok(())
}

/// The frames of one link, and whether they ended cleanly.
struct Seen {
    frames: Vec<Frame>,
    clean: bool,
}

async fn measure(
    subject: &Subject,
    listener: &mut Listener,
    to: &Endpoint,
    must_work: bool,
) -> Result<(), Failure> {
    let (report, mut reports) = mpsc::unbounded_channel();
    let serving = async {
        let mut links = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok(Some(link)) => drop(links.spawn(serve(link, report.clone()))),
                Ok(None) => return Failure::new("the listener ended"),
                Err(e) => return e.into(),
            }
        }
    };
    let dialling = async {
        let mut links = JoinSet::new();
        for number in 0..LINKS {
            let link = match subject.transport.connect(to).await {
                Ok(link) => link,
                Err(e) if must_work => return Err(Failure::from(e)),
                Err(_) => continue,
            };
            links.spawn(talk(link, number));
        }
        Ok(links.join_all().await)
    };
    let links = tokio::select! {
        links = dialling => links?,
        failure = serving => return Err(failure),
    };
    let mut sent_by = HashMap::new();
    for (number, profile, sent, back) in links {
        judge(&profile, &sent, &back, must_work).map_err(|e| Failure::new(format!("coming back, {e}")))?;
        sent_by.insert(number, (profile, sent));
    }
    ensure!(!sent_by.is_empty(), "no link came about at all");
    let mut whole = 0;
    while let Ok(seen) = reports.try_recv() {
        let seen: Seen = seen;
        let Some(number) = seen.frames.first().and_then(|f| f.first()) else { continue };
        let (profile, sent) =
            sent_by.get(number).ok_or_else(|| Failure::new("a frame arrived that no link had sent"))?;
        judge(profile, sent, &seen, false)?;
        whole += usize::from(seen.frames.len() == sent.len());
    }
    ensure!(whole > 0, "not one link delivered all its frames");
    Ok(())
}

/// Takes all frames and gives them back.
async fn serve(mut link: Link, report: mpsc::UnboundedSender<Seen>) {
    let seen = take(&mut link).await;
    if seen.clean {
        for frame in &seen.frames {
            if link.tx.send(frame.clone()).await.is_err() {
                break;
            }
        }
        // Whether that worked shows at the dialling side, which judges what came back.
        drop(link.tx.finish().await);
    }
    // Nobody takes reports once the dialling side has failed.
    drop(report.send(seen));
}

async fn take(link: &mut Link) -> Seen {
    let mut frames = Vec::new();
    loop {
        match link.rx.recv().await {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return Seen { frames, clean: true },
            Err(_) => return Seen { frames, clean: false },
        }
    }
}

/// Sends frames that name their link; gives what was sent and what came back.
async fn talk(mut link: Link, number: u8) -> (u8, LinkProfile, Vec<Frame>, Seen) {
    let profile = link.profile.clone();
    let size = profile.max_frame.clamp(2, 700);
    let sent: Vec<Frame> =
        (0..FRAMES).map(|n| [vec![number, n], vec![n; size - 2]].concat().into()).collect();
    for frame in &sent {
        if link.tx.send(frame.clone()).await.is_err() {
            return (number, profile, sent, Seen { frames: Vec::new(), clean: false });
        }
    }
    if link.tx.finish().await.is_err() {
        return (number, profile, sent, Seen { frames: Vec::new(), clean: false });
    }
    let seen = take(&mut link).await;
    (number, profile, sent, seen)
}

fn judge(profile: &LinkProfile, sent: &[Frame], seen: &Seen, must_work: bool) -> Result<(), Failure> {
    let places: Vec<_> =
        seen.frames.iter().map(|frame| sent.iter().position(|other| other == frame)).collect();
    ensure!(places.iter().all(Option::is_some), "frames came that were not sent");
    ensure!(!profile.ordered || places.is_sorted(), "frames came out of the order of sending");
    // What does not travel in one piece cannot vanish.
    if !profile.reliable && sent.iter().any(|frame| frame.len() <= profile.single) {
        return Ok(());
    }
    let (came, all) = (seen.frames.len(), sent.len());
    ensure!(
        seen.clean || !must_work,
        "a link that promises to lose nothing failed after {came} of {all} frames"
    );
    if profile.ordered {
        ensure!(sent.starts_with(&seen.frames), "frames are missing or out of order within those that came");
    } else {
        let once = sent.iter().all(|frame| seen.frames.iter().filter(|other| *other == frame).count() <= 1);
        ensure!(once, "a frame came twice");
    }
    ensure!(
        !seen.clean || came == all,
        "a link that promises to lose nothing lost {} of {all} frames",
        all - came
    );
    Ok(())
}
