//! A link to a server by whichever of its URLs works.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use meow_core::transport::{CostClass, Endpoint, Link};
use meow_core::{Error, ErrorKind, Result, Retry};
use meow_transport::Transports;
use tokio::time::{Instant, sleep_until, timeout};

use super::choose::Way;
use super::exchange::late;

/// Longest that connecting may take.
const CONNECT: Duration = Duration::from_secs(20);
/// Seconds after which the system may give what it has refused.
const REFUSED_SECS: u32 = 5;
/// Head start of a way before the next one of the same cost is tried beside it.
const HEAD_START: Duration = Duration::from_millis(300);
/// Head start before a costlier one is tried: airtime and volume are not spent for a moment's delay.
const HEAD_START_OF_CHEAP: Duration = Duration::from_secs(4);

/// Says, before each link that is made for a request, once it is open and before the request leaves once more, whether
/// it may leave yet: the policy that allows it can change meanwhile.
pub(crate) trait MayLeave: Sync {
    /// # Errors
    /// Where it may not, with why.
    fn may_leave(&self) -> BoxFuture<'_, Result<()>>;
}

/// Of what no policy speaks.
pub(crate) struct Always;

impl MayLeave for Always {
    fn may_leave(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What came of the ways that were tried.
#[derive(Default)]
pub(crate) struct Opened {
    /// The way that leads to the server, with an open link.
    pub(crate) open: Option<(Endpoint, Link)>,
    /// Those that do not, each with why.
    pub(crate) failed: Vec<(Endpoint, Error)>,
    /// Those that had a head start and were overtaken all the same.
    pub(crate) overtaken: Vec<Endpoint>,
}

/// Opens a link by the first of these ways that leads to the server, in their order, with a head start each. Only
/// connecting overlaps: nothing is sent on more than one link. Takes from `ways` what failed and what is open.
///
/// # Errors
/// That of `allowed`, which is asked before each of them and when one is open; none that is under way goes on then.
///
/// # Cancel safety
/// Dropping the future closes what is open.
pub(crate) async fn open(
    transports: &Transports,
    ways: &mut VecDeque<Way>,
    server: &[u8; 32],
    allowed: &dyn MayLeave,
) -> Result<Opened> {
    let (mut opened, mut under_way) = (Opened::default(), Vec::<Way>::new());
    let mut running = FuturesUnordered::new();
    let mut next_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            Some((way, link)) = running.next() => {
                let way: Way = way;
                let place = under_way.iter().position(|w| w.url == way.url).unwrap_or_default();
                under_way.remove(place);
                match link {
                    Ok(link) => {
                        // Connecting may have taken long.
                        allowed.may_leave().await?;
                        opened.overtaken = under_way.iter().take(place).map(|w| w.url.clone()).collect();
                        under_way.into_iter().rev().for_each(|w| ways.push_front(w));
                        opened.open = Some((way.url, link));
                        return Ok(opened);
                    }
                    Err(e) => opened.failed.push((way.url, e)),
                }
                if under_way.is_empty() {
                    next_at = Instant::now();
                }
            }
            () = sleep_until(next_at), if !ways.is_empty() => {
                allowed.may_leave().await?;
                let Some(way) = ways.pop_front() else { continue };
                next_at = Instant::now() + head_start(way.cost, ways.front());
                under_way.push(way.clone());
                running.push(async move {
                    let link = connect(transports, &way.url, server).await;
                    (way, link)
                });
            }
            else => return Ok(opened),
        }
    }
}

fn head_start(cost: CostClass, next: Option<&Way>) -> Duration {
    if next.is_some_and(|next| next.cost > cost) { HEAD_START_OF_CHEAP } else { HEAD_START }
}

/// Opens a link. Where the link proves which server it leads to, it leads to this one, a fingerprint.
///
/// # Errors
/// Kind `WrongPeer` when the link leads to another server; others as the transport says.
///
/// # Cancel safety
/// Dropping the future leaves no link.
pub(crate) async fn connect(transports: &Transports, to: &Endpoint, server: &[u8; 32]) -> Result<Link> {
    let meant = to.clone().with_server(*server);
    let link = timeout(CONNECT, transports.connect(&meant)).await.map_err(|_| late(to, CONNECT))?;
    let link = link.map_err(|e| named(to, e))?;
    if link.peer.server.is_some_and(|proved| proved != *server) {
        return Err(Error::new(
            ErrorKind::WrongPeer,
            format!(
                "another server than the one expected answers at {to}; ask its operator for the reference"
            ),
        ));
    }
    Ok(link)
}

