//! What one request learns of a way, told to those that are held there: a line whose far end is gone, or a path that
//! swallows everything, breaks no link, so that a held request would wait to its end.

use std::sync::Arc;
use std::time::Duration;

use meow_core::Error;
use meow_core::transport::Endpoint;
use tokio::sync::broadcast;

/// Within which time those that are held are asked anew, each at a moment of its own: a server that is slow is not stormed, and
/// one that swallows a request on purpose does not see at once which others came from the same device.
pub(super) const SPREAD: Duration = Duration::from_secs(5);
/// News that a request which is held may have missed; it then goes on waiting.
const MISSED: usize = 64;

/// The source of an error that says: nothing came in time.
#[derive(Debug, thiserror::Error)]
#[error("nothing came in time")]
pub(super) struct Silence;

impl Silence {
    pub(super) fn is_why(e: &Error) -> bool {
        std::error::Error::source(e).is_some_and(|source| source.is::<Self>())
    }
}

/// The servers and URLs at which requests stayed unanswered, as they do. At one broker, or on one line, are several servers:
/// one that is away, or that a contact has made up, says nothing of the others.
pub(super) struct Silences(broadcast::Sender<Arc<Place>>);

type Place = ([u8; 32], String);

impl Default for Silences {
    fn default() -> Self {
        Self(broadcast::channel(MISSED).0)
    }
}

impl Silences {
    pub(super) fn note(&self, server: &[u8; 32], url: &Endpoint) {
        // Nobody may be waiting.
        let _ = self.0.send(Arc::new((*server, url.to_string())));
    }

