//! A packet to a server and the one that answers, on a link.

use std::time::Duration;

use bytes::Bytes;
use meow_core::request::ClearAnswer;
use meow_core::transport::{Endpoint, Link, Pattern};
use meow_core::wire::is_thin;
use meow_core::{Error, ErrorKind, Result, Retry};
use tokio::time::{Instant, sleep_until, timeout};

use super::reach::MayLeave;
use super::silence::Silence;

/// Bytes of a typical long answer.
const ANSWER: u64 = 8192;
/// First pause before a packet goes out on a bus again, beside the time that it takes there; twice as long each time.
const FIRST_REPEAT: Duration = Duration::from_secs(2);

/// Tells the answer to a question from other packets.
pub(crate) type Fits<'a> = &'a (dyn Fn(&[u8]) -> bool + Sync);

/// Sends one packet, which may leave now, on a fresh link and waits for the answer. `allowed` is asked before the packet
/// leaves again.
///
/// # Errors
/// Kind `Unreachable` when nothing answers within `patience`; that of `allowed`; others as the transport says.
///
/// # Cancel safety
/// Dropping the future closes the link; the server may or may not have acted.
pub(crate) async fn exchange(
    mut link: Link,
    to: &Endpoint,
    allowed: &dyn MayLeave,
    packet: &[u8],
    patience: Duration,
    fits: Fits<'_>,
) -> Result<Bytes> {
    let patience = patience + on_the_way(packet.len(), link.profile.bit_rate);
    if link.profile.pattern == Pattern::Bus {
        return on_bus(link, to, allowed, packet, patience, fits).await;
    }
    let talk = async {
        link.tx.send(Bytes::copy_from_slice(packet)).await?;
        link.tx.finish().await?;
        link.rx.recv().await?.ok_or_else(|| {
            Error::new(ErrorKind::Unreachable, format!("{to} closed the connection without an answer"))
                .with_retry(Retry::After(5))
        })
    };
    timeout(patience, talk).await.map_err(|_| silent(to, patience))?
}

/// As [`exchange`] where every packet reaches every station. A thin packet is not acknowledged, so it is sent again, the same
/// bytes, while no answer comes. What does not fit is for another station, or forged, and is passed over; an unsealed
/// refusal, which anybody can send, counts only once the real answer has had its time.
async fn on_bus(
    mut link: Link,
    to: &Endpoint,
    allowed: &dyn MayLeave,
    packet: &[u8],
    patience: Duration,
    fits: Fits<'_>,
) -> Result<Bytes> {
    let until = Instant::now() + patience;
    let mut pause =
        FIRST_REPEAT.max(link.profile.rtt * 2) + on_the_way(packet.len(), link.profile.bit_rate) / 8;
    let (frame, again) = (Bytes::copy_from_slice(packet), is_thin(packet.len()));
    let mut refusal = None;
    timeout(patience, link.tx.send(frame.clone())).await.map_err(|_| silent(to, patience))??;
    if !again {
        timeout(patience, link.tx.finish()).await.map_err(|_| silent(to, patience))??;
    }
    let mut next = Instant::now() + pause;
    loop {
        let heard = tokio::select! {
            biased;
            heard = link.rx.recv() => heard?,
            () = sleep_until(next.min(until)) => {
                if let Some(refusal) = refusal {
                    return Ok(refusal);
                }
                if Instant::now() >= until {
                    return Err(silent(to, patience));
                }
                if again {
                    allowed.may_leave().await?;
                    timeout(patience, link.tx.send(frame.clone())).await.map_err(|_| silent(to, patience))??;
                }
                pause *= 2;
                next = Instant::now() + pause;
                continue;
            }
        };
        match heard {
            Some(heard) if fits(&heard) => return Ok(heard),
            Some(heard) if ClearAnswer::from_packet(&heard).is_ok() => refusal = Some(heard),
            Some(_) => tracing::trace!("a packet for somebody else"),
            None => {
                return refusal.ok_or_else(|| silent(to, patience));
            }
        }
    }
}

/// How long a question of this many bytes and its answer take on a link of so many bits per second, three times over: a
/// slow one loses some.
fn on_the_way(question: usize, bit_rate: u64) -> Duration {
    let bits = 8 * (question as u64 + ANSWER);
    Duration::from_millis(3000 * bits / bit_rate.max(1))
}

/// Nothing came on a way that was there: the others on it are told.
pub(super) fn silent(to: &Endpoint, patience: Duration) -> Error {
    late(to, patience).with_source(Silence)
}