/// Transports name no server: with several of them the user must know which one is away. An endpoint shows no password. What the
/// system refuses to a transport, a socket or a device, closes that way alone: it is no failure of the store, which ends all.
fn named(to: &Endpoint, e: Error) -> Error {
    if !matches!(e.kind(), ErrorKind::Unreachable | ErrorKind::System) {
        return e;
    }
    // For a moment only, most likely.
    let retry = if e.kind() == ErrorKind::System { Retry::After(REFUSED_SECS) } else { e.retry() };
    Error::new(ErrorKind::Unreachable, format!("{to}: {e}")).with_retry(retry).with_source(e)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::server::choose::{Failures, order};
    use meow_core::transport::{
        Frame, LinkProfile, Listener, Pattern, Peer, RecvFrames, SendFrames, Transport,
    };
    use std::sync::{Arc, Mutex};

    /// Connects after the milliseconds that are the URL's port; port 1 is refused then, at 2 stands another server.
    #[derive(Clone)]
    struct Slow(Arc<Mutex<Vec<(String, u128)>>>, Option<Instant>);

    impl Transport for Slow {
        fn schemes(&self) -> &'static [&'static str] {
            &["free", "scarce"]
        }
        fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
            let mut profile = LinkProfile::new(Pattern::Session, 1000);
            if endpoint.scheme() == "scarce" {
                profile.cost = CostClass::Scarce;
            }
            Ok(profile)
        }
        async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
            let began = self.1.map_or(0, |start| start.elapsed().as_millis());
            self.0.lock().unwrap().push((endpoint.to_string(), began));
            let port = endpoint.port().unwrap();
            tokio::time::sleep(Duration::from_millis(port.into())).await;
            if port == 1 {
                return Err(Error::new(ErrorKind::Unreachable, "refused"));
            }
            let mut peer = Peer::default();
            peer.server = Some([port as u8; 32]);
            Ok(Link::new(Idle, Idle, self.estimate(endpoint)?, peer))
        }
        async fn listen(&self, _: &Endpoint) -> Result<Listener> {
            Err(Error::new(ErrorKind::Usage, "not here"))
        }
    }

    struct Idle;
    impl SendFrames for Idle {
        async fn send(&mut self, _: Frame) -> Result<()> {
            Ok(())
        }
        async fn finish(&mut self) -> Result<()> {
            Ok(())
        }
    }
    impl RecvFrames for Idle {
        async fn recv(&mut self) -> Result<Option<Frame>> {
            Ok(None)
        }
    }

    /// Opens a link by these URLs to the server that stands at port `at`; also gives when which was begun.
    async fn opened(urls: &[&str], at: u16) -> (Opened, Vec<Way>, Vec<(String, u128)>) {
        let slow = Slow(Arc::default(), Some(Instant::now()));
        let transports = Transports::new().with(slow.clone());
        let urls = urls.iter().map(|url| url.parse().unwrap());
        let mut ways = order(&transports, &[0; 32], urls, [], &Failures::default()).unwrap();
        let opened = open(&transports, &mut ways, &[at as u8; 32], &Always).await.unwrap();
        let begun = std::mem::take(&mut *slow.0.lock().unwrap());
        (opened, ways.into(), begun)
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_first_way_is_the_only_one_tried() {
        let (opened, left, begun) = opened(&["free://a:250", "free://b:250", "scarce://c:250"], 250).await;
        assert_eq!(opened.open.unwrap().0.to_string(), "free://a:250/");
        assert_eq!((begun.len(), left.len(), opened.overtaken.len()), (1, 2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_way_is_overtaken_and_a_scarce_one_waits_longer() {
        let (opened, left, begun) = opened(&["free://a:9000", "free://b:2000", "scarce://c:100"], 2000).await;
        assert_eq!(opened.open.unwrap().0.to_string(), "free://b:2000/");
        assert_eq!(begun, [("free://a:9000/".into(), 0), ("free://b:2000/".into(), 300)]);
        assert_eq!(opened.overtaken.iter().map(Endpoint::to_string).collect::<Vec<_>>(), ["free://a:9000/"]);
        assert_eq!(left.len(), 2, "what was overtaken and what was not tried may be tried yet");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_network_gives_way_to_the_radio_in_bounded_time() {
        let (opened, _, begun) = opened(&["free://a:60000", "free://b:60000", "scarce://c:100"], 100).await;
        assert_eq!(opened.open.unwrap().0.scheme(), "scarce");
        assert_eq!(begun.iter().map(|b| b.1).collect::<Vec<_>>(), [0, 300, 4300]);
        assert_eq!(opened.overtaken.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_starts_the_next_at_once_and_another_server_is_refused() {
        let urls = ["free://a:1", "free://impostor:2", "scarce://c:100"];
        let (opened, left, begun) = opened(&urls, 100).await;
        assert_eq!(opened.open.unwrap().0.scheme(), "scarce");
        assert_eq!(begun.iter().map(|b| b.1).collect::<Vec<_>>(), [0, 1, 3]);
        let kinds: Vec<_> = opened.failed.iter().map(|(_, e)| e.kind()).collect();
        assert_eq!(kinds, [ErrorKind::Unreachable, ErrorKind::WrongPeer]);
        assert!(left.is_empty());
    }

    /// Says yes so many times.
    pub(in crate::server) struct Few(Mutex<usize>);

    impl Few {
        pub(in crate::server) fn new(times: usize) -> Self {
            Self(Mutex::new(times))
        }
    }

    impl MayLeave for Few {
        fn may_leave(&self) -> BoxFuture<'_, Result<()>> {
            let mut left = self.0.lock().unwrap();
            let allowed = left.checked_sub(1).map(|n| *left = n);
            let forbidden = || Error::new(ErrorKind::Unreachable, "the policy has changed");
            Box::pin(std::future::ready(allowed.ok_or_else(forbidden)))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_has_changed_keeps_the_next_way_from_being_tried() {
        // One that is refused at once, and one that is slow. What has opened must be allowed yet.
        let cases = [
            ("free://a:1", 1, 1, false),
            ("free://a:9000", 1, 1, false),
            ("free://a:1", 2, 2, false),
            ("free://a:1", 3, 2, true),
        ];
        for (first, allowed, dialled, may) in cases {
            let slow = Slow(Arc::default(), Some(Instant::now()));
            let transports = Transports::new().with(slow.clone());
            let urls = [first, "free://b:100"].map(|url| url.parse().unwrap());
            let mut ways = order(&transports, &[0; 32], urls, [], &Failures::default()).unwrap();
            let opened = open(&transports, &mut ways, &[100; 32], &Few::new(allowed)).await;
            assert_eq!((opened.is_ok(), slow.0.lock().unwrap().len()), (may, dialled), "{first}, {allowed}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_none_works_each_says_why_within_bounded_time() {
        let start = Instant::now();
        let (opened, left, _) = opened(&["free://a:60000", "free://b:1", "scarce://c:60000"], 100).await;
        assert!(opened.open.is_none() && left.is_empty());
        assert_eq!(opened.failed.len(), 3);
        assert!(start.elapsed() <= CONNECT + HEAD_START_OF_CHEAP + HEAD_START);
    }

    #[test]
    fn an_unreachable_server_is_named_without_its_password() {
        let to: Endpoint = "http://ann:secret@relay.example/".parse().unwrap();
        let away = Error::new(ErrorKind::Unreachable, "it is away").with_retry(Retry::After(7));
        let shown = named(&to, away);
        assert_eq!((shown.kind(), shown.retry()), (ErrorKind::Unreachable, Retry::After(7)));
        assert!(shown.to_string().contains("relay.example") && shown.to_string().ends_with(": it is away"));
        assert!(!shown.to_string().contains("secret") && !shown.to_string().contains("ann"));
        let other = named(&to, Error::new(ErrorKind::Limit, "busy"));
        assert_eq!(other.to_string(), "busy");
    }
}