    /// Ends when another request to this server stays unanswered at this URL from now on.
    pub(super) fn at(&self, server: &[u8; 32], url: &Endpoint) -> impl Future<Output = ()> + Send + use<> {
        let (mut news, place) = (self.0.subscribe(), (*server, url.to_string()));
        async move {
            loop {
                match news.recv().await {
                    Ok(silent) if *silent == place => return,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SharedRandom;
    use crate::server::choose::{another, order};
    use crate::server::reach::tests::Few;
    use crate::server::{Always, Ask, Room, Seal, Servers, To};
    use meow_core::crypto::{DhSecret, SigningKey, SystemRandom, VerifyKey};
    use meow_core::lane::ServerRef;
    use meow_core::request::{Descriptor, Limits, Pull, RequestKind, SealingKey};
    use meow_core::transport::{
        CostClass, Frame, Link, LinkProfile, Listener, Pattern, Peer, RecvFrames, SendFrames, Transport,
    };
    use meow_core::wire::{Fixed, List};
    use meow_core::{ErrorKind, Result};
    use meow_transport::Transports;
    use tokio::time::{Instant, timeout};

    #[tokio::test(start_paused = true)]
    async fn who_is_held_hears_of_its_own_way_only_and_of_what_comes_after() {
        let (silences, a, b) =
            (Silences::default(), "free://a/".parse().unwrap(), "free://b/".parse().unwrap());
        let (one, two) = ([1; 32], [2; 32]);
        silences.note(&one, &a);
        let mut held = std::pin::pin!(silences.at(&one, &a));
        silences.note(&one, &b);
        silences.note(&two, &a);
        let soon = Duration::from_secs(1);
        assert!(timeout(soon, &mut held).await.is_err());
        (0..2 * MISSED).for_each(|_| silences.note(&one, &b));
        silences.note(&one, &a);
        assert!(timeout(soon, held).await.is_ok());
        let silent = Error::new(ErrorKind::Unreachable, "x").with_source(Silence);
        assert!(Silence::is_why(&silent) && !Silence::is_why(&Error::new(ErrorKind::Unreachable, "x")));
    }

    /// Everybody can be called, and nobody answers; at port 1 the call is refused.
    struct Deaf;

    impl Transport for Deaf {
        fn schemes(&self) -> &'static [&'static str] {
            &["free", "scarce"]
        }
        fn estimate(&self, endpoint: &Endpoint) -> Result<LinkProfile> {
            let mut profile = LinkProfile::new(Pattern::Session, 100_000);
            (profile.reliable, profile.ordered, profile.bit_rate) = (true, true, 1_000_000_000);
            if endpoint.scheme() == "scarce" {
                profile.cost = CostClass::Scarce;
            }
            Ok(profile)
        }
        async fn connect(&self, endpoint: &Endpoint) -> Result<Link> {
            if endpoint.port() == Some(1) {
                return Err(Error::new(ErrorKind::Unreachable, "refused"));
            }
            Ok(Link::new(Deaf, Deaf, self.estimate(endpoint)?, Peer::default()))
        }
        async fn listen(&self, _: &Endpoint) -> Result<Listener> {
            Err(Error::new(ErrorKind::Usage, "not here"))
        }
    }

    impl SendFrames for Deaf {
        async fn send(&mut self, _: Frame) -> Result<()> {
            Ok(())
        }
        async fn finish(&mut self) -> Result<()> {
            Ok(())
        }
    }

    impl RecvFrames for Deaf {
        async fn recv(&mut self) -> Result<Option<Frame>> {
            std::future::pending().await
        }
    }

    /// A client, and a server of these URLs that it knows.
    fn known(urls: &[&str]) -> (Servers, ServerRef, VerifyKey) {
        let urls: Vec<Endpoint> = urls.iter().map(|url| url.parse().unwrap()).collect();
        let servers = Servers::new(Transports::new().with(Deaf), SharedRandom::new(SystemRandom));
        let skp = SigningKey::generate(&mut SystemRandom).unwrap().public();
        let fingerprint = [7; 32];
        let key = DhSecret::generate(&mut SystemRandom).unwrap().public();
        let descriptor = Descriptor {
            skp,
            issued: 1,
            expires: 100_000,
            urls: List::new(vec![]).unwrap(),
            keys: List::new(vec![SealingKey { number: 1, key, parcel: false, not_after: 100_000 }]).unwrap(),
            limits: Limits {
                item: 1,
                mailbox_items: 1,
                mailbox_bytes: 1,
                keep_secs: 1,
                wait_secs: 1,
                blob: 1,
            },
            hop: None,
        };
        assert!(servers.told().describes(&fingerprint, &Arc::new(descriptor), &urls[0]));
        let server = ServerRef::new(fingerprint, &urls).unwrap();
        (servers, server, skp)
    }

    /// Asks a server of these URLs, which holds the request for so long if it lives; begun after so many seconds. Gives
    /// the seconds at which the errors come.
    async fn asked(urls: &[&str], requests: &[(u64, u64)]) -> Vec<u64> {
        let (servers, server, skp) = known(urls);
        let start = Instant::now();
        let ask = async |(after, wait): &(u64, u64)| {
            tokio::time::sleep(Duration::from_secs(*after)).await;
            let pull = Pull { mailbox: skp, counter: 1, acknowledge: 0, wait_secs: 1, sig: Fixed([0; 64]) };
            let kind = RequestKind::Pull(pull);
            let (seal, wait) = (Seal::Key(&kind), Duration::from_secs(*wait));
            let to = To { server: &server, private_url: None, allowed: &Always };
            let ask = Ask { to, seal, room: Room::Items, wait };
            let e = servers.ask(&ask).await.err().unwrap();
            assert_eq!(e.kind(), ErrorKind::Unreachable);
            start.elapsed().as_secs()
        };
        futures_util::future::join_all(requests.iter().map(ask)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_request_ends_when_another_finds_the_way_dead() {
        assert_eq!(asked(&["free://a:9"], &[(0, 50)]).await, [70], "alone, nothing tells it");
        let mut ended = asked(&["free://a:9"], &[[(1, 0)].as_slice(), &[(0, 50); 40]].concat()).await;
        assert_eq!(ended.remove(0), 21);
        ended.sort_unstable();
        assert!(
            ended[0] >= 21 && ended[39] <= 26 && ended[0] < ended[39],
            "not all at one moment: {ended:?}"
        );
        assert_eq!(
            asked(&["scarce://a:9"], &[(0, 50), (1, 0)]).await,
            [70, 21],
            "airtime is not spent at once"
        );
        // Others are tried sooner, unless they cost more or have failed.
        assert_eq!(asked(&["free://a:9", "free://b:9"], &[(0, 0)]).await, [30]);
        assert_eq!(asked(&["free://a:9", "scarce://b:9"], &[(0, 0)]).await, [40]);
        assert_eq!(asked(&["free://a:9", "free://b:1"], &[(0, 0), (15, 0)]).await, [10, 35]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_has_changed_is_no_fault_of_the_way() {
        let (servers, server, skp) = known(&["free://a:9"]);
        // Before the link is made, and once it is open.
        for (times, why, works) in [(2, "the policy has changed", true), (3, "did not answer", false)] {
            let to = To { server: &server, private_url: None, allowed: &Few::new(times) };
            let pull = Pull { mailbox: skp, counter: 1, acknowledge: 0, wait_secs: 1, sig: Fixed([0; 64]) };
            let kind = RequestKind::Pull(pull);
            let ask = Ask { to, seal: Seal::Key(&kind), room: Room::Items, wait: Duration::ZERO };
            let e = servers.ask(&ask).await.err().unwrap();
            assert!(e.to_string().contains(why), "{e}");
            let ways =
                order(&servers.transports, server.fingerprint(), [], server.endpoints(), &servers.failures());
            assert_eq!(another(&ways.unwrap(), CostClass::Free), works);
        }
    }
}