/// Nothing came in time. A server that takes no further links may well answer on those that it has.
pub(super) fn late(to: &Endpoint, patience: Duration) -> Error {
    let seconds = patience.as_secs();
    Error::new(
        ErrorKind::Unreachable,
        format!("{to} did not answer within {seconds} seconds; check the network, or try later"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Always;
    use crate::server::reach::tests::Few;
    use meow_core::request::ClearCode;
    use meow_core::transport::{Frame, LinkProfile, Peer, RecvFrames, SendFrames};
    use std::sync::{Arc, Mutex};
    use tokio::sync::mpsc;

    /// When which packet was sent, in seconds.
    type Sent = Arc<Mutex<Vec<(u64, usize)>>>;

    struct Radio(Instant, Sent);
    impl SendFrames for Radio {
        async fn send(&mut self, frame: Frame) -> Result<()> {
            self.1.lock().unwrap().push((self.0.elapsed().as_secs(), frame.len()));
            Ok(())
        }
        async fn finish(&mut self) -> Result<()> {
            Ok(())
        }
    }

    struct Heard(mpsc::Receiver<Frame>);
    impl RecvFrames for Heard {
        async fn recv(&mut self) -> Result<Option<Frame>> {
            Ok(self.0.recv().await)
        }
    }

    /// Asks with a packet of this length on a bus where these packets are heard, each after so many seconds.
    async fn ask(length: usize, heard: &[(u64, &[u8])]) -> (Result<Bytes>, Vec<(u64, usize)>, u64) {
        ask_while(&Always, length, heard).await
    }

    async fn ask_while(
        allowed: &dyn MayLeave,
        length: usize,
        heard: &[(u64, &[u8])],
    ) -> (Result<Bytes>, Vec<(u64, usize)>, u64) {
        let (start, sent) = (Instant::now(), Sent::default());
        let (air, ears) = mpsc::channel(100);
        let mut profile = LinkProfile::new(Pattern::Bus, 4096);
        profile.single = 236;
        let link = Link::new(Radio(start, Arc::clone(&sent)), Heard(ears), profile, Peer::default());
        let script: Vec<(u64, Frame)> =
            heard.iter().map(|(at, p)| (*at, Frame::copy_from_slice(p))).collect();
        let speaker = tokio::spawn(async move {
            for (at, packet) in script {
                sleep_until(start + Duration::from_secs(at)).await;
                air.send(packet).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        let to = "serial:///dev/ttyS0".parse().unwrap();
        let fits = |packet: &[u8]| packet == b"answer";
        let answer = exchange(link, &to, allowed, &vec![9; length], Duration::from_secs(60), &fits).await;
        speaker.abort();
        let sent = sent.lock().unwrap().clone();
        (answer, sent, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a42_a_thin_packet_is_sent_again_until_its_answer_comes() {
        let (answer, sent, _) = ask(60, &[(20, b"answer")]).await;
        assert_eq!(&answer.unwrap()[..], b"answer");
        assert_eq!(sent, [(0, 60), (2, 60), (6, 60), (14, 60)]);
        // Segments are acknowledged below: those are sent once.
        let (answer, sent, _) = ask(256, &[(20, b"answer")]).await;
        assert!(answer.is_ok() && sent == [(0, 256)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a42_packets_of_others_and_forged_refusals_are_passed_over() {
        let refusal = ClearAnswer::Refused(ClearCode::UnknownKey).to_packet().unwrap();
        let (answer, sent, took) =
            ask(124, &[(0, b"of another"), (1, &refusal), (1, b"noise"), (1, b"answer")]).await;
        assert_eq!((&answer.unwrap()[..], sent.len(), took), (&b"answer"[..], 1, 1));
        // Nothing better comes: it is believed, and only makes the client ask for keys again.
        let (answer, _, took) = ask(124, &[(1, &refusal)]).await;
        assert_eq!((&answer.unwrap()[..], took), (&refusal[..], 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_packet_that_the_policy_has_come_to_forbid_is_not_sent_again() {
        let (answer, sent, took) = ask_while(&Few::new(1), 60, &[(20, b"answer")]).await;
        assert_eq!(answer.unwrap_err().to_string(), "the policy has changed");
        assert_eq!((sent.as_slice(), took), (&[(0, 60), (2, 60)][..], 6));
        // What has left is listened for until then, and nothing is asked of what is sent once.
        let (answer, sent, _) = ask_while(&Few::new(0), 60, &[(1, b"answer")]).await;
        assert!(answer.is_ok() && sent.len() == 1);
        let (answer, sent, _) = ask_while(&Few::new(0), 256, &[(20, b"answer")]).await;
        assert!(answer.is_ok() && sent.len() == 1);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_in_time() {
        let (answer, sent, took) = ask(60, &[(1, b"of another")]).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unreachable);
        assert!(sent.len() == 5 && (60..70).contains(&took), "{sent:?} {took}");
    }
}
